use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use countersign_client::{Error, blocking::Client};

use crate::server::{NOW, Server, client, refusal};

/// Calls from a thread without a runtime, as its users do.
async fn from_a_thread<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(call()).is_ok());
    ended.await.unwrap()
}

#[tokio::test]
async fn a_blocking_client_signs_waits_and_reads() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        2 => refusal("rate-limited", &[(header::RETRY_AFTER, "0")]),
        3 => (StatusCode::CREATED, r#"{"id":7}"#).into_response(),
        4 => StatusCode::IM_A_TEAPOT.into_response(),
        _ => refusal("key-revoked", &[]),
    })
    .await;
    let url = server.url("/v1/orders");
    from_a_thread(move || {
        let client = Client::from_async(client()).unwrap();
        let order = client.post(&url).json(&serde_json::json!({ "item": "book" }));
        let response = order.send().unwrap().check().unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let json: serde_json::Value = response.json().unwrap();
        assert_eq!(json["id"], 7);
        let teapot = client.get(&url).send().unwrap().check().unwrap_err();
        assert!(matches!(teapot, Error::Http(_)), "{teapot:?}");
        match client.get(&url).send().unwrap().check().unwrap_err() {
            Error::Refused(refusal) => assert_eq!(refusal.code.as_str(), "key-revoked"),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let server_time = countersign::Timestamp::from_unix(NOW.unix() - 480);
    server.received()[2].verify(server_time);
}

#[tokio::test]
async fn a_blocking_client_blocks_no_runtime() {
    let client = Client::from_async(client()).unwrap();
    let error = client.get("http://127.0.0.1:1/").send().unwrap_err();
    assert!(matches!(error, Error::BlockingInAsync), "{error:?}");
    // Dropped here, in a task, it waits for nothing.
    drop(client);
}
