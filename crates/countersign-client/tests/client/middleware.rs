//! The client as a part of another.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    http::{Extensions, StatusCode, header},
    response::IntoResponse,
};
use countersign_client::{
    Error, Refusal,
    reqwest::{self, Request, Response, ResponseBuilderExt as _, redirect::Policy},
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tokio::sync::Barrier;

use crate::{
    server::{NOW, Server, client, redirect, refusal},
    signed_responses::{Made, SERVER, keys},
};

/// Sends twice more what the service failed at.
#[derive(Default)]
struct Retries(AtomicUsize);

#[async_trait::async_trait]
impl Middleware for Retries {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        loop {
            let again = request.try_clone().unwrap();
            let response = next.clone().run(again, extensions).await?;
            let tried = self.0.fetch_add(1, Ordering::SeqCst);
            if response.status() != StatusCode::BAD_GATEWAY || tried >= 2 {
                return Ok(response);
            }
        }
    }
}

fn own(client: &countersign_client::Client, policy: Policy) -> ClientWithMiddleware {
    let own = reqwest::Client::builder().redirect(policy).user_agent("shop/1").build();
    ClientBuilder::new(own.unwrap()).with(Retries::default()).with(client.middleware()).build()
}

#[tokio::test]
async fn each_attempt_of_a_retry_policy_is_signed_anew() {
    let server = Server::start(|_, number| match number {
        1 | 2 => StatusCode::BAD_GATEWAY.into_response(),
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let order = own(&client(), Policy::none()).post(server.url("/v1/orders")).body("text");
    assert_eq!(order.send().await.unwrap().status(), StatusCode::CREATED);
    let received = server.received();
    let nonces = received.iter().map(|request| request.verify(NOW));
    assert_eq!(nonces.collect::<HashSet<_>>().len(), 3);
    assert_eq!(received[0].header("user-agent"), "shop/1");
}

#[tokio::test]
async fn middleware_follows_clock_redirects_and_pauses_as_the_client_does() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        2 => refusal("rate-limited", &[(header::RETRY_AFTER, "0")]),
        3 => redirect(StatusCode::FOUND, "/new"),
        _ => refusal("key-revoked", &[]),
    })
    .await;
    let response = own(&client(), Policy::none()).get(server.url("/old")).send().await.unwrap();
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!(refusal.code.as_str(), "key-revoked");
    let received = server.received();
    let server_time = countersign::Timestamp::from_unix(NOW.unix() - 480);
    received[3].verify(server_time);
    assert_eq!((received.len(), received[3].head.uri.path()), (4, "/new"));
}

#[tokio::test]
async fn middleware_verifies_responses() {
    let server = Server::start(|request, number| {
        let made = Made::new(StatusCode::CREATED, "{}");
        let made = if number == 1 { made.signed(request) } else { made };
        made.into_response()
    })
    .await;
    let own = own(&client().verify_responses(keys(SERVER)), Policy::none());
    assert_eq!(own.get(server.url("/")).send().await.unwrap().status(), StatusCode::CREATED);
    let unsigned = own.get(server.url("/")).send().await.unwrap_err();
    assert!(matches!(of_client(&unsigned), Error::Response { .. }), "{unsigned:?}");
}

#[tokio::test]
async fn what_middleware_cannot_sign_is_an_error_of_the_client() {
    let server = Server::start(|request, _| match request.head.uri.path() {
        "/old" => redirect(StatusCode::FOUND, "/new"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let follows = own(&client(), Policy::default());
    let error = follows.get(server.url("/old")).send().await.unwrap_err();
    assert!(matches!(of_client(&error), Error::FollowedRedirect), "{error:?}");
    let dots = follows.get(server.url("/a/%2e%2e%2fb")).send().await.unwrap_err();
    assert!(matches!(of_client(&dots), Error::Sign(_)), "{dots:?}");
    // As without the middleware, so that a retry policy knows it.
    let nobody = follows.get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert!(nobody.is_connect(), "{nobody:?}");
}

/// Answers in the place of a server, when all requests are there.
struct Together {
    all: Barrier,
    signatures: Mutex<HashSet<String>>,
}

#[async_trait::async_trait]
impl Middleware for Together {
    async fn handle(
        &self,
        request: Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let signature = request.headers()["signature"].to_str().unwrap();
        self.signatures.lock().unwrap().insert(signature.to_owned());
        self.all.wait().await;
        let response = axum::http::Response::builder().url(request.url().clone()).status(201);
        Ok(response.body("").unwrap().into())
    }
}

/// No request waits for another's response, and no two have a signature in common.
#[tokio::test]
async fn a_thousand_requests_at_a_time_are_signed_by_one_client() {
    const TOGETHER: usize = 1000;
    let together = Arc::new(Together { all: Barrier::new(TOGETHER), signatures: Mutex::default() });
    let own = ClientBuilder::new(reqwest::Client::new())
        .with(client().middleware())
        .with_arc(Arc::clone(&together) as Arc<dyn Middleware>)
        .build();
    let order = || own.post("https://api.example.com/v1/orders").body("text").send();
    let requests: Vec<_> = (0..TOGETHER).map(|_| tokio::spawn(order())).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::CREATED);
    }
    assert_eq!(together.signatures.lock().unwrap().len(), TOGETHER);
}

fn of_client(error: &reqwest_middleware::Error) -> &Error {
    let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error:?}") };
    error.downcast_ref().unwrap()
}
