use std::time::Duration;
#[cfg(all(unix, feature = "key-files"))]
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use axum::{
    http::{Method, StatusCode, header},
    response::IntoResponse,
};
#[cfg(all(unix, feature = "key-files"))]
use countersign::PrivateKey;
use countersign::{ACCEPT_SIGNATURE, ContentDigest, REFUSAL, Timestamp};
#[cfg(all(unix, feature = "key-files"))]
use countersign_client::{Client, OwnKey};
use countersign_client::{ClockDrift, Refusal, reqwest};

#[cfg(all(unix, feature = "key-files"))]
use crate::server::key;
use crate::{
    forgeries::WISH,
    server::{NOW, Server, client, refusal},
    signed_responses::{Made, SERVER, keys},
};

/// A server that refuses the first so many requests, each with these fields.
async fn that_refuses(
    times: usize,
    code: &'static str,
    fields: &'static [(header::HeaderName, &'static str)],
) -> Server {
    Server::start(move |_, number| match number <= times {
        true => refusal(code, fields),
        false => StatusCode::CREATED.into_response(),
    })
    .await
}

const AT_ONCE: &[(header::HeaderName, &str)] = &[(header::RETRY_AFTER, "0")];
const LATER: &[(header::HeaderName, &str)] = &[(header::RETRY_AFTER, "31")];

#[tokio::test]
async fn a_request_that_was_not_carried_out_waits_and_is_signed_anew() {
    let passing = [
        "signature-stale",
        "rate-limited",
        "overloaded",
        "replay-store-unavailable",
        "registry-unavailable",
        "token-keys-unavailable",
    ];
    for code in passing {
        let server = that_refuses(2, code, AT_ONCE).await;
        let order = client().post(server.url("/v1/orders")).body("text");
        assert_eq!(order.send().await.unwrap().status(), StatusCode::CREATED, "{code}");
        let received = server.received();
        let nonces = received.iter().map(|request| request.verify(NOW));
        assert_eq!(nonces.collect::<std::collections::HashSet<_>>().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn what_waiting_does_not_help_is_returned_at_once() {
    let cases = [
        ("rate-limited", LATER),
        ("rate-limited", &[]),
        ("signature-replayed", AT_ONCE),
        ("signature-invalid", AT_ONCE),
        ("digest-mismatch", AT_ONCE),
        ("misconfigured", AT_ONCE),
        ("request-timeout", AT_ONCE),
    ];
    for (code, fields) in cases {
        let server = that_refuses(9, code, fields).await;
        let order = client().post(server.url("/v1/orders")).body("text");
        assert_eq!(order.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{code}");
        assert_eq!(server.received().len(), 1, "{code}");
    }
    let of_a_service = Server::start(|_, _| {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")]).into_response()
    })
    .await;
    let order = client().post(of_a_service.url("/v1/orders")).body("text");
    assert_eq!(order.send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(of_a_service.received().len(), 1, "it may have been carried out");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_caller_allows() {
    let never = client().wait_up_to(Duration::ZERO);
    let server = that_refuses(9, "rate-limited", AT_ONCE).await;
    let response = never.get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!((refusal.retry_after, server.received().len()), (Some(Duration::ZERO), 1));
    let this_one = never.get(server.url("/")).wait_up_to(Duration::from_millis(60));
    this_one.send().await.unwrap();
    assert_eq!(server.received().len(), 3, "one pause of 25 to 50 ms, and no second");
}

#[tokio::test]
async fn whoever_answers_in_the_servers_place_makes_nobody_sign_again() {
    let server = that_refuses(9, "rate-limited", AT_ONCE).await;
    let far = server.far_client();
    far.post(server.far_url("/v1/orders")).body("text").send().await.unwrap();
    assert_eq!(server.received().len(), 1);
}

/// Somebody on the way can deliver a request twice, keep back the response to the first, and have the second refused.
#[tokio::test]
async fn a_verified_refusal_over_plain_http_makes_nobody_send_a_request_again() {
    for (far, sent) in [(true, 1), (false, 2)] {
        let server = Server::start(|request, number| {
            let made = match number {
                1 => Made::new(StatusCode::TOO_MANY_REQUESTS, "{}")
                    .set(REFUSAL, "rate-limited")
                    .set(header::RETRY_AFTER, "0"),
                _ => Made::new(StatusCode::CREATED, "{}"),
            };
            made.signed(request).into_response()
        })
        .await;
        let (client, url) = match far {
            true => (server.far_client(), server.far_url("/v1/orders")),
            false => (client(), server.url("/v1/orders")),
        };
        let client = client.verify_responses(keys(SERVER));
        client.post(url).body("text").send().await.unwrap();
        assert_eq!(server.received().len(), sent);
    }
}

/// Somebody on the way can deliver a write, keep the response back, and deliver the write again when the key has ended or when the
/// signature is too old.
#[cfg(all(unix, feature = "key-files"))]
#[tokio::test]
async fn a_verified_refusal_over_plain_http_makes_no_rotating_client_send_a_write_again() {
    let table = [
        (true, Method::POST, 1, StatusCode::UNAUTHORIZED),
        (true, Method::GET, 2, StatusCode::CREATED),
        (false, Method::POST, 2, StatusCode::CREATED),
    ];
    for (far, method, sent, status) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id.key");
        let keep = move |file: &Path, key: &PrivateKey| {
            fs::write(file, key.expose_pkcs8_pem().unwrap()).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        };
        keep(&file, &key());
        let replaced = file.clone();
        let server = Server::start(move |request, _| {
            let old = key().publishable_key().to_string();
            let made = match request.head.uri.path() {
                "/v1/orders" if request.header("signature-input").contains(&old) => {
                    keep(&replaced, &PrivateKey::ed25519(&[8; 32]));
                    Made::new(StatusCode::UNAUTHORIZED, "{}").set(REFUSAL, "key-revoked")
                }
                "/v1/orders" => Made::new(StatusCode::CREATED, "{}"),
                _ => Made::new(StatusCode::NOT_FOUND, "{}"),
            };
            made.signed(request).into_response()
        })
        .await;
        let (resolve, address) = (server.far_resolved(), server.url("/v1/key"));
        let own = OwnKey::new(&file, address).unwrap().client_with(move |key| {
            let http = reqwest::Client::builder().resolve(resolve.0, resolve.1);
            Client::new(key)?.clock(|| NOW).verify_responses(keys(SERVER)).http(http)
        });
        let client = Client::rotating(own).unwrap();
        let url = if far { server.far_url("/v1/orders") } else { server.url("/v1/orders") };
        let request = client.request(method.clone(), url);
        let request = if method == Method::POST { request.body("text") } else { request };
        assert_eq!(request.send().await.unwrap().status(), status, "{far} {method}");
        let received = server.received();
        let orders = received.iter().filter(|request| request.head.uri.path() == "/v1/orders");
        assert_eq!(orders.count(), sent, "{far} {method}");
    }
}

/// As above: the second delivery can be refused because of the clock, or because somebody added a field to it.
#[tokio::test]
async fn a_verified_refusal_over_plain_http_is_followed_for_later_writes_alone() {
    const BEHIND: Timestamp = Timestamp::from_unix(NOW.unix() - 480);
    for (code, method, sent) in [
        ("signature-stale", Method::POST, 1),
        ("signature-stale", Method::GET, 2),
        ("signature-policy", Method::POST, 1),
        ("signature-policy", Method::GET, 2),
    ] {
        let server = Server::start(move |request, number| {
            let made = match number {
                1 => Made::new(StatusCode::UNAUTHORIZED, "{}")
                    .set(REFUSAL, code)
                    .set(ACCEPT_SIGNATURE, WISH),
                _ => Made::new(StatusCode::CREATED, "{}"),
            };
            made.signed_at(request, BEHIND).into_response()
        })
        .await;
        let client = server.far_client().verify_responses(keys(SERVER));
        let send = async || {
            let request = client.request(method.clone(), server.far_url("/v1/orders"));
            let request = request.header("x-tenant", "t1");
            let request = if method == Method::POST { request.body("text") } else { request };
            request.send().await.unwrap();
        };
        send().await;
        assert_eq!(server.received().len(), sent, "{code} {method}");
        send().await;
        let received = server.received();
        assert_eq!(received.len(), sent + 1, "{code} {method}");
        let time = if code == "signature-stale" { BEHIND } else { NOW };
        received[sent].verify(time);
    }
}

#[tokio::test]
async fn a_stream_is_sent_once() {
    let server = that_refuses(9, "rate-limited", AT_ONCE).await;
    let stream = reqwest::Body::wrap(http_body_util::Full::new(bytes::Bytes::from("text")));
    let order = client().post(server.url("/v1/orders"));
    let order = order.stream(stream, &ContentDigest::sha256(b"text"));
    assert_eq!(order.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.received().len(), 1);
    server.received()[0].verify(NOW);
}

#[tokio::test]
async fn a_clock_that_cannot_be_followed_is_told_with_how_far_it_is_off() {
    let hours = [
        ("Sun, 23 Nov 2025 10:13:20 GMT", ClockDrift::Ahead(Duration::from_secs(7200)), "ahead"),
        ("Sun, 23 Nov 2025 14:13:20 GMT", ClockDrift::Behind(Duration::from_secs(7200)), "behind"),
        // Ten minutes are followed. The server refuses all the same.
        ("Sun, 23 Nov 2025 12:03:20 GMT", ClockDrift::Ahead(Duration::from_secs(600)), "ahead"),
    ];
    for (date, drift, said) in hours {
        let server =
            Server::start(move |_, _| refusal("signature-stale", &[(header::DATE, date)])).await;
        let response = client().get(server.url("/")).send().await.unwrap();
        let refusal = Refusal::check(response).await.unwrap_err();
        assert_eq!(refusal.clock_drift, Some(drift));
        let told = refusal.to_string();
        assert!(told.contains(&format!("s {said} ")), "{told}");
        assert!(server.received().len() <= 2);
    }
    let waits = that_refuses(9, "signature-stale", LATER).await;
    let response = client().get(waits.url("/")).send().await.unwrap();
    assert_eq!(Refusal::check(response).await.unwrap_err().clock_drift, None);
}
