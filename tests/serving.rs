//! The corpus of bad input through the reverse proxy of `countersign serve`: what the verifier refuses reaches no server behind it.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::{any, get},
};
use countersign_server::{Route, RouteTable, serve};
use countersign_service::ReverseProxy;
use harness::{
    Service, TestClock,
    corpus::{Corpus, Protocol, run},
    verifier,
};
use http::Method;
use tokio::net::TcpListener;
use tower_layer::Layer as _;

/// A service that knows nothing of keys, with the routes of the corpus, and counts its calls.
fn plain(handled: &Arc<AtomicUsize>) -> Router {
    let routes = || {
        let count = |headers: &HeaderMap, handled: &AtomicUsize| {
            assert!(headers.contains_key("countersign-access"), "{headers:?}");
            handled.fetch_add(1, Ordering::SeqCst);
        };
        let [reads, writes, secrets, others] = [(); 4].map(|()| Arc::clone(handled));
        let secret = async move |headers: HeaderMap| count(&headers, &secrets);
        Router::new()
            .route(
                "/v1/orders",
                get(async move |headers: HeaderMap| count(&headers, &reads)).post(
                    async move |headers: HeaderMap, Json(order): Json<serde_json::Value>| {
                        count(&headers, &writes);
                        (StatusCode::CREATED, Json(order))
                    },
                ),
            )
            .route("/v1/secret", get(secret.clone()))
            .route("/v1/raised", get(secret))
            .route(
                "/v1/plain",
                any(async move |headers: HeaderMap, content: Bytes| {
                    count(&headers, &others);
                    content
                }),
            )
    };
    routes().nest("/api", routes().nest("/deep", routes()))
}

fn table() -> RouteTable {
    let below = |prefix: &str| {
        let path = |path: &str| format!("{prefix}{path}");
        let streamed = |method| Route::signed(method, &path("/v1/plain")).streamed(1 << 20);
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].map(streamed);
        let others = [
            Route::read(&path("/v1/orders")),
            Route::signed(Method::POST, &path("/v1/orders")).streamed(1 << 20),
            Route::signed(Method::GET, &path("/v1/secret")),
            Route::signed(Method::GET, &path("/v1/raised")),
        ];
        writes.into_iter().chain(others).collect::<Vec<_>>()
    };
    RouteTable::new(["", "/api", "/api/deep"].into_iter().flat_map(below)).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn all(protocol: Protocol) {
    let handled = Arc::new(AtomicUsize::new(0));
    let (listener, behind) = listen().await;
    tokio::spawn(serve(listener, plain(&handled), std::future::pending()));
    let (listener, address) = listen().await;
    let proxy = ReverseProxy::to([format!("http://{behind}").parse().unwrap()]);
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let service = verifier.routes(table()).layer().layer(proxy);
    tokio::spawn(serve(listener, service, std::future::pending()));

    let corpus = Corpus::read();
    let (mut runs, mut wrong) = (0_usize, Vec::new());
    for case in corpus.cases() {
        let before = handled.load(Ordering::SeqCst);
        let Some(run) = run(&corpus, case, protocol, Some(address)).await else { continue };
        runs = runs.saturating_add(1);
        let ran = handled.load(Ordering::SeqCst).saturating_sub(before);
        let expected = case.steps.iter().filter(|step| step.expect.handler).count();
        if run.wrong.is_some() || ran != expected {
            wrong.push(format!("{}: {:?}, the service ran {ran} times", run.name, run.wrong));
        }
    }
    assert!(wrong.is_empty() && runs > 150, "{runs} runs, {wrong:#?}");
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_through_the_proxy_over_http1() {
    all(Protocol::Http1).await;
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_through_the_proxy_over_http2() {
    all(Protocol::Http2).await;
}
