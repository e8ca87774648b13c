//! What a refusal says beside its code: the signature base for those who are let in on it, and what an operator adds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use axum::body::Bytes;
use countersign::{Content, Policy, RefusedRequest, Unverified};
use harness::{Answer, NOW, PARAMS, Raw, Service, exchange, key};
use http::HeaderValue;
use serde_json::Value;

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

fn signature_base(answer: &Answer) -> Option<String> {
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    Some(problem.get("signature_base")?.as_str()?.to_owned())
}

#[tokio::test]
async fn a_signature_that_does_not_hold_comes_back_with_the_base_that_was_rebuilt_where_that_is_set()
 {
    let silent = Service::start().await;
    let telling = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.insecure_explain()
    })
    .await;
    let moved = Raw::order().signed().target("/v1/orders?expand=all");
    for request in
        [moved.clone(), Raw::order().forged(&key(1)), Raw::order().signed_by(key(9), harness::NOW)]
    {
        let answer = send(&silent, &request).await;
        assert_eq!((answer.code().as_str(), signature_base(&answer)), ("signature-invalid", None));
        let answer = send(&telling, &request).await;
        assert_eq!(answer.code(), "signature-invalid");
        let base = signature_base(&answer).unwrap();
        assert!(base.starts_with("\"@method\": POST\n\"@authority\": api.example.com\n"), "{base}");
    }
    let base = signature_base(&send(&telling, &moved).await).unwrap();
    assert!(base.contains("\n\"@query\": ?expand=all\n"), "{base}");
    // What is refused for another reason shows nothing of it.
    for request in [
        Raw::order(),
        Raw::order().signed_by(key(2), harness::NOW),
        Raw::order().signed().body(b"changed"),
    ] {
        let answer = send(&telling, &request).await;
        assert!(answer.status >= 400);
        assert_eq!(signature_base(&answer), None, "{answer:?}");
    }
}

/// Servers that use the core alone refuse as this one does.
#[tokio::test]
async fn the_core_answers_a_rejection_as_the_server_does() {
    let service = Service::start().await;
    let table = [
        Raw::order().signed_as("()"),
        Raw::order().signed().without("Signature-Input"),
        Raw::order().signed().add("If-Match", "*"),
        Raw::order().signed().without("Content-Digest"),
        Raw::order().signed().change("Signature-Input", |own| own.replace("ed25519", "EdDSA")),
        Raw::order().signed_by(key(1), NOW.minus(Duration::from_secs(3600))),
        Raw::order().add("Content-Digest", "md5=:AAAA:").signed_as(&format!(
            "({}){PARAMS}",
            r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#
        )),
    ];
    for request in table {
        let answer = send(&service, &request).await;
        let policy = Policy::default();
        let response = request.with_head(|head, _| {
            let parsed = Unverified::parse(*head, Content::Present, &policy, NOW);
            parsed.unwrap_err().to_response(&RefusedRequest {
                method: head.method,
                headers: head.headers,
                content: Content::Present,
                policy: &policy,
                now: NOW,
                request_id: answer.get("x-request-id").unwrap(),
            })
        });
        assert_eq!(response.status().as_u16(), answer.status, "{answer:?}");
        let [theirs, ours]: [Value; 2] = [answer.body.as_bytes(), response.body()]
            .map(|problem| serde_json::from_slice(problem).unwrap());
        assert_eq!(ours, theirs);
        for (name, value) in response.headers() {
            assert_eq!(answer.get(name.as_str()), value.to_str().ok(), "{answer:?}");
        }
        let framing = ["content-length", "connection", "date"];
        for (name, _) in answer.headers.iter().filter(|(name, _)| !framing.contains(&&**name)) {
            assert!(response.headers().contains_key(name), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_operator_changes_what_a_refusal_says_and_not_that_it_is_one() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.on_refusal(|mut refusal| {
            let text = format!("{} {}", refusal.status().as_u16(), refusal.code());
            refusal.headers.insert("x-region", HeaderValue::from_static("north"));
            refusal.headers.remove("cache-control");
            refusal.headers.remove("connection");
            refusal.content = Bytes::from(text);
            refusal
        })
    })
    .await;
    let before = service.handled();
    // Of the layer, and of an extractor inside.
    for (request, expected) in [
        (Raw::order(), "401 signature-required"),
        (
            Raw::read().target("/v1/secret").add("X-Api-Key", key(1).publishable_key().to_string()),
            "401 signature-required",
        ),
    ] {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, expected));
        assert_eq!(answer.get("x-region"), Some("north"));
        assert_eq!(answer.get("cache-control"), Some("no-store"));
        assert!(answer.get("accept-signature").is_some());
    }
    assert_eq!(send(&service, &Raw::order()).await.get("connection"), Some("close"));
    assert_eq!(service.handled(), before);
}
