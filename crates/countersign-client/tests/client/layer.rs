//! The client as a layer of hyper's.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use countersign::ContentDigest;
use countersign_client::{
    Client, Error,
    http::{Request, Response},
};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::{
    forgeries::WISH,
    server::{NOW, Server, client, refusal},
    signed_responses::{SERVER, keys},
};

async fn send<B>(client: &Client, request: Request<B>) -> Result<StatusCode, String>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let hyper = legacy::Client::builder(TokioExecutor::new()).build_http();
    let mut service = ServiceBuilder::new().layer(client.layer()).service(hyper);
    let sent = service.ready().await.unwrap().call(request).await;
    sent.map(|response| response.status()).map_err(|error| error.to_string())
}

fn order(url: String, content: &'static str) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::new(Bytes::from(content))).unwrap()
}

#[tokio::test]
async fn hyper_sends_what_the_layer_signs() {
    let server = Server::that_accepts().await;
    let client = client();
    let url = server.url("/v1/orders?a=b");
    assert_eq!(send(&client, order(url.clone(), "text")).await, Ok(StatusCode::CREATED));
    let read = Request::get(&url).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(send(&client, read).await, Ok(StatusCode::CREATED));
    let received = server.received();
    assert_ne!(received[0].verify(NOW), received[1].verify(NOW));
    assert_eq!((&*received[0].content, received[0].header("content-length")), (&b"text"[..], "4"));
}

#[tokio::test]
async fn the_layer_signs_anew_where_a_response_is_the_servers_own() {
    let answers = |number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        2 => refusal("signature-policy", &[(countersign::ACCEPT_SIGNATURE, WISH)]),
        3 => refusal("rate-limited", &[(header::RETRY_AFTER, "0")]),
        _ => StatusCode::CREATED.into_response(),
    };
    for (client, status, sent) in [
        (client(), StatusCode::UNAUTHORIZED, 1),
        (client().insecure_trust_plain_http(), StatusCode::CREATED, 4),
    ] {
        let server = Server::start(move |_, number| answers(number)).await;
        let mut request = order(server.url("/v1/orders"), "text");
        request.headers_mut().insert("x-tenant", "shop".parse().unwrap());
        assert_eq!(send(&client, request).await, Ok(status));
        let received = server.received();
        assert_eq!(received.len(), sent);
        received[0].verify(NOW);
    }
}

#[tokio::test]
async fn a_stream_passes_with_its_digest_and_not_without() {
    type Piece = Result<http_body::Frame<Bytes>, Infallible>;
    let pieces = || {
        let pieces: [Piece; 2] =
            [Bytes::from("te"), Bytes::from("xt")].map(|piece| Ok(http_body::Frame::data(piece)));
        StreamBody::new(futures_util::stream::iter(pieces))
    };
    let server = Server::that_accepts().await;
    let digest = ContentDigest::sha256(b"text").to_header().unwrap();
    let digested = Request::post(server.url("/")).header("content-digest", digest);
    assert_eq!(send(&client(), digested.body(pieces()).unwrap()).await, Ok(StatusCode::CREATED));
    server.received()[0].verify(NOW);
    // Held in memory, up to the limit.
    let small = Request::post(server.url("/")).body(pieces()).unwrap();
    assert_eq!(send(&client(), small).await, Ok(StatusCode::CREATED));
    server.received()[1].verify(NOW);
    let service = tower::service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(())));
    let limited = client().layer().content_limit(3);
    let mut service = ServiceBuilder::new().layer(limited).service(service);
    let large = Request::post(server.url("/")).body(pieces()).unwrap();
    let error = service.ready().await.unwrap().call(large).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::StreamingBody)), "{error:?}");
}

#[tokio::test]
async fn what_the_layer_cannot_sign_is_not_sent() {
    let server = Server::that_accepts().await;
    let cases = [
        (Request::post("/v1/orders"), "origin"),
        (Request::post(server.url("/")).header("host", "other.example"), "Host"),
        (Request::post(server.url("/")).header("content-length", "2"), "content-length"),
        (Request::post(server.url("/a//b")), "signed"),
    ];
    for (request, said) in cases {
        let error =
            send(&client(), request.body(Full::new(Bytes::new())).unwrap()).await.unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let trailers = StreamBody::new(futures_util::stream::iter([Ok::<_, Infallible>(
        http_body::Frame::trailers(Default::default()),
    )]));
    let trailing = Request::post(server.url("/")).body(trailers).unwrap();
    assert!(send(&client(), trailing).await.unwrap_err().contains("trailers"));
    let verifies = client().verify_responses(keys(SERVER));
    let error = send(&verifies, order(server.url("/"), "")).await.unwrap_err();
    assert!(error.contains("verifies no responses"), "{error}");
    assert_eq!(server.received().len(), 0);
}

/// Waits for a future by asking it again and again, as the executor of another runtime can.
fn wait_outside_tokio<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}

#[test]
fn outside_tokio_the_layer_signs_anew_at_once_and_returns_a_refusal_that_asks_for_a_pause() {
    const DATE: &str = "Sun, 23 Nov 2025 12:05:20 GMT";
    for (code, field, sent) in [
        ("signature-stale", (header::DATE, DATE), 2),
        ("rate-limited", (header::RETRY_AFTER, "0"), 1),
    ] {
        let received = Arc::new(AtomicUsize::new(0));
        let number = Arc::clone(&received);
        let service = tower::service_fn(move |_: Request<_>| {
            let first = number.fetch_add(1, Ordering::SeqCst) == 0;
            let response = match first {
                true => refusal(code, std::slice::from_ref(&field)),
                false => StatusCode::CREATED.into_response(),
            };
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let service = ServiceBuilder::new().layer(client().layer()).service(service);
        let url = "https://api.example.com/v1/orders".to_owned();
        let response = wait_outside_tokio(service.oneshot(order(url, "text"))).unwrap();
        assert_eq!(response.status() == StatusCode::CREATED, sent == 2, "{code}");
        assert_eq!(received.load(Ordering::SeqCst), sent, "{code}");
    }
}

/// A body of the application's own comes back as what the inner service made of it.
#[tokio::test]
async fn the_inner_service_gets_the_content() {
    let echo =
        tower::service_fn(async |request: Request<countersign_client::SignedBody<Full<Bytes>>>| {
            let content = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(content))
        });
    let service = ServiceBuilder::new().layer(client().layer()).service(echo);
    let response = service.oneshot(order("https://api.example.com/".to_owned(), "text")).await;
    assert_eq!(response.unwrap().into_body(), "text");
}
