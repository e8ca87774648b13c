//! The server makes the checks of a signed request in the order of [`Check::ALL`]: of several things that are wrong, the response
//! names the first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::num::NonZeroU32;

use axum::{Json, handler::Handler};
use countersign::Check;
use countersign_server::{RequireBearer, Route, Routes, Signed, TokenKeys};
use countersign_store::{ClientNetwork, Limited, Limits, MemoryBudget, MemoryNonces, Quota, Scope};
use harness::{
    Answer, ISSUER, IssuerKey, PARAMS, Raw, Service, TestClock, exchange, key, verifier,
};
use http::Method;
use serde_json::{Value, json};

const COVERED: &str =
    r#"("@method" "@authority" "@path" "@query" "content-digest" "content-type")"#;

/// The address whose requests have failed too often.
const FAILED: &str = "192.0.2.1";

fn per_minute(amount: u32) -> [Quota; 1] {
    [Quota::per_minute(NonZeroU32::new(amount).unwrap())]
}

async fn add(Signed(_, Json(order)): Signed<Json<Value>>) -> String {
    order.to_string()
}

/// A service that makes every check, with a route that this credential may call without a token, one that asks for a token, and one
/// that asks for a scope and a token.
async fn service() -> Service {
    let clock = TestClock::default();
    let failures: Option<MemoryBudget<ClientNetwork>> =
        MemoryBudget::new("failures", per_minute(2));
    // What the three requests take that get as far as their nonce.
    let limits = Limits::default().signed(per_minute(3));
    let gate: Limited<MemoryNonces> =
        Limited::new(Service::nonces(), limits).clock(clock.monotonic());
    let keys = json!({ "keys": [IssuerKey::ed25519("2026-11", 77).jwk()] }).to_string();
    let required =
        RequireBearer::new(ISSUER, "https://api.example.com", TokenKeys::from_jwks(&keys).unwrap());
    let required = required.unwrap();
    let scoped =
        Route::signed(Method::POST, "/v1/scoped").scope(Scope::from_static("orders:write"));
    let routes = Routes::new()
        .route(Route::signed(Method::POST, "/v1/plain"), add)
        .route(Route::signed(Method::POST, "/v1/orders"), add.layer(required.clone()))
        .route(scoped, add.layer(required));
    let verifier = verifier(&clock, Service::keys(), gate)
        .failure_limit(failures.map(|budget| budget.clock(clock.monotonic())));
    Service::serve(clock, verifier.protect(routes).unwrap(), std::sync::Arc::default()).await
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

/// A request in which each of these checks finds something wrong. Its nonce is the one in [`PARAMS`].
fn wrong_in(checks: &[Check]) -> Raw {
    let is = |check| checks.contains(&check);
    let path = match (is(Check::Credential), is(Check::Token)) {
        (true, _) => "/v1/scoped",
        (false, true) => "/v1/orders",
        (false, false) => "/v1/plain",
    };
    let mut covered = COVERED.to_owned();
    if is(Check::Policy) {
        covered = covered.replace(r#" "content-type""#, "");
    }
    let fresh = format!("nonce=\"{}k", checks.len());
    let params = match is(Check::Replay) {
        true => PARAMS.to_owned(),
        false => PARAMS.replace("nonce=\"CQk", &fresh),
    };
    let mut request = Raw::order().target(path).signed_as(&(covered + &params));
    if is(Check::Signature) {
        request = request.set("Signature", format!("sig=:{}==:", "A".repeat(86)));
    }
    if is(Check::Form) {
        request = request.change("Signature-Input", |input| input.replace(";nonce", "; nonce"));
    }
    if is(Check::Content) {
        request = request.body(br#"{"item":"cook"}"#);
    }
    if is(Check::Target) {
        request = request.target(&format!("/{path}"));
    }
    // Each has an address of its own, where its failure counts.
    let other = format!("192.0.2.{}", checks.len().saturating_add(10));
    request.add("Test-From", if is(Check::Failures) { FAILED } else { &other })
}

/// Which check a refusal is from.
fn refused_by(answer: &Answer) -> Option<Check> {
    let budget = answer.get("ratelimit").unwrap_or_default();
    Some(match answer.code().as_str() {
        "bad-target" => Check::Target,
        "rate-limited" if budget.contains("failures") => Check::Failures,
        "signature-malformed" => Check::Form,
        "signature-policy" => Check::Policy,
        "signature-invalid" => Check::Signature,
        "key-forbidden" => Check::Credential,
        "rate-limited" if budget.contains("signed") => Check::Budget,
        "signature-replayed" => Check::Replay,
        "digest-mismatch" => Check::Content,
        "token-required" => Check::Token,
        _ => return None,
    })
}

#[tokio::test]
async fn of_several_faults_the_first_in_the_order_is_the_one_that_is_told() {
    let service = service().await;
    // The nonce is used, and the address of the others has failed as often as it may.
    let first = Raw::order().target("/v1/plain").signed_as(&format!("{COVERED}{PARAMS}"));
    assert_eq!(send(&service, &first).await.status, 200);
    for _ in 0..2 {
        let forged = Raw::order().forged(&key(1)).add("Test-From", FAILED);
        assert_eq!(send(&service, &forged).await.code(), "signature-invalid");
    }
    // The budget is used up by the requests that fail behind it.
    let budget = Check::ALL.iter().position(|&check| check == Check::Budget).unwrap();
    for at in (budget + 1..Check::ALL.len()).chain(0..=budget) {
        tell(&service, &Check::ALL[at..]).await;
    }
}

/// Sends a request with these faults, and compares the response with the first.
async fn tell(service: &Service, faults: &[Check]) {
    let answer = send(service, &wrong_in(faults)).await;
    let (first, _) = faults.split_first().unwrap();
    assert_eq!(refused_by(&answer), Some(*first), "{faults:?}: {answer:?}");
    assert!(first.statuses().contains(&answer.status), "{first}: {}", answer.status);
}
