use axum::{http::StatusCode, response::IntoResponse};
use countersign_client::Refusal;

use crate::server::{Server, client, refusal};

#[tokio::test]
async fn a_refusal_is_told_with_its_hint_and_other_answers_stay_whole() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-replayed", &[]),
        _ => (StatusCode::UNAUTHORIZED, "not ours").into_response(),
    })
    .await;
    let client = client();
    let send = async || client.get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(send().await).await.unwrap_err();
    assert_eq!(refusal.code.as_str(), "signature-replayed");
    let texts = (refusal.detail.as_str(), refusal.hint.as_str(), refusal.request_id.as_str());
    assert_eq!(texts, ("why", "what to do", "r1"));
    assert_eq!(refusal.to_string(), "signature-replayed: why; what to do");
    let response = Refusal::check(send().await).await.unwrap();
    assert_eq!(response.url().path(), "/");
    assert_eq!(response.text().await.unwrap(), "not ours");
}
