//! Restricted credentials at a real verifier: what they allow, and that nobody who only has a publishable key learns anything
//! about it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, num::NonZeroU32};

use countersign_server::{Require, Route, Routes, SignedBy};
use countersign_store::{
    ClientNetwork, Limited, Limits, MemoryBudget, MemoryKeys, Quota, Restriction, RestrictionKind,
    Restrictions, Scope, Scopes, State,
};
use harness::{Answer, Log, NOW, Raw, Service, TestClock, credential, exchange, key, verifier};
use http::Method;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::Value;

const READ: Scope = Scope::from_static("orders:read");
const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";
const INSIDE: &str = "192.0.2.7";
const OUTSIDE: &str = "198.51.100.7";

/// Header fields of a request.
type Fields = &'static [(&'static str, &'static str)];

/// What meets the restriction of each kind, and what does not. The keys of these kinds are 11, 12, … in this order.
fn kinds() -> [(RestrictionKind, String, Fields); 6] {
    [
        (RestrictionKind::Ip, "192.0.2.0/24".into(), &[("Test-From", INSIDE)]),
        (
            RestrictionKind::Origin,
            "https://shop.example".into(),
            &[("Origin", "https://shop.example")],
        ),
        (
            RestrictionKind::Referrer,
            "https://shop.example/app".into(),
            &[("Referer", "https://shop.example/app/cart")],
        ),
        (
            RestrictionKind::Android,
            format!("com.example.shop={SHA1}"),
            &[("X-Android-Package", "com.example.shop"), ("X-Android-Cert", SHA1)],
        ),
        (
            RestrictionKind::Ios,
            "com.example.Shop".into(),
            &[("X-Ios-Bundle-Identifier", "com.example.Shop")],
        ),
        (RestrictionKind::Sdk, "shop-sdk".into(), &[("User-Agent", "shop-sdk/1.2")]),
    ]
}

fn numbered() -> impl Iterator<Item = (u8, RestrictionKind, Fields)> {
    (11..).zip(kinds()).map(|(number, (kind, _, fields))| (number, kind, fields))
}

/// 1 may do everything, 2 is revoked, 3 expired, 4 quarantined, 5 lacks the scope; then one restricted key of each kind, and 20 with a
/// restriction that is only reported.
fn keys() -> MemoryKeys {
    let keys = MemoryKeys::default();
    let add = |number: u8, state, scopes: Scopes, restrictions| {
        let mut credential = credential(i64::from(number), &key(number), state);
        credential.scopes = scopes;
        credential.restrictions = restrictions;
        keys.insert(credential).unwrap();
    };
    let none = Restrictions::default;
    for (number, state) in
        [(1, State::Active), (2, State::Revoked), (3, State::Active), (4, State::Quarantined)]
    {
        add(number, state, Scopes::from([READ]), none());
    }
    add(5, State::Active, Scopes::default(), none());
    for (number, (kind, entry, _)) in (11..).zip(kinds()) {
        let restriction = Restriction::new(kind, [entry]).unwrap();
        add(number, State::Active, Scopes::from([READ]), none().with(restriction));
    }
    let reported = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
    let reported = none().with(reported.insecure_report_only());
    add(20, State::Active, Scopes::from([READ]), reported);
    keys
}

fn per_minute(most: u32) -> [Quota; 1] {
    [Quota::per_minute(NonZeroU32::new(most).unwrap())]
}

/// `/orders` asks for a scope when it is read; so does the layer around `/inner`. With `failures`, an address may fail so often.
async fn start(failures: Option<u32>) -> Service {
    let clock = TestClock::default();
    let limits = Limits::default().unsigned(per_minute(1000)).signed(per_minute(1000));
    let gate = Limited::new(Service::nonces(), limits).clock(clock.monotonic());
    let routes = Routes::new()
        .route(Route::read("/inner"), async || "read")
        .layer(Require::publishable().scope(READ))
        .route(Route::read("/orders").scope(READ), async || "read")
        .route(
            Route::signed(Method::POST, "/orders").scope(READ),
            async |SignedBy(_): SignedBy| "written",
        );
    let budget: Option<MemoryBudget<ClientNetwork>> = failures
        .and_then(|most| MemoryBudget::new("failures", per_minute(most)))
        .map(|budget| budget.clock(clock.monotonic()));
    let app = verifier(&clock, keys(), gate).failure_limit(budget).protect(routes).unwrap();
    Service::serve(clock, app, std::sync::Arc::default()).await
}

fn publishable(number: u8) -> String {
    key(number).publishable_key().to_string()
}

fn read(number: u8) -> Raw {
    Raw::read().target("/orders").add("X-Api-Key", publishable(number)).add("Test-From", OUTSIDE)
}

fn write(number: u8) -> Raw {
    Raw::order().target("/orders").signed_by(key(number), NOW).add("Test-From", OUTSIDE)
}

fn with(request: Raw, fields: &[(&str, &str)]) -> Raw {
    fields.iter().fold(request, |request, (name, value)| request.set(name, value))
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

/// Everything that a caller is told, but for what is new in every response.
async fn shape(service: &Service, request: &Raw) -> (u16, Vec<(String, String)>, Value) {
    let answer = send(service, request).await;
    let mut problem: Value = serde_json::from_str(&answer.body).unwrap();
    problem["request_id"] = Value::Null;
    let new = ["x-request-id", "date"];
    let headers = answer.headers.into_iter().filter(|(name, _)| !new.contains(&name.as_str()));
    (answer.status, headers.collect(), problem)
}

#[tokio::test]
async fn a_restricted_key_reads_where_its_restriction_holds_and_nowhere_else() {
    let service = start(None).await;
    for (number, kind, fields) in numbered() {
        let met = send(&service, &with(read(number), fields)).await;
        assert_eq!((met.status, met.body.as_str()), (200, "read"), "{kind}");
        let unmet = send(&service, &read(number)).await;
        assert_eq!((unmet.status, unmet.code().as_str()), (401, "key-unknown"), "{kind}");
        for &(name, _) in fields {
            let other = if name == "Test-From" { OUTSIDE } else { "other" };
            let unmet = send(&service, &with(read(number), &[(name, other)])).await;
            assert_eq!((unmet.status, unmet.code().as_str()), (401, "key-unknown"), "{kind}");
        }
    }
    assert_eq!(send(&service, &read(20)).await.status, 200, "only reported");
    assert_eq!(send(&service, &read(4)).await.status, 200, "a quarantined key reads");
}

#[tokio::test]
async fn a_restriction_by_address_binds_whoever_signs_and_no_other_restriction_does() {
    let service = start(None).await;
    for (number, kind, fields) in numbered() {
        let elsewhere = send(&service, &write(number)).await;
        if kind == RestrictionKind::Ip {
            assert_eq!((elsewhere.status, elsewhere.code().as_str()), (403, "key-forbidden"));
            assert!(elsewhere.body.contains("its ip restriction"), "{elsewhere:?}");
        } else {
            assert_eq!((elsewhere.status, elsewhere.body.as_str()), (200, "written"), "{kind}");
        }
        let met = send(&service, &with(write(number), fields)).await;
        assert_eq!((met.status, met.body.as_str()), (200, "written"), "{kind}");
    }
    assert_eq!(send(&service, &write(20)).await.status, 200, "only reported");
}

#[tokio::test]
async fn an_unsigned_request_learns_nothing_about_the_key_that_it_shows() {
    let service = start(None).await;
    let unknown = shape(&service, &read(9)).await;
    assert_eq!((unknown.0, unknown.2["code"].as_str()), (401, Some("key-unknown")));
    for number in [2, 3, 5, 11, 12, 13, 14, 15, 16] {
        assert_eq!(shape(&service, &read(number)).await, unknown, "key {number}");
        let in_query = Raw::read()
            .target(&format!("/orders?api_key={}", publishable(number)))
            .add("Test-From", OUTSIDE);
        assert_eq!(shape(&service, &in_query).await, unknown, "key {number}");
        // A write is refused before its key is looked at.
        let write = shape(&service, &read(number).method("POST")).await;
        assert_eq!(write.2["code"], "signature-required", "key {number}");
    }
    assert_eq!(shape(&service, &read(5).target("/inner")).await, unknown, "a layer further in");
    // Who signs is told.
    for (number, code) in
        [(2, "key-revoked"), (3, "key-expired"), (4, "key-quarantined"), (5, "key-forbidden")]
    {
        assert_eq!(send(&service, &write(number)).await.code(), code);
    }
}

#[tokio::test]
async fn a_limit_on_failures_tells_no_key_from_another() {
    let unknown = {
        let service = start(Some(3)).await;
        statuses(&service, 9, "/orders").await
    };
    assert_eq!(unknown, [401, 401, 401, 429, 429]);
    for number in [2, 3, 5, 11, 12] {
        let service = start(Some(3)).await;
        assert_eq!(statuses(&service, number, "/orders").await, unknown, "key {number}");
    }
    // A layer further in, which asks for a scope that no route declares.
    for number in [9, 2, 5] {
        let service = start(Some(3)).await;
        assert_eq!(statuses(&service, number, "/inner").await, unknown, "key {number}");
    }
    let service = start(Some(3)).await;
    assert_eq!(statuses(&service, 1, "/inner").await, [200; 5]);
}

async fn statuses(service: &Service, number: u8, target: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(send(service, &read(number).target(target)).await.status);
    }
    statuses
}

#[tokio::test]
async fn the_operator_is_told_why_a_publishable_key_was_refused() {
    let recorder = DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, _listening) = Log::listen();
    let service = start(None).await;
    for _ in 0..50 {
        for number in [2, 3, 5, 9, 11, 12, 13, 14, 15, 16] {
            assert_eq!(send(&service, &read(number)).await.status, 401);
        }
    }
    assert_eq!(send(&service, &read(5).target("/inner")).await.status, 401);
    let counted = recorder.snapshotter().snapshot().into_vec().into_iter().filter_map(|one| {
        let (key, _, _, value) = one;
        let label = key.key().labels().next().map(|label| label.value().to_owned());
        let ours = key.key().name() == "countersign_unaccepted_keys_total";
        let DebugValue::Counter(count) = value else { return None };
        ours.then(|| (label.unwrap(), count))
    });
    let causes =
        ["android", "expired", "ios", "ip", "origin", "referrer", "revoked", "sdk", "unknown"];
    let expected = causes.map(|cause| (cause.to_owned(), 50)).into_iter();
    let expected: BTreeMap<_, _> = expected.chain([("scope".to_owned(), 51)]).collect();
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected);
    // One line for each kind of reason, with what to change, however many requests come.
    for (number, kind, _) in numbered() {
        let lines = log.lines_with(&format!("its {kind} restriction does not allow the request"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines.iter().all(|line| line.contains(&format!("credential_id={number}"))),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.contains("countersign key restrict")), "{lines:?}");
    }
    assert_eq!(log.lines_with("was revoked").len(), 1);
    assert_eq!(log.lines_with("countersign key scope --add orders:read").len(), 1);
    assert_eq!(log.lines_with("no credential has this key").len(), 0, "a stranger's invention");
    // A layer further in says so as well.
    let service = start(None).await;
    assert_eq!(send(&service, &read(5).target("/inner")).await.status, 401);
    assert_eq!(log.lines_with("countersign key scope --add orders:read").len(), 2);
}
