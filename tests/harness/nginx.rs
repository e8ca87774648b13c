use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command},
    time::{Duration, Instant},
};

use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/operate/proxies.md");
/// How long it may take to start; far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// An `nginx` on free ports in front of a server, with a folder of its own, until it is dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    folder: TempDir,
    /// Where it listens without TLS, for requests that no client would send.
    pub address: SocketAddr,
    /// Where it listens with TLS, for HTTP/1.1 and HTTP/2.
    pub tls: SocketAddr,
}

impl Nginx {
    /// From where it connects to the server, so that it is not where the test connects from.
    pub const FROM: &str = "127.0.0.3";

    /// As docs/operate/proxies.md sets it up.
    pub fn start(server: SocketAddr) -> Self {
        Self::start_with(server, |configuration| configuration)
    }

    /// As docs/operate/proxies.md sets it up, but for a change.
    pub fn start_with(server: SocketAddr, change: impl Fn(String) -> String) -> Self {
        let (_, documented) = PAGE.split_once("```nginx\n").unwrap();
        let (documented, _) = documented.split_once("```").unwrap();
        let documented = change(documented.to_owned());
        // Another process can take the ports between here and there.
        for _ in 0..20 {
            let (folder, [address, tls]) = (tempfile::tempdir().unwrap(), free());
            let certificate = folder.path().join("certificate").display().to_string();
            certify(&certificate);
            let listen = format!("listen {tls} ssl http2");
            let configuration = documented
                .replace("listen 443 ssl http2;", &format!("{listen}; listen {address};"))
                .replace(
                    "listen 443 ssl http2 default_server;",
                    &format!("{listen} default_server; listen {address} default_server;"),
                )
                .replace("127.0.0.1:8080", &server.to_string())
                .replace("/etc/ssl/api.example.com", &certificate);
            let mut nginx = Self { child: run(&folder, &configuration), folder, address, tls };
            if nginx.listens() {
                return nginx;
            }
            let log = nginx.log();
            assert!(log.contains("Address already in use"), "{log}");
        }
        panic!("no nginx could be started");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// It writes down its number when it listens, and ends if it cannot.
    fn listens(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let pid = fs::read_to_string(self.folder.path().join("nginx.pid")).unwrap_or_default();
            if pid.trim() == self.child.id().to_string() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nginx does not start: {}", self.log());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers, which it would leave behind if it were killed.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(Command::new("kill").arg(self.child.id().to_string()).status());
            drop(self.child.wait());
        }
    }
}

fn free() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A certificate for api.example.com that nobody vouches for, at this path, and its key.
fn certify(path: &str) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=api.example.com"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-keyout", &format!("{path}.key"), "-out", &format!("{path}.pem")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn run(folder: &TempDir, configuration: &str) -> Child {
    // Its workers are this user as well, root included: they write into the folder.
    let usual = "daemon off;\nworker_processes 1;\nuser root root;\npid nginx.pid;\nevents {}";
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {what};\n"))
        .concat();
    let from = Nginx::FROM;
    let http = format!("access_log off;\nproxy_bind {from};\n{temporary}{configuration}");
    let configuration = format!("{usual}\nhttp {{\n{http}}}\n");
    fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
    let prefix = format!("{}/", folder.path().display());
    // Debian keeps it out of the PATH of users.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    Command::new("nginx")
        .args(["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"])
        .env("PATH", path)
        .spawn()
        .unwrap()
}
