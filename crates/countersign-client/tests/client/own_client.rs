//! A client of the application's own, and senders that only take what was signed.

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use countersign::ResponseRejection;
use countersign_client::{
    Client, Error,
    http::Request,
    reqwest::{self, redirect::Policy},
};

use crate::{
    server::{NOW, Server, client, redirect, refusal},
    signed_responses::{Made, SERVER, keys},
};

fn with_own() -> Client {
    let own = reqwest::Client::builder().redirect(Policy::none()).user_agent("shop/1").build();
    client().http_client(own.unwrap())
}

#[tokio::test]
async fn a_client_of_ones_own_follows_clock_and_redirects_and_covers_more() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        2 => redirect(StatusCode::FOUND, "/new"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let response = with_own().get(server.url("/old")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = server.received();
    assert_eq!(received.len(), 3);
    let server_time = countersign::Timestamp::from_unix(NOW.unix() - 480);
    received[2].verify(server_time);
    assert_eq!(received[2].head.uri.path(), "/new");
    assert_eq!(received[2].header("user-agent"), "shop/1");
}

#[tokio::test]
async fn a_client_of_ones_own_verifies_answers() {
    let server = Server::start(|request, number| {
        let made = Made::new(StatusCode::CREATED, "{}");
        let made = if number == 1 { made.signed(request) } else { made };
        made.into_response()
    })
    .await;
    let client = with_own().verify_responses(keys(SERVER));
    assert_eq!(client.get(server.url("/")).send().await.unwrap().status(), StatusCode::CREATED);
    let unsigned = client.get(server.url("/")).send().await;
    assert!(
        matches!(unsigned, Err(Error::Response { reason: ResponseRejection::Unsigned, .. })),
        "{unsigned:?}"
    );
}

#[tokio::test]
async fn a_redirect_that_the_given_client_followed_is_an_error() {
    let server = Server::start(|request, _| match request.head.uri.path() {
        "/old" => redirect(StatusCode::TEMPORARY_REDIRECT, "/new"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let follows = client().http_client(reqwest::Client::new());
    let error = follows.post(server.url("/old")).body("text").send().await.unwrap_err();
    assert!(matches!(error, Error::FollowedRedirect), "{error:?}");
    let there = follows.post(server.url("/new#part")).body("text").send().await.unwrap();
    assert_eq!(there.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_of_reqwest_and_of_http_are_signed_in_one_line() {
    let server = Server::that_accepts().await;
    let sender = reqwest::Client::new();
    let url = server.url("/v1/orders?a=b");
    let request = sender.post(&url).body("text").build().unwrap();
    sender.execute(client().sign(request).unwrap()).await.unwrap();
    let host = url.split('/').nth(2).unwrap();
    for named in [None, Some(host)] {
        let mut request = Request::post(&url).header("content-type", "text/plain");
        if let Some(host) = named {
            request = request.header("host", host);
        }
        let request = client().sign_http(request.body("text").unwrap()).unwrap();
        let request = reqwest::Request::try_from(request).unwrap();
        sender.execute(request).await.unwrap();
    }
    let received = server.received();
    let nonces = received.iter().map(|request| request.verify(NOW));
    assert_eq!(nonces.collect::<std::collections::HashSet<_>>().len(), 3);
    assert!(received[2].header("signature-input").contains("\"content-type\""));
}

#[test]
fn what_names_no_origin_or_two_is_not_signed() {
    let sign = |request: http::request::Builder| client().sign_http(request.body("").unwrap());
    let get = |uri: &str| Request::get(uri);
    let table = [
        (get("/v1/orders"), "origin"),
        (get("ftp://api.example.com/"), "origin"),
        (get("https://user@api.example.com/"), "origin"),
        (get("https://api.example.com/").header("host", "other.example.com"), "Host"),
        (get("https://api.example.com/").header("content-length", "0"), "content-length"),
        (get("https://api.example.com/a//b"), "signed"),
    ];
    for (request, said) in table {
        let printed = format!("{request:?}");
        let error = sign(request).unwrap_err();
        assert!(error.to_string().contains(said), "{printed}: {error}");
    }
    let default_port = get("https://api.example.com/").header("host", "API.example.com:443");
    assert!(sign(default_port).is_ok());
}
