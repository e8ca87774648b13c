//! Content that is streamed to its handler, and content that is encoded: what is verified, and how much of it is held.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    io::Write as _,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, body::Body, extract::DefaultBodyLimit, routing::post};
use bytes::Bytes;
use countersign::{ContentDigest, Origins, ResponseSigner};
use countersign_server::{
    ContentError, Require, Route, Routes, SignResponses, Signed, SignedBy, VerifiedBody,
};
use countersign_store::{
    Application, ApplicationName, Environment, Limited, Limits, MemoryKeys, Quota, State,
};
use flate2::{Compression, write::GzEncoder};
use harness::{Answer, Counted, NOW, Raw, Service, TestClock, credential, exchange, key, verifier};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{Layer as _, ServiceExt};
use tower_http::decompression::RequestDecompressionLayer;

/// What a streaming handler saw, with the code of the error that it ended with.
type Seen = Arc<Mutex<Vec<(Vec<u8>, Option<String>)>>>;

fn upload(seen: &Seen, limit: u64) -> Router {
    let (clock, seen) = (TestClock::default(), Arc::clone(seen));
    let handler = async move |Signed(_, mut body): Signed<Body>| {
        let (mut content, mut failed) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => content.extend(frame.into_data().unwrap()),
                Err(error) => {
                    let inner = error.into_inner();
                    let error = inner.downcast_ref::<ContentError>().unwrap();
                    failed = Some(error.code().to_string());
                }
            }
        }
        seen.lock().unwrap().push((content, failed));
        // It says well, whatever it saw.
        StatusCode::CREATED
    };
    let routes =
        Routes::new().route(Route::signed(Method::POST, "/v1/orders").streamed(limit), handler);
    verifier(&clock, Service::keys(), Service::nonces())
        .content_timeout(Duration::from_secs(5))
        .protect(routes)
        .unwrap()
}

fn pieces(of: &[u8], size: usize) -> Body {
    let frames: Vec<_> = of
        .chunks(size)
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

async fn answer(app: &Router, request: http::Request<Body>) -> (u16, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn streamed_content_that_is_not_what_was_signed_never_arrives_whole_and_is_refused() {
    let seen = Seen::default();
    let app = upload(&seen, 1000);
    let content = b"a piece. another piece. the last one";
    let signed = || Raw::order().body(content).signed();
    let request = |body: Body| signed().request().map(|_| body);
    let last = |seen: &Seen| seen.lock().unwrap().pop().unwrap();
    for size in [1, 7, 12, 100] {
        assert_eq!(answer(&app, request(pieces(content, size))).await, (201, String::new()));
        assert_eq!(last(&seen), (content.to_vec(), None));
    }
    let changed = content.map(|byte| if byte == b'l' { b'L' } else { byte });
    let mut longer = content.to_vec();
    longer.push(b'!');
    for wrong in [&changed[..], &longer, &content[..20], b""] {
        for size in [1, 7, 100] {
            let outcome = answer(&app, request(pieces(wrong, size))).await;
            assert_eq!(outcome, (400, "digest-mismatch".into()));
            let (arrived, failed) = last(&seen);
            assert_eq!(failed.as_deref(), Some("digest-mismatch"));
            assert!(arrived.len() < wrong.len().max(1), "all of it was handed out");
        }
    }
    let large = [b'a'; 1001];
    let signed_large = || Raw::order().body(&large).signed().request();
    let outcome = answer(&app, signed_large()).await;
    assert_eq!(outcome, (413, "content-too-large".into()), "it says its length");
    assert!(seen.lock().unwrap().is_empty(), "and no handler runs");
    let outcome = answer(&app, signed_large().map(|_| pieces(&large, 100))).await;
    assert_eq!(outcome, (413, "content-too-large".into()));
    assert_eq!(last(&seen).1.as_deref(), Some("content-too-large"));
    let broken = StreamBody::new(futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"a piece."))),
        Err(std::io::Error::other("the peer is gone")),
    ]));
    assert_eq!(answer(&app, request(Body::new(broken))).await, (400, "bad-request".into()));
    assert_eq!(last(&seen).1.as_deref(), Some("bad-request"));
    for name in ["signature", "signature-input", "content-digest"] {
        let trailers = http::HeaderMap::from_iter([(
            name.parse::<http::HeaderName>().unwrap(),
            http::HeaderValue::from_static("x=1"),
        )]);
        let body = StreamBody::new(futures_util::stream::iter([
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(content))),
            Ok(Frame::trailers(trailers)),
        ]));
        assert_eq!(answer(&app, request(Body::new(body))).await, (400, "bad-request".into()));
        assert_eq!(last(&seen), (Vec::new(), Some("bad-request".into())), "{name}");
    }
    let harmless = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-other"),
        http::HeaderValue::from_static("1"),
    )]);
    let body = StreamBody::new(futures_util::stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(content))),
        Ok(Frame::trailers(harmless)),
    ]));
    assert_eq!(answer(&app, request(Body::new(body))).await.0, 201);
    assert_eq!(last(&seen), (content.to_vec(), None), "a trailer is nobody's to read");
}

#[tokio::test]
async fn whoever_does_not_read_a_stream_to_its_end_cannot_say_that_all_is_well() {
    let clock = TestClock::default();
    let first = async |Signed(_, mut body): Signed<Body>| {
        drop(body.frame().await);
        StatusCode::CREATED
    };
    let routes = Routes::new()
        .route(Route::signed(Method::POST, "/first").streamed(1000), first)
        .route(
            Route::signed(Method::POST, "/ignored").streamed(1000),
            async |SignedBy(_): SignedBy| StatusCode::CREATED,
        )
        .route(
            Route::signed(Method::POST, "/refused").streamed(1000),
            async |SignedBy(_): SignedBy| StatusCode::CONFLICT,
        )
        .route(
            Route::signed(Method::POST, "/echo").streamed(1000),
            async |Signed(_, body): Signed<Body>| body,
        )
        .route(
            Route::signed(Method::GET, "/nothing").streamed(1000),
            async |SignedBy(_): SignedBy| StatusCode::CREATED,
        );
    let app = verifier(&clock, Service::keys(), Service::nonces()).protect(routes).unwrap();
    let content = b"a piece. another piece. the last one";
    let order = |path: &str| {
        let request = Raw::order().target(path).body(content).signed().request();
        request.map(|_| pieces(content, 7))
    };
    let misconfigured = (500, "misconfigured".to_owned());
    assert_eq!(answer(&app, order("/first")).await, misconfigured);
    assert_eq!(answer(&app, order("/ignored")).await, misconfigured);
    assert_eq!(answer(&app, order("/refused")).await, (409, String::new()));
    assert_eq!(answer(&app, order("/echo")).await, (200, String::new()));
    let forged = order("/echo").map(|_| pieces(b"a piece. another piece. the last two", 7));
    assert_eq!(answer(&app, forged).await, (400, "digest-mismatch".into()));
    let nothing = Raw::read().target("/nothing").signed().request();
    assert_eq!(answer(&app, nothing).await, (201, String::new()));
}

#[tokio::test]
async fn whoever_does_not_read_a_stream_may_refuse_and_nothing_else() {
    for (status, expected) in [(204, 500), (302, 500), (399, 500), (400, 400), (503, 503)] {
        let handler = async move |SignedBy(_): SignedBy| StatusCode::from_u16(status).unwrap();
        let route = Route::signed(Method::POST, "/v1/orders").streamed(1000);
        let app = verifier(&TestClock::default(), Service::keys(), Service::nonces())
            .protect(Routes::new().route(route, handler))
            .unwrap();
        let answered = answer(&app, Raw::order().signed().request()).await.0;
        assert_eq!(answered, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_quiet_ends() {
    let seen = Seen::default();
    let app = upload(&seen, 1000);
    let first =
        futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a")))]);
    let silent = futures_util::stream::pending();
    let body = Body::new(StreamBody::new(futures_util::StreamExt::chain(first, silent)));
    let request = Raw::order().body(b"ab").signed().request().map(|_| body);
    assert_eq!(answer(&app, request).await, (408, "request-timeout".into()));
    assert_eq!(seen.lock().unwrap().pop().unwrap(), (Vec::new(), Some("request-timeout".into())));
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_that_never_goes_quiet_goes_on() {
    let seen = Seen::default();
    let app = upload(&seen, 1000);
    let stream = futures_util::stream::unfold(0_u8, |at| async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        (at < 20).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a"))), at + 1))
    });
    let request = Raw::order().body(&[b'a'; 20]).signed().request();
    let request = request.map(|_| Body::new(StreamBody::new(Box::pin(stream))));
    assert_eq!(answer(&app, request).await.0, 201);
    assert_eq!(seen.lock().unwrap().pop().unwrap(), (vec![b'a'; 20], None));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_handler_takes_over_a_piece_does_not_count() {
    let handler = async |Signed(_, mut body): Signed<Body>| {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return StatusCode::BAD_REQUEST;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        StatusCode::CREATED
    };
    let routes =
        Routes::new().route(Route::signed(Method::POST, "/v1/orders").streamed(1000), handler);
    let app = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = app.content_timeout(Duration::from_secs(5)).protect(routes).unwrap();
    // As over HTTP/1.1, a piece comes a while after it is asked for.
    let stream = futures_util::stream::unfold(0_u8, |at| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (at < 3).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a"))), at + 1))
    });
    let request = Raw::order().body(b"aaa").signed().request();
    let request = request.map(|_| Body::new(StreamBody::new(Box::pin(stream))));
    assert_eq!(answer(&app, request).await, (201, String::new()));
}

const CONTENT: &[u8] = b"a piece. another piece. the last one";
const FORGED: &[u8] = b"a piece. another piece. the last two";
/// How much is sent before the response has to begin.
const FIRST: usize = 20;

/// Handlers that answer before they have read the content to its end.
fn early() -> Router {
    let read_on = |mut body: Body| {
        tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    };
    let task = |status: StatusCode, content: Vec<u8>| {
        async move |Signed(_, body): Signed<Body>| {
            read_on(body);
            (status, content)
        }
    };
    let streamed = |path: &str| Route::signed(Method::POST, path).streamed(1000);
    let routes = Routes::new()
        .route(streamed("/task"), task(StatusCode::ACCEPTED, b"accepted".to_vec()))
        .route(streamed("/large"), task(StatusCode::OK, vec![b'a'; 1 << 20]))
        .route(streamed("/empty"), task(StatusCode::NO_CONTENT, Vec::new()))
        .route(streamed("/refused"), task(StatusCode::CONFLICT, b"refused".to_vec()))
        .route(streamed("/dropped"), async |Signed(_, body): Signed<Body>| {
            tokio::spawn(async move { drop(body) });
            (StatusCode::ACCEPTED, "accepted")
        })
        .route(streamed("/echo"), async |Signed(_, body): Signed<Body>| body)
        .route(streamed("/endless"), async move |Signed(_, body): Signed<Body>| {
            read_on(body);
            let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'a'; 4096])));
            let pieces = std::iter::repeat_with(piece).take(100);
            Body::new(StreamBody::new(futures_util::stream::iter(pieces)))
        })
        .route(streamed("/trailers"), async move |Signed(_, body): Signed<Body>| {
            let (begin, begun) = tokio::sync::oneshot::channel::<()>();
            let trailers = http::HeaderMap::from_iter([(
                http::header::ETAG,
                http::HeaderValue::from_static("1"),
            )]);
            // Its trailers are there before the content is.
            tokio::spawn(async move {
                drop(begun.await);
                read_on(body);
            });
            let frames = [
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a"))),
                Ok(Frame::trailers(trailers)),
            ];
            let mut begin = Some(begin);
            let first = futures_util::stream::once(async move {
                tokio::task::yield_now().await;
                drop(begin.take());
                Ok(Frame::data(Bytes::from_static(b"b")))
            });
            let all = futures_util::StreamExt::chain(first, futures_util::stream::iter(frames));
            Body::new(StreamBody::new(Box::pin(all)))
        });
    verifier(&TestClock::default(), Service::keys(), Service::nonces()).protect(routes).unwrap()
}

async fn early_service() -> Service {
    Service::serve(TestClock::default(), early(), Arc::default()).await
}

/// What comes of a request over HTTP/1.1, of which the rest is sent when the response has begun, if that is waited for.
async fn over_http1(service: &Service, path: &str, content: &[u8], wait: bool) -> String {
    let request = Raw::order().target(path).body(CONTENT).signed().add("Connection", "close");
    let bytes = request.body(content).bytes();
    let rest = CONTENT.split_at(FIRST).1.len();
    let (first, rest) = bytes.split_at(bytes.len().strict_sub(rest));
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    let mut answer = Vec::new();
    while wait && !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(rest).await.unwrap();
    // The connection of a response that is broken off may be reset.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

/// The same over HTTP/2: the status, and the content or why there is no end to it.
async fn over_http2(
    service: &Service,
    path: &str,
    content: &'static [u8],
    wait: bool,
) -> (u16, Result<String, h2::Reason>) {
    let socket = TcpStream::connect(service.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let signed = Raw::order().target(path).body(CONTENT).signed();
    let mut request = http::Request::post(format!("https://api.example.com{path}"));
    for (name, value) in signed.headers.iter().filter(|(name, _)| name != "Host") {
        request = request.header(name, value.as_slice());
    }
    let mut client = client.ready().await.unwrap();
    let (response, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let (first, rest) = content.split_at(FIRST);
    sending.send_data(Bytes::from_static(first), false).unwrap();
    let mut rest = Some(rest);
    let mut send_rest =
        || rest.take().map(|rest| sending.send_data(Bytes::from_static(rest), true));
    if !wait {
        send_rest();
    }
    let response = response.await.unwrap();
    send_rest();
    let (status, mut body) = (response.status().as_u16(), response.into_body());
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => {
                body.flow_control().release_capacity(piece.len()).unwrap();
                text.extend(piece);
            }
            Err(error) => return (status, Err(error.reason().unwrap())),
        }
    }
    if let Err(error) = body.trailers().await {
        return (status, Err(error.reason().unwrap()));
    }
    (status, Ok(String::from_utf8(text).unwrap()))
}

#[tokio::test]
async fn a_response_that_is_there_before_its_content_was_read_waits_for_the_verdict() {
    let service = early_service().await;
    for (path, status, content) in [
        ("/task", 202, "accepted"),
        ("/large", 200, "aaaa"),
        ("/empty", 204, ""),
        ("/refused", 409, "refused"),
    ] {
        let well = over_http1(&service, path, CONTENT, false).await;
        assert!(well.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {well:.200}");
        assert!(well.contains(content), "{path}: {well:.200}");
        let (told, text) = over_http2(&service, path, CONTENT, false).await;
        assert_eq!((told, text.unwrap().contains(content)), (status, true), "{path}");
    }
    for path in ["/task", "/large", "/empty"] {
        let forged = over_http1(&service, path, FORGED, false).await;
        assert!(forged.starts_with("HTTP/1.1 400 "), "{path}: {forged:.200}");
        assert!(forged.contains("\"code\":\"digest-mismatch\""), "{path}: {forged:.200}");
        let (status, text) = over_http2(&service, path, FORGED, false).await;
        assert_eq!((status, text.unwrap().contains("digest-mismatch")), (400, true), "{path}");
    }
    for content in [CONTENT, FORGED] {
        let unread = over_http1(&service, "/dropped", content, false).await;
        assert!(unread.starts_with("HTTP/1.1 500 "), "{unread}");
        assert_eq!(over_http2(&service, "/dropped", content, false).await.0, 500);
        // A refusal promises nothing, and has nothing to wait for.
        let refused = over_http1(&service, "/refused", content, true).await;
        assert!(refused.starts_with("HTTP/1.1 409 "), "{refused}");
    }
}

#[tokio::test]
async fn a_response_that_depends_on_its_content_has_no_end_unless_that_is_what_was_signed() {
    let service = early_service().await;
    let well = over_http1(&service, "/echo", CONTENT, true).await;
    assert!(well.starts_with("HTTP/1.1 200 ") && well.ends_with("\r\n0\r\n\r\n"), "{well}");
    let head = well.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(
        !head.contains("content-length"),
        "whoever counts must not think that all is there: {head}"
    );
    let forged = over_http1(&service, "/echo", FORGED, true).await;
    assert!(forged.starts_with("HTTP/1.1 200 "), "it had begun: {forged}");
    assert!(!forged.ends_with("0\r\n\r\n") && !forged.contains("last two"), "{forged}");
    let text = String::from_utf8(CONTENT.to_vec()).unwrap();
    assert_eq!(over_http2(&service, "/echo", CONTENT, true).await, (200, Ok(text)));
    let broken = (200, Err(h2::Reason::INTERNAL_ERROR));
    assert_eq!(over_http2(&service, "/echo", FORGED, true).await, broken);
}

#[tokio::test]
async fn where_responses_are_signed_every_one_of_them_waits_for_the_verdict() {
    let origins = Origins::from("https://api.example.com".parse::<countersign::Origin>().unwrap());
    let signer = ResponseSigner::new(harness::key(7)).unwrap();
    let app = early().layer(SignResponses::new(origins, signer));
    let service = Service::serve(TestClock::default(), app, Arc::default()).await;
    for path in ["/task", "/echo", "/endless", "/trailers"] {
        let forged = over_http1(&service, path, FORGED, false).await;
        assert!(forged.starts_with("HTTP/1.1 400 "), "{path}: {forged:.200}");
        for part in ["\"code\":\"digest-mismatch\"", "\r\nsignature-input: "] {
            assert!(forged.contains(part), "{path}: {forged}");
        }
    }
    let well = over_http1(&service, "/echo", CONTENT, false).await;
    assert!(well.starts_with("HTTP/1.1 200 ") && well.contains("the last one"), "{well}");
}

#[tokio::test]
async fn a_service_inside_can_have_a_body_that_no_refusal_could_be_made_into() {
    type Own = UnsyncBoxBody<Bytes, std::io::Error>;
    let own = tower::service_fn(async |request: http::Request<VerifiedBody<Body>>| {
        let body = request.into_body().map_err(std::io::Error::other);
        Ok::<http::Response<Own>, Infallible>(http::Response::new(body.boxed_unsync()))
    });
    let app = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = app.layer().layer(own);
    for (request, status, text) in [
        (Raw::order().signed(), 200, "{\"item\":\"book\"}"),
        (Raw::order(), 401, "signature-required"),
    ] {
        let response = app.clone().oneshot(request.request()).await.unwrap();
        assert_eq!(response.status(), status);
        let content = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&content).contains(text), "{content:?}");
    }
}

#[tokio::test]
async fn a_long_response_begins_at_once_and_ends_with_the_verdict() {
    let service = early_service().await;
    for path in ["/endless", "/trailers"] {
        let well = over_http1(&service, path, CONTENT, true).await;
        assert!(well.starts_with("HTTP/1.1 200 ") && well.ends_with("0\r\n\r\n"), "{well:.200}");
        assert_eq!(over_http2(&service, path, CONTENT, true).await.1.err(), None, "{path}");
        let forged = over_http1(&service, path, FORGED, true).await;
        assert!(forged.starts_with("HTTP/1.1 200 "), "{forged:.200}");
        assert!(!forged.ends_with("0\r\n\r\n"), "{path}");
        let broken = (200, Err(h2::Reason::INTERNAL_ERROR));
        assert_eq!(over_http2(&service, path, FORGED, true).await, broken, "{path}");
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Decodes inside of the verifier, and up to 1 MiB.
async fn decoding() -> Service {
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&handled);
    let handler = async move |SignedBy(_): SignedBy, Json(order): Json<Value>| {
        counted.fetch_add(1, Ordering::SeqCst);
        order["item"].to_string()
    };
    let app = Router::new()
        .route("/v1/orders", post(handler))
        .route_layer(DefaultBodyLimit::max(1 << 20))
        .route_layer(RequestDecompressionLayer::new())
        .route_layer(Require::signed())
        .layer(verifier(&clock, Service::keys(), Service::nonces()).layer());
    Service::serve(clock, app, handled).await
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

#[tokio::test]
async fn encoded_content_is_verified_as_it_came_and_decoded_only_inside() {
    let service = decoding().await;
    let content = br#"{"item":"book"}"#;
    let encoded = || Raw::order().add("Content-Encoding", "gzip").body(&gzip(content));
    let answer = send(&service, &encoded().signed()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"book\""));
    // A digest of what it decodes to is not one of what was sent.
    let digest = ContentDigest::sha256(content).to_string();
    let covered = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type" "content-encoding""#;
    let early = encoded()
        .add("Content-Digest", digest)
        .signed_as(&format!("({covered}){}", harness::PARAMS));
    assert_eq!(send(&service, &early).await.code(), "digest-mismatch");
    let stripped = encoded().signed().without("Content-Encoding");
    assert_eq!(send(&service, &stripped).await.status, 400, "its encoding is covered");
    let uncovered = Raw::order().body(&gzip(content)).signed().add("Content-Encoding", "gzip");
    assert_eq!(send(&service, &uncovered).await.code(), "signature-policy");
    assert_eq!(service.handled(), 1);
}

#[tokio::test]
async fn content_that_decodes_to_too_much_is_refused_row_102() {
    let service = decoding().await;
    let mut bomb = br#"{"item":""#.to_vec();
    bomb.resize(256 << 20, b'a');
    let bomb = gzip(&bomb);
    assert!(bomb.len() < 1 << 20, "it fits the verifier's limit");
    let request = Raw::order().add("Content-Encoding", "gzip").body(&bomb);
    let answer = send(&service, &request.signed()).await;
    assert_eq!((answer.status, service.handled()), (413, 0));
}

/// An order of 1,000 bytes.
fn large() -> Raw {
    Raw::order().target("/v1/plain").body(&[b'a'; 1_000])
}

/// Has an order arrive but for its last byte.
async fn all_but_the_last_byte(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let bytes = large().signed().bytes();
    stream.write_all(bytes.split_last().unwrap().1).await.unwrap();
    stream
}

/// Sends what this makes until it is answered so, which is soon.
async fn until_answered(service: &Service, status: u16, make: impl Fn() -> Raw) -> Answer {
    let answered = async {
        loop {
            let answer = send(service, &make()).await;
            if answer.status == status {
                break answer;
            }
            assert!([200, 503].contains(&answer.status), "{answer:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap()
}

#[tokio::test]
async fn content_of_all_requests_together_has_a_budget_which_is_given_back_on_every_path() {
    let budget = |verifier: countersign_server::Verifier<_, _>| {
        verifier.content_limit(1_000).content_memory(1_500)
    };
    let service = Service::start_with(keys_of_two_applications(), Service::nonces(), budget).await;
    let signed = || large().signed();

    let mut open = all_but_the_last_byte(&service).await;
    let refused = until_answered(&service, 503, signed).await;
    assert_eq!((refused.code().as_str(), refused.get("retry-after")), ("overloaded", Some("1")));
    let announced = large().signed();
    assert_eq!(send(&service, &announced).await.code(), "overloaded");
    // In chunks, it is known to be too much only when it is there.
    let chunks = format!("3e8\r\n{}\r\n0\r\n\r\n", "a".repeat(1_000));
    let mut in_chunks = large().signed().add("Transfer-Encoding", "chunked");
    in_chunks.body = chunks.into_bytes();
    assert_eq!(send(&service, &in_chunks).await.code(), "overloaded");
    // What is small has room.
    let small = Raw::order().target("/v1/plain").signed_by(key(7), NOW);
    assert_eq!(send(&service, &small).await.status, 200);
    let too_much = Raw::order().target("/v1/plain").body(&[b'a'; 1_001]).signed();
    assert_eq!(send(&service, &too_much).await.code(), "content-too-large");

    open.write_all(b"a").await.unwrap();
    let mut answer = [0; 12];
    open.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(open);
    until_answered(&service, 200, signed).await;
    assert_eq!(send(&service, &announced).await.status, 200, "its nonce was not used");
    assert_eq!(send(&service, &in_chunks).await.code(), "signature-replayed");

    // A client that goes away, content that is not what was signed, content that is too large: none of it stays.
    for _ in 0..3 {
        let gone = all_but_the_last_byte(&service).await;
        until_answered(&service, 503, signed).await;
        drop(gone);
        until_answered(&service, 200, signed).await;
        let forged = large().signed().body(&[b'b'; 1_000]);
        assert_eq!(send(&service, &forged).await.code(), "digest-mismatch");
        let chunks = format!("3e9\r\n{}\r\n0\r\n\r\n", "a".repeat(1_001));
        let mut too_much = Raw::order().target("/v1/plain").body(&[b'a'; 1_001]).signed();
        too_much = too_much.add("Transfer-Encoding", "chunked");
        too_much.body = chunks.into_bytes();
        assert_eq!(send(&service, &too_much).await.code(), "content-too-large");
    }
    until_answered(&service, 200, signed).await;
}

/// The registered keys, of which 1 and 5 are of one application, and 7 of another one.
fn keys_of_two_applications() -> MemoryKeys {
    let keys = Service::keys();
    let mut other = credential(7, &key(7), State::Active);
    let (name, environment) =
        (ApplicationName::from_static("desk"), Environment::from_static("test"));
    other.application = Arc::new(Application::new(name, environment, NOW));
    keys.insert(other).unwrap();
    keys
}

#[tokio::test]
async fn one_application_leaves_room_for_the_content_of_others_however_many_keys_it_has() {
    let budget = |verifier: countersign_server::Verifier<_, _>| {
        verifier.content_limit(1_000).content_memory(8_000)
    };
    let service = Service::start_with(keys_of_two_applications(), Service::nonces(), budget).await;
    // Two orders fit a quarter of the room.
    let open = [all_but_the_last_byte(&service).await, all_but_the_last_byte(&service).await];
    let refused = until_answered(&service, 503, || large().signed()).await;
    assert_eq!((refused.code().as_str(), refused.get("retry-after")), ("overloaded", Some("1")));
    assert_eq!(send(&service, &large().signed_by(key(5), NOW)).await.code(), "overloaded");
    assert_eq!(send(&service, &large().signed_by(key(7), NOW)).await.status, 200);
    drop(open);
    until_answered(&service, 200, || large().signed()).await;
}

#[tokio::test]
async fn content_that_says_it_is_more_than_the_share_has_room_for_uses_neither_nonce_nor_limit() {
    let (keys, clock) = (keys_of_two_applications(), TestClock::default());
    let (nonces, asked) = Counted::new(Service::nonces());
    let limits = Limits::default().signed([Quota::per_minute(NonZeroU32::new(100).unwrap())]);
    let gate = Limited::new(nonces, limits).clock(clock.monotonic());
    let service = Service::start_by(clock, keys, gate, |verifier| {
        verifier.content_limit(1_000).content_memory(8_000)
    })
    .await;
    let open = [all_but_the_last_byte(&service).await, all_but_the_last_byte(&service).await];
    let refused = until_answered(&service, 503, || large().signed()).await;
    assert_eq!(refused.code(), "overloaded");
    let before = asked.load(Ordering::SeqCst);
    let announced = large().signed();
    for _ in 0..5 {
        let refused = send(&service, &announced).await;
        assert_eq!((refused.code().as_str(), refused.get("ratelimit")), ("overloaded", None));
    }
    assert_eq!(asked.load(Ordering::SeqCst), before);
    drop(open);
    until_answered(&service, 200, || large().signed()).await;
    assert_eq!(send(&service, &announced).await.status, 200, "its nonce was not used");
}

#[tokio::test]
async fn where_nothing_is_refused_content_passes_whole_without_room_for_it() {
    let budget = |verifier: countersign_server::Verifier<_, _>| {
        verifier.content_limit(1_000).content_memory(1_500).insecure_observe()
    };
    let service = Service::start_with(Service::keys(), Service::nonces(), budget).await;
    let open = all_but_the_last_byte(&service).await;
    for _ in 0..20 {
        let answer = send(&service, &large().signed()).await;
        assert_eq!((answer.status, answer.body.len()), (200, 1_000));
    }
    drop(open);
}

#[tokio::test]
async fn where_nothing_is_refused_content_passes_whole_and_unverified_beyond_a_share() {
    let budget = |verifier: countersign_server::Verifier<_, _>| {
        verifier.content_limit(1_000).content_memory(8_000).insecure_observe()
    };
    let service = Service::start_with(keys_of_two_applications(), Service::nonces(), budget).await;
    let open = [all_but_the_last_byte(&service).await, all_but_the_last_byte(&service).await];
    let chunks = format!("3e8\r\n{}\r\n0\r\n\r\n", "a".repeat(1_000));
    for _ in 0..20 {
        let mut in_chunks = large().signed().add("Transfer-Encoding", "chunked");
        in_chunks.body = chunks.clone().into_bytes();
        for request in [large().signed(), in_chunks] {
            let answer = send(&service, &request).await;
            assert_eq!((answer.status, answer.body.len()), (200, 1_000), "{answer:?}");
        }
    }
    drop(open);
}

#[tokio::test]
async fn one_request_of_the_largest_size_always_fits() {
    let budget = |verifier: countersign_server::Verifier<_, _>| {
        verifier.content_memory(10).content_limit(1_000)
    };
    let service = Service::start_with(Service::keys(), Service::nonces(), budget).await;
    assert_eq!(send(&service, &large().signed()).await.status, 200);
}
