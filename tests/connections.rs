//! How long a connection lives. Time stands still but for timers, and wholly during [`in_no_time`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use countersign_server::serve;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const LARGE: usize = 16 << 20;

struct Server {
    address: SocketAddr,
    /// Whoever drops this asks the server to stop.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    /// Told when the handler of `/slow` begins.
    begun: mpsc::UnboundedReceiver<()>,
}

impl Server {
    /// With an answer that is quick, one that is large, and one that takes 5 s.
    async fn start() -> Self {
        let (begins, begun) = mpsc::unbounded_channel();
        let slow = get(async move || {
            begins.send(()).unwrap();
            sleep(Duration::from_secs(5)).await;
            "done"
        });
        let app = Router::new()
            .route("/quick", get(async || "done"))
            .route("/large", get(async || vec![b'a'; LARGE]))
            .route("/slow", slow);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, app, async { drop(stopped.await) }));
        Self { address, stop, serving, begun }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// What goes over sockets takes time that no timer knows of. Timers wait for as long as a blocking task runs.
async fn in_no_time<T>(exchange: impl Future<Output = T>) -> T {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || wait.recv().is_err());
    let outcome = exchange.await;
    drop(done);
    assert!(blocking.await.unwrap());
    outcome
}

/// All that comes until the connection is closed or reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let _ended: Result<usize, std::io::Error> = stream.read_to_end(&mut received).await;
    received
}

/// The first fields of an HTTP/2 request for this path, GET and https, as one HEADERS frame on the first stream.
fn headers_frame(path: &str, flags: u8) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x44, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, flags, 0, 0, 0, 1];
    frame.extend(block);
    frame
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_arrive_is_not_waited_for() {
    let server = Server::start().await;
    // Without END_HEADERS the head goes on in a frame that never comes.
    let half_a_head = headers_frame("/quick", 1);
    let cases: [(&str, &[&[u8]]); 5] = [
        ("nothing", &[]),
        ("half a head", &[b"GET /quick HTTP/1.1\r\nHost: api.exam"]),
        ("half a preface", &[b"PRI * HT"]),
        ("no head behind the preface", &[PREFACE, EMPTY_SETTINGS]),
        ("half an HTTP/2 head", &[PREFACE, EMPTY_SETTINGS, &half_a_head]),
    ];
    for (case, pieces) in cases {
        let started = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(&pieces.concat()).await.unwrap();
        rest(&mut stream).await;
        let waited = started.elapsed();
        assert!(waited <= Duration::from_secs(11), "row 104, {case}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_outlives_a_pause_and_not_a_long_one() {
    let server = Server::start().await;
    let handshake = async { h2::client::handshake(server.connect().await).await.unwrap() };
    let (client, connection) = in_no_time(handshake).await;
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let exchange = async {
            let mut client = client.clone().ready().await.unwrap();
            let request = http::Request::get("https://api.example.com/quick").body(()).unwrap();
            client.send_request(request, true).unwrap().0.await.unwrap().status()
        };
        assert_eq!(in_no_time(exchange).await, 200);
        sleep(Duration::from_secs(29)).await;
        assert!(!connection.is_finished());
    }
    assert!(timeout(Duration::from_secs(3), connection).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_slowly_reads_all_and_whoever_stops_reading_does_not() {
    let server = Server::start().await;
    for (pause, whole) in [(29, true), (33, false)] {
        let mut stream = server.connect().await;
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        in_no_time(async {
            stream.write_all(request).await.unwrap();
            stream.read_exact(&mut [0; 100_000]).await.unwrap();
        })
        .await;
        sleep(Duration::from_secs(pause)).await;
        let received = in_no_time(rest(&mut stream)).await.len();
        assert_eq!(received > LARGE - 100_000, whole, "{received} after {pause} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_crosses_the_goodbye_is_answered() {
    let mut server = Server::start().await;
    let mut stream = server.connect().await;
    in_no_time(stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat())).await.unwrap();
    sleep(Duration::from_millis(10_300)).await;
    in_no_time(async {
        // END_STREAM and END_HEADERS.
        stream.write_all(&headers_frame("/slow", 5)).await.unwrap();
        server.begun.recv().await.unwrap();
    })
    .await;
    let received = rest(&mut stream).await;
    assert!(received.windows(4).any(|window| window == b"done"), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_open_and_for_nothing_else() {
    let mut server = Server::start().await;
    let (mut open, mut silent) = (server.connect().await, server.connect().await);
    in_no_time(async {
        open.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        silent.write_all(b"GET /slow HT").await.unwrap();
        server.begun.recv().await.unwrap();
    })
    .await;
    let asked = Instant::now();
    drop(server.stop);
    server.serving.await.unwrap();
    let waited = asked.elapsed().as_secs();
    assert!((4..=8).contains(&waited), "{waited} s for a request that takes 5 s");
    assert!(in_no_time(rest(&mut open)).await.ends_with(b"done"));
    assert!(TcpStream::connect(server.address).await.is_err());
}
