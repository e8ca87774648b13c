use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::Duration,
};

use crate::process::processor_time_of;

/// nginx with two workers, as many as processors are measured on, that logs no requests and keeps its connections.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// The name by which the configuration has the upstream.
pub(crate) const UPSTREAM: &str = "behind";

impl Nginx {
    /// Starts nginx in a folder of its own below this one. `upstreams` are the names and addresses of servers, to which it keeps
    /// connections; `locations` is what stands in its `server`.
    pub(crate) fn start(
        folder: &Path,
        name: &str,
        upstreams: &[(&str, SocketAddr)],
        locations: &str,
    ) -> Self {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = folders.map(|name| format!("{name}_temp_path {name};\n")).concat();
        let kept = |(name, server): &(&str, SocketAddr)| {
            format!(
                "upstream {name} {{ server {server}; keepalive 64; keepalive_requests 10000000; }}\n"
            )
        };
        let upstreams: String = upstreams.iter().map(kept).collect();
        let text = format!(
            "daemon off; worker_processes 2; user root root; pid nginx.pid; events {{}}\n\
             http {{ access_log off; keepalive_requests 10000000;\n{temporary}{upstreams}\
             server {{ listen {address}; client_max_body_size 0;\n{locations}\n}} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address }
    }

    /// Starts nginx as a reverse proxy. It tells the upstream who the client is in the usual fields, as `countersign serve` does.
    pub(crate) fn forward(folder: &Path, upstream: SocketAddr) -> Self {
        let location = format!(
            "location / {{ proxy_pass http://{UPSTREAM}; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr; \
             proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host; \
             proxy_set_header X-Forwarded-Proto $scheme; }}"
        );
        Self::start(folder, "forward", &[(UPSTREAM, upstream)], &location)
    }

    /// What its workers have used of processors.
    pub(crate) fn processor_time(&self) -> Duration {
        let main = self.child.id();
        let workers = fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
        let workers = workers.unwrap_or_default();
        workers.split_whitespace().filter_map(|id| id.parse().ok()).map(processor_time_of).sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers, which it would leave behind if it were killed.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}
