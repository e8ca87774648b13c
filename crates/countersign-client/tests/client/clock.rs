use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign::Timestamp;

use crate::server::{NOW, Received, Server, client, refusal};

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once() {
    let date = "Sun, 23 Nov 2025 12:05:20 GMT";
    let server_time = Timestamp::from_unix(NOW.unix().saturating_sub(480));
    let server = Server::start(move |_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, date)]),
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let response = client.post(server.url("/v1/orders")).body("text").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let received = server.received();
    assert_eq!(received.len(), 3, "the second request knows the time");
    assert_ne!(received[0].verify(NOW), received[1].verify(server_time));
    received[2].verify(server_time);
}

/// How a server answers whose clock is eight minutes behind.
fn judge(request: &Received) -> Response {
    let behind = format!("created={}", NOW.unix().saturating_sub(480));
    match request.header("signature-input").contains(&behind) {
        true => StatusCode::CREATED.into_response(),
        false => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
    }
}

#[tokio::test]
async fn all_that_was_on_its_way_when_the_clock_was_corrected_is_signed_again() {
    const TOGETHER: usize = 8;
    let server = Server::that_waits_for(TOGETHER, |request, _| judge(request)).await;
    let client = client();
    let requests = [(); TOGETHER].map(|()| client.post(server.url("/")).body("text").send());
    for request in requests.map(tokio::spawn) {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::CREATED);
    }
    assert_eq!(server.received().len(), 2 * TOGETHER);
}

#[tokio::test]
async fn a_server_moves_the_clock_for_itself_alone() {
    let behind = Server::start(|request, _| judge(request)).await;
    let on_time = Server::that_accepts().await;
    let client = client();
    for server in [&behind, &on_time, &behind] {
        let response = client.get(server.url("/")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    on_time.received()[0].verify(NOW);
    assert_eq!(behind.received().len(), 3, "it is known from the first request on");
}

#[tokio::test]
async fn a_refusal_that_took_longer_than_the_clock_is_off_is_not_tried_again() {
    let eight_seconds_ahead = [
        (0, "Sun, 23 Nov 2025 12:13:28 GMT", 2),
        (7, "Sun, 23 Nov 2025 12:13:35 GMT", 2),
        (8, "Sun, 23 Nov 2025 12:13:36 GMT", 1),
        (60, "Sun, 23 Nov 2025 12:14:28 GMT", 1),
    ];
    for (took, date, sent) in eight_seconds_ahead {
        let now = Arc::new(AtomicU64::new(NOW.unix()));
        let time = Arc::clone(&now);
        let server = Server::start(move |_, number| match number {
            1 => {
                time.fetch_add(took, Ordering::SeqCst);
                refusal("signature-stale", &[(header::DATE, date)])
            }
            _ => StatusCode::CREATED.into_response(),
        })
        .await;
        let client = client().clock(move || Timestamp::from_unix(now.load(Ordering::SeqCst)));
        client.post(server.url("/v1/orders")).body("text").send().await.unwrap();
        assert_eq!(server.received().len(), sent, "after {took} s");
    }
}

#[tokio::test]
async fn other_refusals_are_not_tried_again() {
    let refusals: [fn() -> Response; 4] = [
        || refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 10:05:20 GMT")]),
        || {
            let date = (header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT");
            refusal("signature-stale", &[date, (header::RETRY_AFTER, "31")])
        },
        || refusal("signature-invalid", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        || StatusCode::UNAUTHORIZED.into_response(),
    ];
    for answer in refusals {
        let server = Server::start(move |_, _| answer()).await;
        let response = client().post(server.url("/")).body("text").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(server.received().len(), 1);
    }
}
