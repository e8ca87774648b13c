use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener as BlockingListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    routing::post,
};
use bytes::Bytes;
use countersign::{ContentDigest, DigestAlgorithm, Nonce, ProvenKey, RunningDigest};
use countersign_server::serve;
use countersign_service::{ConfigSource, Overrides, ServiceError};
use countersign_store::{NewCredential, Registry, system_time};
use http_body_util::BodyExt as _;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, runtime::Runtime, task::JoinSet};

use crate::{
    connection::Connection,
    figure::{Figure, Target},
    order::{Order, ed25519},
    post::{Posts, plain},
    process::resident_of,
    ratio::Ratio,
};

/// How many connections send requests at a time.
const CONNECTIONS: usize = 32;
/// The content whose way is watched: 1 GiB, in pieces of 64 KiB.
const LARGE: u64 = 1 << 30;
const PIECE: usize = 64 << 10;

/// What `countersign serve` costs beside nginx, in front of the same upstream: the time of a request, and the memory that 1 GiB of
/// content takes.
pub(crate) fn figures(rounds: usize, requests: usize) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let upstream = runtime.block_on(serve_upstream());
    let service = Served::start(folder.path(), upstream);
    runtime.block_on(register(folder.path()));
    let nginx = Nginx::start(folder.path(), upstream);

    let posts = Posts::new(ed25519());
    let read = |_: usize| {
        let key = ed25519().publishable_key();
        let host = posts_host();
        Bytes::from(format!("GET /v1/orders HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n"))
    };
    let write = |_: usize| posts.bytes(system_time());
    let mut rows: [Vec<(Duration, Duration)>; 2] = Default::default();
    // The first round only warms up.
    for round in 0..=rounds {
        let makes: [(&dyn Fn(usize) -> Bytes, u16); 2] = [(&read, 200), (&write, 201)];
        for ((make, status), row) in makes.into_iter().zip(&mut rows) {
            let time = |address| {
                let made = (0..requests).map(make).collect();
                run(&runtime, address, made, status)
            };
            let times = (time(service.address), time(nginx.address));
            if round > 0 {
                row.push(times);
            }
        }
    }
    let [reads, writes] = rows.map(Ratio::of);
    let number = u32::try_from(requests).unwrap();
    let beside = |ratio: &Ratio| {
        format!("{:.1?} beside {:.1?}", ratio.first / number, ratio.second / number)
    };
    let before = resident_of(service.child.id());
    let most = runtime.block_on(upload(service.address, service.child.id()));
    let grown = (most - before).max(0.0) / f64::from(1 << 20);
    let read_detail = beside(&reads);
    let write_detail = beside(&writes);
    vec![
        Figure::new("proxy/read by nginx", reads.median, "ratio", Some(Target::AtMost(1.3)))
            .detail(read_detail),
        Figure::new("proxy/signed POST of 1 KiB by nginx", writes.median, "ratio", None)
            .detail(write_detail),
        Figure::new("proxy/memory for 1 GiB of content", grown, "MiB", Some(Target::AtMost(16.0))),
    ]
}

/// Runs a service in front of this upstream, with its registry in this folder: the process that is measured.
pub(crate) fn serve_behind(folder: &Path, upstream: &str) -> Result<(), ServiceError> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = folder.join("serve.toml");
    fs::write(&config, format!("[limits]\ncontent_bytes = {}\n", 2 * LARGE)).unwrap();
    let overrides = Overrides {
        listen: Some(any),
        operations: Some(any),
        origins: vec![format!("https://{}", posts_host()).parse().unwrap()],
        upstreams: vec![upstream.parse().unwrap()],
        registry: Some(format!("sqlite:{}", folder.join("registry.db").display())),
        ..Overrides::default()
    };
    let source = ConfigSource { file: Some(config), overrides };
    let served = countersign_service::run(source, None, |listening| {
        println!("{}", listening.service);
    });
    Runtime::new().unwrap().block_on(served)
}

fn posts_host() -> String {
    Order::unsigned().origin.authority().to_owned()
}

async fn serve_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let discard = async |request: Request| {
        let mut body: Body = request.into_body();
        let mut length = 0_u64;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        length.to_string()
    };
    let app = Router::new().route("/v1/large", post(discard)).layer(DefaultBodyLimit::disable());
    tokio::spawn(serve(listener, app.merge(plain()), std::future::pending()));
    address
}

async fn register(folder: &Path) {
    let url = format!("sqlite:{}", folder.join("registry.db").display());
    let registry = Registry::open(&url).await.unwrap();
    registry.add_application("shop", "live", system_time()).await.unwrap();
    let key = ProvenKey::from(&ed25519());
    registry
        .add_credential(NewCredential::new("shop", "bench", &key), system_time())
        .await
        .unwrap();
    registry.close().await;
}

fn run(runtime: &Runtime, to: SocketAddr, requests: Vec<Bytes>, status: u16) -> Duration {
    runtime.block_on(async {
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(to).await);
        }
        let start = Instant::now();
        let mut senders = JoinSet::new();
        for mut connection in connections {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            senders.spawn(async move {
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert_eq!(connection.send(request).await.0, status);
                }
            });
        }
        senders.join_all().await;
        start.elapsed()
    })
}

/// Sends 1 GiB of signed content, and returns the most memory that the service had meanwhile.
async fn upload(to: SocketAddr, process: u32) -> f64 {
    let piece = vec![b'x'; PIECE];
    let pieces = LARGE / u64::try_from(PIECE).unwrap();
    let mut digest = RunningDigest::new([DigestAlgorithm::Sha256]);
    for _ in 0..pieces {
        digest.update(&piece);
    }
    let digest: ContentDigest = digest.finish();
    let mut order = Order::unsigned();
    order.uri = "/v1/large".parse().unwrap();
    let signer = countersign::Signer::new(ed25519());
    let nonce = Nonce::from_random([9; 16]);
    let signed = signer.sign_digested(&order.head(), Some(&digest), system_time(), &nonce).unwrap();
    signed.apply(&mut order.headers);
    let mut head = format!("POST /v1/large HTTP/1.1\r\nContent-Length: {LARGE}\r\n").into_bytes();
    for (name, value) in &order.headers {
        if name != http::header::CONTENT_LENGTH {
            head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    head.extend(b"\r\n");
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    stream.write_all(&head).await.unwrap();
    let mut most = 0.0_f64;
    for number in 0..pieces {
        stream.write_all(&piece).await.unwrap();
        if number % 256 == 0 {
            most = most.max(resident_of(process));
        }
    }
    let mut response = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 200");
    most.max(resident_of(process))
}

/// The service, as a process of its own.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(folder: &Path, upstream: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(folder)
            .arg(format!("http://{upstream}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// nginx with two workers and kept connections to the upstream, which checks nothing.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(folder: &Path, upstream: SocketAddr) -> Self {
        let free = BlockingListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = folders.map(|name| format!("{name}_temp_path {name};\n")).concat();
        let text = format!(
            "daemon off; worker_processes 2; user root root; pid nginx.pid; events {{}}\nhttp {{ access_log off; keepalive_requests 10000000;\n{temporary}\
             upstream behind {{ server {upstream}; keepalive 64; keepalive_requests 10000000; }}\n\
             server {{ listen {address}; client_max_body_size 0; location / {{ proxy_pass http://behind; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers, which it would leave behind if it were killed.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}
