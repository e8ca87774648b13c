//! An existing API that moves to signatures: what passed before passes, and what would be refused is counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use axum::{Router, body::Bytes, body::to_bytes, handler::Handler as _, routing::post};
use countersign::PrivateKey;
use countersign_server::{Require, Route, Routes, Signed, SignedBy};
use countersign_store::{Scope, State};
use harness::{NOW, Raw, Service, TestClock, credential, key, verifier};
use http::{Method, Response, StatusCode};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::ServiceExt;

/// As of an API that has always answered everyone, and says what it got.
async fn echo(caller: Option<SignedBy>, content: Bytes) -> String {
    let caller =
        caller.map_or("nobody".into(), |SignedBy(caller)| caller.credential().label.to_string());
    format!("{caller}: {}", String::from_utf8_lossy(&content))
}

fn routes() -> Routes {
    Routes::new()
        .route(Route::signed(Method::POST, "/off").insecure_off(), echo)
        .route(Route::signed(Method::POST, "/observed").insecure_observe(), echo)
        .route(Route::signed(Method::POST, "/streamed").streamed(1 << 20).insecure_observe(), echo)
        .route(Route::signed(Method::POST, "/enforced"), echo)
        .route(
            Route::signed(Method::POST, "/strict").insecure_observe(),
            async |Signed(_, _): Signed<Bytes>| "ran",
        )
}

async fn body(response: Response<axum::body::Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn order(path: &str) -> Raw {
    Raw::order().target(path)
}

#[tokio::test]
async fn what_passed_before_passes_and_only_who_verifies_is_named() {
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = verifier.content_limit(1000).protect(routes()).unwrap();
    let content = r#"{"item":"book"}"#;
    let replayed = order("/observed").signed();
    let changed = |path: &str| order(path).signed().body(b"changed");
    let large = "a".repeat(2000);
    let unsigned_large = order("/observed").body(large.as_bytes()).signed();
    let cases = [
        ("unsigned", order("/observed"), format!("nobody: {content}")),
        ("signed", replayed.clone(), format!("key 1: {content}")),
        ("replayed", replayed, format!("nobody: {content}")),
        ("forged", order("/observed").forged(&key(1)), format!("nobody: {content}")),
        ("unknown", order("/observed").signed_by(key(9), NOW), format!("nobody: {content}")),
        ("changed", changed("/observed"), "nobody: changed".into()),
        ("too large", unsigned_large, format!("nobody: {large}")),
        (
            "malformed",
            order("/observed").signed().set("Signature-Input", "x"),
            format!("nobody: {content}"),
        ),
        ("off", order("/off").signed(), format!("nobody: {content}")),
        ("off, forged", order("/off").forged(&key(1)), format!("nobody: {content}")),
        ("streamed", order("/streamed").signed(), format!("nobody: {content}")),
        ("streamed, changed", changed("/streamed"), "nobody: changed".into()),
        ("enforced", order("/enforced").signed(), format!("key 1: {content}")),
    ];
    for (case, request, expected) in cases {
        let response = app.clone().oneshot(request.request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{case}");
        if case != "enforced" {
            assert!(!response.headers().contains_key("cache-control"), "{case}");
        }
        assert_eq!(body(response).await, expected, "{case}");
    }
    for (case, request, status) in [
        ("unsigned", order("/enforced"), 401),
        ("changed", changed("/enforced"), 400),
        // A handler that takes `Signed` cannot run unverified, whatever its route says.
        ("strict, unsigned", order("/strict"), 401),
        ("strict, changed", changed("/strict"), 401),
        ("strict, signed", order("/strict").signed(), 200),
    ] {
        let response = app.clone().oneshot(request.request()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{case}");
    }
}

#[test]
fn what_would_be_refused_is_counted_by_outcome_and_by_nothing_that_strangers_choose() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = TestClock::default();
            let app = verifier(&clock, Service::keys(), Service::nonces());
            let app = app.protect(routes()).unwrap();
            let mut requests = vec![
                order("/observed"),
                order("/observed").signed(),
                order("/observed").forged(&key(1)),
                order("/enforced"),
                order("/enforced").signed(),
                order("/off"),
            ];
            for number in 0..100_u8 {
                let stranger = PrivateKey::ed25519(&[number; 32]);
                if number != 1 && number != 5 {
                    let path = format!("/observed/{number}");
                    requests.push(order(&path).signed_by(stranger, NOW));
                }
            }
            for request in requests {
                drop(app.clone().oneshot(request.request()).await.unwrap());
            }
        });
    });
    let mut counts = BTreeMap::new();
    let mut measured = 0;
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
        match (key.key().name(), value) {
            ("countersign_requests_total", DebugValue::Counter(count)) => {
                counts.insert(labels.join(" "), count);
            }
            ("countersign_verification_seconds", DebugValue::Histogram(values)) => {
                measured += values.len();
            }
            _ => {}
        }
    }
    let expected = [
        ("signature-invalid enforce other", 94),
        ("key-revoked enforce other", 1),
        ("key-expired enforce other", 1),
        ("key-quarantined enforce other", 1),
        ("signature-invalid observe POST /observed", 1),
        ("signature-required observe POST /observed", 1),
        ("signature-required enforce POST /enforced", 1),
        ("signed enforce POST /enforced", 1),
        ("signed observe POST /observed", 1),
        ("unchecked off POST /off", 1),
    ];
    // Of the hundred strangers' keys two are left out, and three belong to others of the service.
    let expected = expected.map(|(labels, count)| (labels.to_owned(), count));
    let strangers: u64 =
        counts.iter().filter(|(labels, _)| labels.ends_with("other")).map(|(_, n)| n).sum();
    assert_eq!(strangers, 98);
    assert_eq!(
        counts.keys().collect::<Vec<_>>(),
        BTreeMap::from(expected).keys().collect::<Vec<_>>()
    );
    assert_eq!(measured, 104);
}

#[test]
fn a_private_key_that_is_sent_is_counted_wherever_anyone_looks() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let app = verifier(&TestClock::default(), Service::keys(), Service::nonces());
            let app = app.protect(routes()).unwrap();
            for path in ["/off", "/observed", "/enforced"] {
                let request = order(path).add("X-Api-Key", key(1).expose_text().as_str());
                drop(app.clone().oneshot(request.request()).await.unwrap());
            }
        });
    });
    let counted: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.key().name() == "countersign_private_keys_sent_total")
        .map(|(_, _, _, value)| value)
        .collect();
    assert_eq!(counted, [DebugValue::Counter(2)]);
}

#[test]
fn what_an_inner_layer_would_refuse_passes_where_it_is_observed_and_is_counted_once() {
    const WRITE: Scope = Scope::from_static("orders:write");
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let keys = Service::keys();
            let mut writer = credential(7, &key(7), State::Active);
            writer.scopes.insert(WRITE);
            keys.insert(writer).unwrap();
            let declared = |path: &str| Route::signed(Method::POST, path);
            let writes = || echo.layer(Require::signed().scope(WRITE));
            let routes = Routes::new()
                .route(declared("/off").insecure_off(), writes())
                .route(declared("/observed").insecure_observe(), writes())
                .route(declared("/streamed").streamed(1 << 20).insecure_observe(), writes())
                .route(Route::insecure_open(Method::POST, "/open").insecure_observe(), writes())
                .route(declared("/enforced"), writes())
                .undeclared(Router::new().route("/other", post(writes())));
            let app = verifier(&TestClock::default(), keys, Service::nonces());
            let app = app.protect(routes).unwrap();
            let by_writer = |path: &str| order(path).signed_by(key(7), NOW);
            for (request, status) in [
                (order("/off"), 200),
                // Counted as what the verifier would refuse, and not once more.
                (order("/observed"), 200),
                (order("/observed").forged(&key(1)), 200),
                (by_writer("/observed").body(b"changed"), 200),
                (order("/observed").signed(), 200),
                (by_writer("/observed"), 200),
                (order("/streamed").signed(), 200),
                (by_writer("/streamed"), 200),
                (order("/open"), 200),
                (order("/open").signed(), 200),
                (by_writer("/open"), 200),
                (order("/enforced"), 401),
                (order("/enforced").signed(), 403),
                (by_writer("/enforced"), 200),
                (order("/other").signed(), 403),
                (by_writer("/other"), 200),
            ] {
                let response = app.clone().oneshot(request.request()).await.unwrap();
                assert_eq!(response.status().as_u16(), status, "{request:?}");
            }
        });
    });
    let counted = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
        let ours = key.key().name() == "countersign_unmet_requirements_total";
        ours.then(|| (labels.join(" "), value))
    });
    let expected = [
        ("key-forbidden enforce POST /enforced", 1),
        ("key-forbidden enforce other", 1),
        ("key-forbidden observe POST /observed", 1),
        ("key-forbidden observe POST /open", 1),
        ("key-forbidden observe POST /streamed", 1),
        ("signature-required observe POST /open", 1),
    ];
    let expected = expected.map(|(labels, count)| (labels.to_owned(), DebugValue::Counter(count)));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_verifier_can_observe_as_a_whole_and_a_route_be_enforced() {
    let routes = Routes::new()
        .route(Route::signed(Method::POST, "/new").enforce(), echo)
        .undeclared(axum::Router::new().route("/old", axum::routing::post(echo)));
    let app = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = app.insecure_observe().protect(routes).unwrap();
    for (path, status) in [("/old", 200), ("/new", 401)] {
        let response = app.clone().oneshot(order(path).request()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let off = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let off = off.insecure_off().protect(
        Routes::new().undeclared(axum::Router::new().route("/old", axum::routing::post(echo))),
    );
    let response = off.unwrap().oneshot(order("/old").forged(&key(1)).request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
