//! What somebody who answers in the place of the server can have a client sign: over plain HTTP, to a host that is not this
//! machine.

use axum::{
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign::{ACCEPT_SIGNATURE, REFUSAL, Timestamp};
use countersign_client::Client;

use crate::{
    server::{NOW, Received, Server, redirect, refusal},
    signed_responses::{Made, SERVER, keys},
};

/// Fourteen minutes ahead of the client, which is less than a clock is followed.
const AHEAD: &str = "Sun, 23 Nov 2025 12:27:20 GMT";
const AHEAD_SECONDS: u64 = 14 * 60;
pub(crate) const WISH: &str = "sig=(\"@method\" \"x-tenant\");created;tag=\"countersign\"";

fn created(request: &Received) -> u64 {
    let input = request.header("signature-input");
    let (_, behind) = input.split_once(";created=").unwrap();
    behind.split(';').next().unwrap().parse().unwrap()
}

async fn send(client: &Client, method: Method, url: &str) -> StatusCode {
    let request = client.request(method.clone(), url).header("x-tenant", "t1");
    let request = if method == Method::POST { request.body("text") } else { request };
    request.send().await.unwrap().status()
}

type Forged = (&'static str, fn() -> Response);

/// Each answer by which a forger wants more signed.
fn forged() -> [Forged; 8] {
    [
        ("301", || redirect(StatusCode::MOVED_PERMANENTLY, "/admin")),
        ("302", || redirect(StatusCode::FOUND, "/admin")),
        ("303", || redirect(StatusCode::SEE_OTHER, "/admin")),
        ("307", || redirect(StatusCode::TEMPORARY_REDIRECT, "/admin")),
        ("308", || redirect(StatusCode::PERMANENT_REDIRECT, "/admin")),
        ("a time ahead", || refusal("signature-stale", &[(header::DATE, AHEAD)])),
        ("a wish", || refusal("signature-policy", &[(ACCEPT_SIGNATURE, WISH)])),
        ("a wish for a first signature", || {
            refusal("signature-required", &[(ACCEPT_SIGNATURE, WISH)])
        }),
    ]
}

#[tokio::test]
async fn a_forged_answer_makes_the_client_sign_nothing_more() {
    for (name, answer) in forged() {
        let server = Server::start(move |_, _| answer()).await;
        let client = server.far_client().insecure_follow_redirected_writes();
        for (sent, method) in [Method::GET, Method::HEAD, Method::POST].into_iter().enumerate() {
            let status = send(&client, method.clone(), &server.far_url("/v1/orders")).await;
            assert_eq!(status, answer().status(), "{name}: {method}");
            let received = server.received();
            assert_eq!(received.len(), sent + 1, "{name}: {method}");
            for request in received {
                assert_eq!(request.head.uri.path(), "/v1/orders", "{name}");
                request.verify(NOW);
            }
        }
    }
}

#[tokio::test]
async fn no_forged_time_makes_a_signature_that_is_good_later_than_one_made_now() {
    let server = Server::start(|_, _| refusal("signature-stale", &[(header::DATE, AHEAD)])).await;
    let client = server.far_client();
    for method in [Method::POST, Method::GET, Method::POST] {
        send(&client, method, &server.far_url("/v1/orders")).await;
    }
    let signed = client.get(server.far_url("/v1/orders")).sign().unwrap();
    let input = signed.headers()["signature-input"].to_str().unwrap();
    assert!(input.contains(&format!(";created={NOW};")), "{input}");
    for request in server.received() {
        assert_eq!(created(&request), NOW.unix());
    }
}

#[tokio::test]
async fn over_a_network_that_is_trusted_answers_are_heeded() {
    for (name, answer) in forged() {
        let server = Server::start(move |_, number| match number {
            1 => answer(),
            _ => StatusCode::CREATED.into_response(),
        })
        .await;
        let client = server.far_client().insecure_trust_plain_http();
        assert_eq!(
            send(&client, Method::GET, &server.far_url("/v1/orders")).await,
            StatusCode::CREATED,
            "{name}"
        );
        assert_eq!(server.received().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn over_any_network_answers_that_are_verified_are_heeded() {
    let ahead = Timestamp::from_unix(NOW.unix() + AHEAD_SECONDS);
    let server = Server::start(move |request, number| {
        let refused = |code: &str| {
            let content = format!(r#"{{"code":"{code}"}}"#);
            Made::new(StatusCode::UNAUTHORIZED, &content)
                .set(header::CONTENT_TYPE, "application/problem+json")
                .set(REFUSAL, code)
        };
        let made = match number {
            1 => refused("signature-stale"),
            2 => refused("signature-policy").set(ACCEPT_SIGNATURE, WISH),
            3 => Made::new(StatusCode::FOUND, "").set(header::LOCATION, "/new"),
            _ => Made::new(StatusCode::OK, ""),
        };
        made.signed_at(request, ahead).into_response()
    })
    .await;
    let client = server.far_client().verify_responses(keys(SERVER));
    assert_eq!(send(&client, Method::GET, &server.far_url("/old")).await, StatusCode::OK);
    let received = server.received();
    assert_eq!(received.len(), 4);
    assert_eq!(created(&received[0]), NOW.unix());
    for request in &received[1..] {
        request.verify(ahead);
    }
    assert!(received[2].header("signature-input").contains("\"x-tenant\""));
    assert_eq!(received[3].head.uri.path(), "/new");
}

/// Whoever is asked for less, under another label or tag, signs what it always does, or nothing more.
#[tokio::test]
async fn no_wish_takes_anything_out_of_a_signature() {
    let wishes = [
        "other=(\"x-tenant\");tag=\"countersign\"",
        "sig=(\"x-tenant\");tag=\"countersign\"",
        "sig=(\"x-tenant\" \"@method\");created;tag=\"countersign\", more=();tag=\"countersign\"",
    ];
    for wish in wishes {
        let server = Server::start(move |_, number| match number {
            1 => refusal("signature-policy", &[(ACCEPT_SIGNATURE, wish)]),
            _ => StatusCode::CREATED.into_response(),
        })
        .await;
        let client = server.far_client().insecure_trust_plain_http();
        send(&client, Method::POST, &server.far_url("/v1/orders?a=b")).await;
        let received = server.received();
        assert_eq!(received.len(), 2, "{wish}");
        received[1].verify(NOW);
        let input = received[1].header("signature-input");
        let all =
            r#"sig=("@method" "@authority" "@path" "@query" "content-digest" "x-tenant");created="#;
        assert!(input.starts_with(all) && input.ends_with(";tag=\"countersign\""), "{input}");
        assert_eq!(received[1].head.headers.get_all("signature").iter().count(), 1);
        let names = |request: &Received| {
            let mut names: Vec<_> = request.head.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(&received[0]), names(&received[1]), "{wish}");
    }
}
