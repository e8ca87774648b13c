use std::{
    hint::black_box,
    net::SocketAddr,
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
use countersign::{ContentDigest, DigestAlgorithm, Nonce, Policy, RunningDigest};
use countersign_server::serve;
use countersign_store::system_time;
use http_body_util::BodyExt as _;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, runtime::Runtime, task::JoinSet};

use crate::{
    connection::Connection,
    figure::{Figure, Target},
    nginx::Nginx,
    order::{Order, ed25519},
    post::{Posts, plain},
    process::resident_of,
    ratio::{Ratio, median},
    served::{self, Served},
};

/// How many connections send requests at a time.
const CONNECTIONS: usize = 32;
/// The content whose way is watched: 1 GiB, in pieces of 64 KiB.
const LARGE: u64 = 1 << 30;
const PIECE: usize = 64 << 10;

/// What `countersign serve` costs beside nginx, in front of the same upstream: the time of a request, and the memory that 1 GiB of
/// content takes. Both have two threads.
pub(crate) fn figures(rounds: usize, requests: usize) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let upstream = runtime.block_on(serve_upstream());
    let service = Served::forward(folder.path(), upstream);
    runtime.block_on(served::register(folder.path()));
    let nginx = Nginx::forward(folder.path(), upstream);

    let posts = Posts::new(ed25519());
    let unsigned = read();
    let read = |_: usize| unsigned.clone();
    let write = |_: usize| posts.bytes(system_time());
    let mut kinds = [Kind::new(&read, 200), Kind::new(&write, 201)];
    let mut verifications = Vec::new();
    // The first round only warms up.
    for round in 0..=rounds {
        for kind in &mut kinds {
            let ours = |kind: &Kind<'_>| {
                kind.run(&runtime, service.address, requests, || service.processor_time())
            };
            let theirs = |kind: &Kind<'_>| {
                kind.run(&runtime, nginx.address, requests, || nginx.processor_time())
            };
            // In turn, so that neither always comes first.
            let (first, second) = match round % 2 {
                0 => (ours(kind), theirs(kind)),
                _ => {
                    let second = theirs(kind);
                    (ours(kind), second)
                }
            };
            if round > 0 {
                kind.times.push((first.0, second.0));
                kind.processor_times.push((first.1, second.1));
            }
        }
        if round > 0 {
            verifications.push(verify(requests));
        }
    }
    let number = u32::try_from(requests).unwrap();
    let [reads, writes] = kinds;
    let less = writes.times.iter().zip(&verifications);
    let less = less.map(|(&(ours, theirs), verifying)| (ours.saturating_sub(*verifying), theirs));
    let less = Ratio::of(less.collect());
    let verifying = format!("{:.1?} for the verifications", median(verifications) / number);
    let (reads, writes) = (reads.ratio(number), writes.ratio(number));
    let before = resident_of(service.process());
    let most = runtime.block_on(upload(service.address, service.process()));
    let grown = (most - before).max(0.0) / f64::from(1 << 20);
    let figure =
        |name, (ratio, detail), target| Figure::new(name, ratio, "ratio", target).detail(detail);
    vec![
        figure("proxy/read by nginx", reads, Some(Target::AtMost(1.3))),
        figure("proxy/signed POST of 1 KiB by nginx", writes, None),
        figure(
            "proxy/the same without verification",
            (less.median, verifying),
            Some(Target::AtMost(1.3)),
        ),
        Figure::new("proxy/memory for 1 GiB of content", grown, "MiB", Some(Target::AtMost(16.0))),
    ]
}

/// Verifies a signature this often in two threads, as many as the proxy has, with a key that is used often.
fn verify(times: usize) -> Duration {
    let (order, policy) = (Order::signed(ed25519()), Policy::default());
    let key = ed25519().verifying_key().prepared();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..times / 2 {
                    drop(black_box(order.verify(&policy, &key).unwrap()));
                }
            });
        }
    });
    start.elapsed()
}

/// A read with a publishable key.
pub(crate) fn read() -> Bytes {
    let (host, key) = (served::host(), ed25519().publishable_key());
    Bytes::from(format!("GET /v1/orders HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n"))
}

/// A kind of requests, and what they took: through `countersign serve`, and through nginx.
struct Kind<'a> {
    make: &'a dyn Fn(usize) -> Bytes,
    status: u16,
    times: Vec<(Duration, Duration)>,
    processor_times: Vec<(Duration, Duration)>,
}

impl<'a> Kind<'a> {
    fn new(make: &'a dyn Fn(usize) -> Bytes, status: u16) -> Self {
        Self { make, status, times: Vec::new(), processor_times: Vec::new() }
    }

    /// Sends requests, and returns how long it took, and how much of processors the proxy used.
    fn run(
        &self,
        runtime: &Runtime,
        to: SocketAddr,
        requests: usize,
        processor_time: impl Fn() -> Duration,
    ) -> (Duration, Duration) {
        let made = (0..requests).map(self.make).collect();
        let before = processor_time();
        let time = run(runtime, to, made, self.status);
        (time, processor_time().saturating_sub(before))
    }

    /// Returns the ratio, and the times of a request behind it.
    fn ratio(self, requests: u32) -> (f64, String) {
        let (time, processor) = (Ratio::of(self.times), Ratio::of(self.processor_times));
        let each = |ratio: &Ratio| {
            format!("{:.1?} beside {:.1?}", ratio.first / requests, ratio.second / requests)
        };
        (time.median, format!("{}; processor time of the proxy {}", each(&time), each(&processor)))
    }
}

pub(crate) async fn serve_upstream() -> SocketAddr {
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
