use axum::{
    http::{StatusCode, header::HeaderName},
    response::IntoResponse,
};
use countersign::ACCEPT_SIGNATURE;

use crate::server::{NOW, Server, client, key, refusal};

const TENANT: HeaderName = HeaderName::from_static("x-tenant");

/// A server that wants this, until the tenant is covered.
async fn server_that_wants(code: &'static str, asked: String) -> Server {
    Server::start(move |request, _| {
        match request.header("signature-input").contains("\"x-tenant\"") {
            true => StatusCode::CREATED.into_response(),
            false => refusal(code, &[(ACCEPT_SIGNATURE, asked.as_str())]),
        }
    })
    .await
}

fn asked(more: &str) -> String {
    format!("sig=(\"@method\" \"x-tenant\");created;tag=\"countersign\"{more}")
}

#[tokio::test]
async fn what_a_server_wants_covered_is_covered_beside_all_else() {
    let ours = format!(";alg=\"ed25519\";keyid=\"{}\"", key().publishable_key());
    let another = "other=(\"x-other\");tag=\"other\"";
    let table = [
        ("signature-policy", asked("")),
        ("signature-required", asked("")),
        ("signature-policy", asked(&ours)),
        ("signature-policy", format!("{another}, {}", asked(""))),
    ];
    for (code, asked) in table {
        let server = server_that_wants(code, asked.clone()).await;
        let request = client().post(server.url("/v1/orders?a=b")).header(TENANT, "t1").body("text");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{code} {asked}");
        let received = server.received();
        assert_eq!(received.len(), 2);
        assert_ne!(received[0].verify(NOW), received[1].verify(NOW), "each with its own nonce");
        let covered = received[1].header("signature-input");
        let all = r#"("@method" "@authority" "@path" "@query" "content-digest" "x-tenant")"#;
        assert!(covered.contains(all), "{covered}");
    }
}

#[tokio::test]
async fn what_cannot_be_met_is_for_the_caller_to_see() {
    let table = [
        ("signature-invalid", asked("")),
        ("signature-policy", asked("").replace("countersign", "other")),
        ("signature-policy", asked("").replace(";tag=\"countersign\"", "")),
        ("signature-policy", asked(";nonce=\"CQkJCQkJCQkJCQkJCQkJCQ\"")),
        ("signature-policy", asked(";expires")),
        ("signature-policy", asked(";alg=\"hmac-sha256\"")),
        ("signature-policy", asked(";keyid=\"pk_other\"")),
        ("signature-policy", asked(";unknown")),
        ("signature-policy", asked("").replace("@method", "x-absent")),
        ("signature-policy", asked("").replace("\"@method\"", "\"@method\";req")),
        ("signature-policy", asked("").replace("x-tenant", "@path")),
        ("signature-policy", "\"".to_owned()),
        ("signature-policy", String::new()),
    ];
    for (code, asked) in table {
        let server = server_that_wants(code, asked.clone()).await;
        let response = client().get(server.url("/")).header(TENANT, "t1").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{asked}");
        assert_eq!(server.received().len(), 1, "{code} {asked}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_content_is_asked_twice_and_no_more() {
    let asked = asked("");
    let server = Server::start(move |_, _| {
        refusal("signature-policy", &[(ACCEPT_SIGNATURE, asked.as_str())])
    })
    .await;
    let response = client().get(server.url("/")).header(TENANT, "t1").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.received().len(), 2);
}
