//! How long a connection lives, and who is not waited for. Time stands still but for timers, and wholly during [`in_no_time`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::Request,
    routing::{get, post},
};
use bytes::Bytes;
use countersign_server::{Listener, serve};
use h2::{Reason, client::SendRequest};
use harness::{Raw, Service, TestClock, router, verifier};
use http_body_util::BodyExt;
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
const SOME: usize = 200_000;

struct Server {
    address: SocketAddr,
    /// Whoever drops this asks the server to stop.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    /// Told when the handler of `/slow` begins.
    begun: mpsc::UnboundedReceiver<()>,
}

impl Server {
    /// With an answer that is quick, one that is large, one that takes 5 s, one that takes as long as it likes, and one that reads
    /// what it is sent.
    async fn start() -> Self {
        Self::start_with(|listener| listener).await
    }

    async fn start_with(set_up: impl FnOnce(Listener) -> Listener) -> Self {
        let (begins, begun) = mpsc::unbounded_channel();
        let takes = |time: Duration| {
            let begins = begins.clone();
            get(async move || {
                begins.send(()).unwrap();
                sleep(time).await;
                "done"
            })
        };
        let read = post(async |body: Body| match body.collect().await {
            Ok(content) => format!("{} bytes", content.to_bytes().len()),
            Err(error) => error.to_string(),
        });
        // It waits for content, and then does something else for a minute.
        let pauses = post(async |mut body: Body| {
            assert!(timeout(Duration::from_secs(1), body.frame()).await.is_err());
            sleep(Duration::from_secs(60)).await;
            match body.collect().await {
                Ok(content) => format!("{} bytes", content.to_bytes().len()),
                Err(error) => error.to_string(),
            }
        });
        let app = Router::new()
            .route("/quick", get(async || "done"))
            .route("/large", get(async || vec![b'a'; LARGE]))
            .route("/some", get(async || vec![b'a'; SOME]))
            .route("/slow", takes(Duration::from_secs(5)))
            .route("/endless", takes(Duration::from_secs(3_600)))
            .route("/read", read)
            .route("/pauses", pauses);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = set_up(listener.into());
        let serving = tokio::spawn(serve(listener, app, async { drop(stopped.await) }));
        Self { address, stop, serving, begun }
    }

    /// A client that takes so many bytes of an answer without being asked for more.
    async fn http2(&self, window: u32) -> Http2 {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let handshake = async { builder.handshake(self.connect().await).await.unwrap() };
        let (client, connection) = in_no_time(handshake).await;
        Http2 { client, connection: tokio::spawn(connection) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

struct Http2 {
    client: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// Begins a request.
    async fn get(&self, path: &str) -> h2::client::ResponseFuture {
        let request = Request::get(format!("https://api.example.com{path}")).body(()).unwrap();
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(request, true).unwrap().0
    }

    /// Begins a request with content.
    async fn post(&self, path: &str) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::post(format!("https://api.example.com{path}")).body(()).unwrap();
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(request, false).unwrap()
    }

    /// Whether a request is answered.
    async fn works(&self) {
        let status = in_no_time(async { self.get("/quick").await.await.unwrap().status() }).await;
        assert_eq!(status, 200);
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

/// Reads until this has come.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    while !received.windows(end.len()).any(|window| window == end) {
        received.push(stream.read_u8().await.unwrap());
    }
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
    let client = server.http2(65_535).await;
    for _ in 0..3 {
        client.works().await;
        sleep(Duration::from_secs(28)).await;
        assert!(!client.connection.is_finished());
    }
    assert!(timeout(Duration::from_secs(4), client.connection).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_only_pings_is_idle() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    in_no_time(async {
        let hello = [PREFACE, EMPTY_SETTINGS, &headers_frame("/quick", 5)].concat();
        stream.write_all(&hello).await.unwrap();
        until(&mut stream, b"done").await;
    })
    .await;
    let asked = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let pinging = tokio::spawn(async move {
        while write.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.is_ok() {
            sleep(Duration::from_secs(3)).await;
        }
    });
    drop(read.read_to_end(&mut Vec::new()).await);
    assert!(asked.elapsed() <= Duration::from_secs(37), "{:?}", asked.elapsed());
    pinging.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_slowly_reads_all_and_whoever_stops_reading_does_not() {
    let server = Server::start().await;
    for (pause, whole) in [(9, true), (12, false)] {
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
async fn whoever_stops_reading_loses_an_http2_connection() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    // SETTINGS_INITIAL_WINDOW_SIZE and WINDOW_UPDATE: there is room for all of it.
    let windows = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 127, 255, 255, 255];
    let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 127, 255, 0, 0];
    in_no_time(async {
        let hello = [PREFACE, &windows, &update, &headers_frame("/large", 5)].concat();
        stream.write_all(&hello).await.unwrap();
        stream.read_exact(&mut [0; 100_000]).await.unwrap();
    })
    .await;
    sleep(Duration::from_secs(12)).await;
    let received = in_no_time(rest(&mut stream)).await.len();
    assert!(received < LARGE - 100_000, "{received}");
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

#[tokio::test(start_paused = true)]
async fn a_stop_lets_an_answer_arrive_whose_request_has_more_content() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    in_no_time(async {
        let head = b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        until(&mut stream, b"405").await;
    })
    .await;
    let asked = Instant::now();
    drop(server.stop);
    server.serving.await.unwrap();
    // If the process ended before, the connection would be reset.
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    in_no_time(rest(&mut stream)).await;
}

/// Sends a byte every 3 s until somebody has had enough.
async fn trickle(mut send: impl AsyncFnMut(u8) -> bool) {
    while send(b'a').await {
        sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_stalls_or_trickles_is_not_waited_for() {
    let server = Server::start().await;
    let head = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nthe first";
    let started = Instant::now();
    let mut stalls = server.connect().await;
    in_no_time(stalls.write_all(head)).await.unwrap();
    let answer = String::from_utf8(rest(&mut stalls).await).unwrap();
    assert!(answer.ends_with("the peer was too slow"), "{answer}");
    assert!(started.elapsed() <= Duration::from_secs(13), "{:?}", started.elapsed());

    let started = Instant::now();
    let mut trickles = server.connect().await;
    in_no_time(trickles.write_all(head)).await.unwrap();
    let (mut read, mut write) = trickles.into_split();
    let writing = tokio::spawn(trickle(async move |byte| write.write_u8(byte).await.is_ok()));
    let mut answer = Vec::new();
    drop(read.read_to_end(&mut answer).await);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with("the peer was too slow"), "{answer}");
    assert!(started.elapsed() <= Duration::from_secs(16), "{:?}", started.elapsed());
    writing.abort();

    let client = server.http2(65_535).await;
    let (response, mut content) = in_no_time(client.post("/read")).await;
    let started = Instant::now();
    let writing = tokio::spawn(trickle(async move |byte| {
        content.send_data(vec![byte].into(), false).is_ok()
    }));
    let mut answer = response.await.unwrap().into_body();
    let said = answer.data().await.unwrap().unwrap();
    assert_eq!(said, "the peer was too slow");
    assert!(started.elapsed() <= Duration::from_secs(16), "{:?}", started.elapsed());
    writing.abort();
    client.works().await;
}

#[tokio::test(start_paused = true)]
async fn content_that_comes_slowly_and_steadily_arrives() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    in_no_time(stream.write_all(head)).await.unwrap();
    for _ in 0..10 {
        sleep(Duration::from_secs(8)).await;
        in_no_time(stream.write_all(&[b'a'; 6_000])).await.unwrap();
    }
    in_no_time(until(&mut stream, b"60000 bytes")).await;
}

#[tokio::test(start_paused = true)]
async fn content_counts_wholly_when_much_comes_behind_a_little() {
    let server = Server::start().await;
    let client = server.http2(65_535).await;
    let (response, mut content) = in_no_time(client.post("/read")).await;
    for last in [false, false, true] {
        sleep(Duration::from_secs(8)).await;
        content.send_data("a".into(), false).unwrap();
        content.send_data(vec![b'a'; 50_000].into(), last).unwrap();
        // Behind it on the same connection.
        client.works().await;
    }
    let mut answer = in_no_time(response).await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "150003 bytes");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_handler_takes_between_two_pieces_does_not_count() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = b"POST /pauses HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    in_no_time(stream.write_all(head)).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    in_no_time(stream.write_u8(b'a')).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    in_no_time(stream.write_all(b"bc")).await.unwrap();
    in_no_time(until(&mut stream, b"3 bytes")).await;
}

#[tokio::test(start_paused = true)]
async fn signed_content_that_stalls_is_answered_with_request_timeout() {
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let app = router(Arc::clone(&handled))
        .layer(verifier(&clock, Service::keys(), Service::nonces()).layer());
    let service = Service::serve(clock, app, handled).await;
    for (late, code) in [(9, "201"), (11, "request-timeout")] {
        let request = Raw::order().signed().bytes();
        let (last, most) = request.split_last().unwrap();
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        in_no_time(stream.write_all(most)).await.unwrap();
        sleep(Duration::from_secs(late)).await;
        in_no_time(async {
            drop(stream.write_u8(*last).await);
            until(&mut stream, code.as_bytes()).await;
        })
        .await;
    }
    assert_eq!(service.handled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_take_its_time() {
    let mut server = Server::start().await;
    let mut stream = server.connect().await;
    let client = server.http2(65_535).await;
    let response = in_no_time(client.get("/endless")).await;
    in_no_time(async {
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.begun.recv().await.unwrap();
        server.begun.recv().await.unwrap();
    })
    .await;
    assert_eq!(response.await.unwrap().status(), 200);
    in_no_time(until(&mut stream, b"done")).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_an_http2_peer_does_not_take_is_reset_and_others_go_on() {
    let server = Server::start().await;
    for window in [0, 1_000, 20_000] {
        let client = server.http2(window).await;
        let (mut body, open) = in_no_time(async {
            let mut body = client.get("/large").await.await.unwrap().into_body();
            let mut taken = 0;
            while taken < window {
                taken += u32::try_from(body.data().await.unwrap().unwrap().len()).unwrap();
            }
            (body, client.get("/endless").await)
        })
        .await;
        let stalled = Instant::now();
        let reset = body.data().await.unwrap().unwrap_err();
        assert_eq!(reset.reason(), Some(Reason::CANCEL), "{reset}");
        assert!(stalled.elapsed() <= Duration::from_secs(13), "{:?}", stalled.elapsed());
        assert!(!client.connection.is_finished());
        drop(open);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_an_answer_byte_by_byte_does_not_get_it() {
    let server = Server::start().await;
    // Bytes a second.
    for (window, rate, whole) in [(1_000, 300, false), (20_000, 5_000, true)] {
        let client = server.http2(window).await;
        let response = in_no_time(async { client.get("/some").await.await.unwrap() }).await;
        let mut body = response.into_body();
        let (started, mut received) = (Instant::now(), 0);
        let outcome = loop {
            let data = match in_no_time(body.data()).await {
                Some(Ok(data)) => data.len(),
                Some(Err(error)) => break Err(error),
                None => break Ok(received),
            };
            received += data;
            let pause = u64::try_from(data).unwrap() * 1_000 / rate;
            sleep(Duration::from_millis(pause)).await;
            body.flow_control().release_capacity(data).unwrap();
        };
        assert_eq!(
            outcome.is_ok_and(|received| received == SOME),
            whole,
            "{received} in {:?}",
            started.elapsed()
        );
        assert!(whole || started.elapsed() <= Duration::from_secs(14), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_hangs_in_the_connection_ends_it() {
    let server = Server::start().await;
    // All of it was handed over when the first byte of it could be sent.
    let client = server.http2(1).await;
    let mut body = in_no_time(async {
        let mut body = client.get("/quick").await.await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        body
    })
    .await;
    let stalled = Instant::now();
    body.data().await.unwrap().unwrap_err();
    assert!(stalled.elapsed() <= Duration::from_secs(13), "{:?}", stalled.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let mut flood = [PREFACE, EMPTY_SETTINGS].concat();
    for stream in (1_u32..400).step_by(2) {
        let mut headers = headers_frame("/slow", 5);
        headers.splice(5..9, stream.to_be_bytes());
        flood.extend(headers);
        // RST_STREAM (CANCEL).
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(stream.to_be_bytes());
        flood.extend(8_u32.to_be_bytes());
    }
    let started = Instant::now();
    let received = in_no_time(async {
        drop(stream.write_all(&flood).await);
        rest(&mut stream).await
    })
    .await;
    // GOAWAY (ENHANCE_YOUR_CALM).
    assert!(received.windows(4).any(|window| window == [0, 0, 0, 11]), "{received:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_place_is_kept_while_nobody_else_wants_it_and_then_handed_on() {
    let server = Server::start_with(|listener| listener.connections(NonZeroU32::MIN)).await;
    let quick = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut before: Option<TcpStream> = None;
    for _ in 0..3 {
        let mut stream = server.connect().await;
        let started = Instant::now();
        stream.write_all(quick).await.unwrap();
        until(&mut stream, b"done").await;
        assert!(started.elapsed() <= Duration::from_secs(4), "{:?}", started.elapsed());
        if let Some(mut before) = before.take() {
            assert_eq!(rest(&mut before).await, b"", "it was idle");
        }
        // Nobody else wants its place.
        sleep(Duration::from_secs(5)).await;
        in_no_time(async {
            stream.write_all(quick).await.unwrap();
            until(&mut stream, b"done").await;
        })
        .await;
        before = Some(stream);
    }
}

#[tokio::test(start_paused = true)]
async fn one_place_serves_many_requests_of_an_http2_connection_and_is_then_handed_on() {
    let mut server = Server::start_with(|listener| listener.connections(NonZeroU32::MIN)).await;
    let mut before: Option<Http2> = None;
    for _ in 0..3 {
        let client = server.http2(65_535).await;
        let started = Instant::now();
        // The one before is idle, and gives its place up for this request.
        assert_eq!(client.get("/quick").await.await.unwrap().status(), 200);
        assert!(started.elapsed() <= Duration::from_secs(4), "{:?}", started.elapsed());
        if let Some(before) = before.take() {
            assert!(before.connection.await.unwrap().is_ok(), "it was told to go");
        }
        // Nobody else wants its place.
        sleep(Duration::from_secs(5)).await;
        client.works().await;
        before = Some(client);
    }

    // Nobody gets the place of a connection whose requests are not answered yet.
    let busy = before.unwrap();
    let slow = [busy.get("/slow").await, busy.get("/slow").await];
    for _ in &slow {
        server.begun.recv().await.unwrap();
    }
    let started = Instant::now();
    let next = server.http2(65_535).await;
    assert_eq!(next.get("/quick").await.await.unwrap().status(), 200);
    let waited = started.elapsed();
    assert!((4..=9).contains(&waited.as_secs()), "{waited:?}");
    for answer in slow {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert!(busy.connection.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_there_is_no_room_idle_connections_make_it_and_busy_ones_are_waited_for() {
    let two = NonZeroU32::new(2).unwrap();
    let mut server = Server::start_with(|listener| listener.connections(two)).await;
    let slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    let quick = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    in_no_time(async {
        busy.write_all(slow).await.unwrap();
        server.begun.recv().await.unwrap();
        idle.write_all(quick).await.unwrap();
        until(&mut idle, b"done").await;
    })
    .await;
    // It is idle, and nobody else wants its place.
    let started = Instant::now();
    let mut next = server.connect().await;
    next.write_all(slow).await.unwrap();
    server.begun.recv().await.unwrap();
    assert!(started.elapsed() <= Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(rest(&mut idle).await, b"");
    let mut last = server.connect().await;
    last.write_all(quick).await.unwrap();
    until(&mut last, b"done").await;
    let waited = started.elapsed();
    assert!((4..=9).contains(&waited.as_secs()), "{waited:?}");
    until(&mut busy, b"done").await;
}
