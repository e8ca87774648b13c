use std::io;

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use countersign_client::Refusal;

use crate::server::{Pieces, Server, client, refusal};

#[tokio::test]
async fn a_refusal_is_recognised_however_it_is_sent() {
    let types = [
        "application/problem+json",
        "Application/Problem+JSON",
        "application/problem+json; charset=utf-8",
    ];
    for content_type in types {
        for pieces in [false, true] {
            let server = Server::start(move |_, _| {
                let mut refusal = refusal("signature-invalid", &[]);
                let headers = refusal.headers_mut();
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
                if pieces {
                    let text = r#"{"code":"signature-invalid","detail":"why"}"#;
                    *refusal.body_mut() = Pieces::of(text, None);
                }
                refusal
            })
            .await;
            let response = client().get(server.url("/")).send().await.unwrap();
            let refusal = Refusal::check(response).await.unwrap_err();
            assert_eq!(refusal.code.as_str(), "signature-invalid", "{content_type} {pieces}");
        }
    }
}

#[tokio::test]
async fn what_is_no_refusal_is_given_back_whole() {
    let long = format!("{{\"code\":\"signature-invalid\",\"detail\":\"{}\"}}", "x".repeat(100_000));
    let texts = ["", "[]", "null", r#"{"code":"unheard-of"}"#, r#"{"code":5}"#, &long];
    let answers = texts.map(str::to_owned);
    let answer = move |number: usize| answers[(number - 1) / 2].clone();
    let server = Server::start(move |_, number| {
        let mut response = refusal("signature-invalid", &[]);
        *response.body_mut() = match number % 2 {
            0 => answer(number).into(),
            _ => Pieces::of(&answer(number), None),
        };
        response
    })
    .await;
    for text in texts.iter().flat_map(|text| [text, text]) {
        let response = client().get(server.url("/a")).send().await.unwrap();
        let response = Refusal::check(response).await.unwrap();
        assert_eq!(response.url().path(), "/a");
        assert_eq!(response.text().await.unwrap(), **text);
    }
}

#[tokio::test]
async fn an_answer_that_succeeded_is_no_refusal_whatever_it_says() {
    let server = Server::start(|_, _| {
        let mut answer = refusal("signature-invalid", &[]);
        *answer.status_mut() = StatusCode::OK;
        answer
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    let response = Refusal::check(response).await.unwrap();
    assert!(response.text().await.unwrap().contains("signature-invalid"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let server = Server::start(|_, _| {
        let mut refusal = refusal("signature-invalid", &[]);
        let text = r#"{"code":"signature-invalid"}"#;
        *refusal.body_mut() = Pieces::of(text, Some(io::ErrorKind::BrokenPipe.into()));
        refusal
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = Refusal::check(response).await.unwrap();
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_refusal_is_told_without_what_steers_a_terminal() {
    let server = Server::start(|_, _| {
        let mut refusal = refusal("signature-invalid", &[]);
        let text =
            r#"{"code":"signature-invalid","detail":"\u001b[31mred\u0007\nerror","hint":"h\r"}"#;
        *refusal.body_mut() = text.into();
        refusal
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!(refusal.to_string(), "signature-invalid: [31mrederror; h");
}

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
