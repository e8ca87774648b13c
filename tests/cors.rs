//! Browsers: preflights are answered without a key and without anything happening, and pages read with a publishable key.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use countersign_server::cors;
use countersign_store::Limits;
use harness::{Answer, Counted, Raw, Service, TestClock, exchange, key, router, verifier};
use tower_http::cors::AllowOrigin;

const PAGE: &str = "https://shop.example";

async fn start(origins: AllowOrigin) -> (Service, Arc<AtomicUsize>) {
    let (clock, handled) = (TestClock::default(), Arc::default());
    let (nonces, asked) = Counted::new(Service::nonces());
    let gate = countersign_store::Limited::new(nonces, Limits::default());
    let verifier = verifier(&clock, Service::keys(), gate);
    let app = router(Arc::clone(&handled)).layer(verifier.layer()).layer(cors(origins));
    (Service::serve(clock, app, handled).await, asked)
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

fn preflight(target: &str, method: &str, headers: &str) -> Raw {
    Raw::read()
        .method("OPTIONS")
        .target(target)
        .add("Origin", PAGE)
        .add("Access-Control-Request-Method", method)
        .add("Access-Control-Request-Headers", headers)
}

fn lists(answer: &Answer, name: &str, wanted: &[&str]) {
    let listed = answer.get(name).unwrap().to_ascii_lowercase();
    let listed: Vec<_> = listed.split(',').map(str::trim).collect();
    for name in wanted {
        assert!(listed.contains(name), "{name} in {listed:?}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_key_and_nothing_happens() {
    let (service, asked) = start(AllowOrigin::any()).await;
    for (target, method) in [
        ("/v1/orders", "GET"),
        ("/v1/orders", "POST"),
        ("/v1/secret", "DELETE"),
        ("/nowhere", "PUT"),
    ] {
        let wanted = "x-api-key, content-type, content-digest, signature, signature-input";
        let answer = send(&service, &preflight(target, method, wanted)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.get("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.get("access-control-allow-credentials"), None);
        lists(&answer, "access-control-allow-methods", &["get", "post", "delete"]);
        lists(
            &answer,
            "access-control-allow-headers",
            &["x-api-key", "signature", "authorization"],
        );
    }
    // `OPTIONS` that is no preflight ends there as well, signed or not.
    let plain = Raw::read().method("OPTIONS").target("/v1/plain");
    for request in [plain.clone(), plain.signed()] {
        assert_eq!(send(&service, &request).await.body, "");
    }
    assert_eq!((service.handled(), asked.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_page_reads_with_a_publishable_key_and_learns_why_it_is_refused() {
    let (service, _) = start(AllowOrigin::list([PAGE.parse().unwrap()])).await;
    let read = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    let answer = send(&service, &read.clone().add("Origin", PAGE)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.get("access-control-allow-origin"), Some(PAGE));
    lists(&answer, "access-control-expose-headers", &["x-request-id", "retry-after", "ratelimit"]);
    let answer = send(&service, &Raw::order().add("Origin", PAGE)).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
    assert_eq!(answer.get("access-control-allow-origin"), Some(PAGE));
    // Another page's script does not get to read the answer.
    let answer = send(&service, &read.add("Origin", "https://other.example")).await;
    assert_eq!(answer.get("access-control-allow-origin"), None);
}
