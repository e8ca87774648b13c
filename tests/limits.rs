//! Limits over real sockets: who is charged for what, who is not, and what the answers say. The budgets go by the clock of the
//! test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use countersign::{KeyId, PrivateKey, PublishableKey, Timestamp};
use countersign_server::{Route, Routes, SignedBy, Verifier};
use countersign_store::{
    ClientAddress, ClientNetwork, Credential, KeyStore, Limited, Limits, MemoryBudget, MemoryKeys,
    MemoryNonces, Quota, Restriction, RestrictionKind, Restrictions, Scope, Scopes, State,
    StoreError,
};
use harness::{
    Answer, Counted, NOW, PARAMS, Raw, Service, TestClock, credential, exchange, key, router,
    verifier,
};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use sfv::{BareItem, List, ListEntry, Parser};
use tokio::sync::Barrier;
use tower::ServiceExt;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn per_minute(amount: u32) -> [Quota; 1] {
    [Quota::per_minute(number(amount))]
}

type Gated = Limited<Counted<MemoryNonces>>;

/// Limits by this clock, and how often the replay guard behind them is asked.
fn gate(clock: &TestClock, limits: Limits) -> (Gated, Arc<AtomicUsize>) {
    let (nonces, asked) = Counted::new(Service::nonces());
    (Limited::new(nonces, limits).clock(clock.monotonic()), asked)
}

async fn limited(limits: Limits) -> (Service, Arc<AtomicUsize>) {
    let clock = TestClock::default();
    let (gate, asked) = gate(&clock, limits);
    (Service::start_by(clock, Service::keys(), gate, |verifier| verifier).await, asked)
}

/// With a limit on failures alone.
async fn failing(quota: Quota) -> Service {
    failing_with(Service::keys(), quota, |verifier| verifier).await
}

async fn failing_with<K: KeyStore>(
    keys: K,
    quota: Quota,
    change: impl FnOnce(Verifier<K, MemoryNonces>) -> Verifier<K, MemoryNonces>,
) -> Service {
    let clock = TestClock::default();
    let failures = failures(&clock, quota);
    Service::start_by(clock, keys, Service::nonces(), |verifier| {
        change(verifier.failure_limit(failures))
    })
    .await
}

fn failures(clock: &TestClock, quota: Quota) -> Option<MemoryBudget<ClientNetwork>> {
    MemoryBudget::new("failures", [quota]).map(|budget| budget.clock(clock.monotonic()))
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

/// The status and the code of a refusal.
async fn told(service: &Service, request: &Raw) -> (u16, String) {
    let answer = send(service, request).await;
    (answer.status, answer.code())
}

fn limit() -> (u16, String) {
    (429, "rate-limited".to_owned())
}

fn done(status: u16) -> (u16, String) {
    (status, String::new())
}

fn ours(number: u8) -> String {
    key(number).publishable_key().to_string()
}

fn read(number: u8) -> Raw {
    Raw::read().add("X-Api-Key", ours(number))
}

fn order(number: u8) -> Raw {
    Raw::order().signed_by(key(number), NOW)
}

fn forged(victim: u8) -> Raw {
    Raw::order().forged(&key(victim))
}

/// What a field of the draft says: names, each with its parameters.
fn members(answer: &Answer, field: &str) -> Vec<(String, Vec<(String, i64)>)> {
    let Some(text) = answer.get(field) else { return Vec::new() };
    let list = Parser::new(text).parse::<List>().unwrap();
    let member = |entry| {
        let ListEntry::Item(item) = entry else { panic!("{text}") };
        let BareItem::String(name) = item.bare_item else { panic!("{text}") };
        let params = item.params.into_iter().map(|(key, value)| {
            let BareItem::Integer(value) = value else { panic!("{text}") };
            (key.to_string(), value.into())
        });
        (name.to_string(), params.collect())
    };
    list.into_iter().map(member).collect()
}

fn member(name: &str, params: [(&str, i64); 2]) -> (String, Vec<(String, i64)>) {
    (name.to_owned(), params.map(|(key, value)| (key.to_owned(), value)).to_vec())
}

#[tokio::test]
async fn a_burst_passes_and_then_what_is_refilled() {
    let (service, _) =
        limited(Limits::default().signed([Quota::per_second(number(1)).burst(number(3))])).await;
    for second in [0, 10] {
        service.clock.set(second);
        for left in [2, 1, 0] {
            let answer = send(&service, &order(1)).await;
            assert_eq!(answer.status, 201);
            let level = member("signed-1", [("r", left), ("t", 3 - left)]);
            assert_eq!(members(&answer, "ratelimit"), [level]);
        }
        assert_eq!(told(&service, &order(1)).await, limit());
        service.clock.set(second + 1);
        assert_eq!(told(&service, &order(1)).await, done(201));
        assert_eq!(told(&service, &order(1)).await, limit());
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_answered_as_the_draft_says() {
    let quotas = [Quota::per_second(number(1)), Quota::per_minute(number(2))];
    let (service, _) = limited(Limits::default().signed(quotas)).await;
    for second in [0, 1] {
        service.clock.set(second);
        assert_eq!(told(&service, &order(1)).await, done(201));
    }
    let answer = send(&service, &order(1)).await;
    assert_eq!((answer.status, answer.code()), limit());
    // Of 60 s one has passed, and half of them refill one.
    assert_eq!(answer.get("retry-after"), Some("29"));
    let level = member("signed-60", [("r", 0), ("t", 29)]);
    assert_eq!(members(&answer, "ratelimit"), [level]);
    let second = member("signed-1", [("q", 1), ("w", 1)]);
    let minute = member("signed-60", [("q", 2), ("w", 60)]);
    assert_eq!(members(&answer, "ratelimit-policy"), [second, minute]);
    assert_eq!(answer.get("content-type"), Some("application/problem+json"));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    assert_eq!(answer.get("accept-signature"), None);
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:countersign:problem:rate-limited");
    assert_eq!(problem["violated-policies"], serde_json::json!(["signed-60"]));
    service.clock.set(1 + 29);
    assert_eq!(told(&service, &order(1)).await, done(201));
}

#[tokio::test]
async fn verifiers_that_share_a_gate_share_its_limits_and_its_nonces() {
    let clock = TestClock::default();
    let limits = Limits::default().signed(per_minute(2)).unsigned(per_minute(2));
    let gate = Arc::new(gate(&clock, limits).0);
    let service = || {
        let gate = Arc::clone(&gate);
        Service::start_by(clock.clone(), Service::keys(), gate, |verifier| verifier)
    };
    let (one, other) = (service().await, service().await);
    let first = order(1);
    assert_eq!(told(&one, &first).await, done(201));
    let replayed = (401, "signature-replayed".to_owned());
    assert_eq!(told(&other, &first).await, replayed);
    // The replay is charged to nobody's signed calls.
    let left = |answer: &Answer| members(answer, "ratelimit");
    let second = send(&other, &order(1)).await;
    assert_eq!(second.status, 201);
    assert!(
        left(&second).iter().all(|(_, params)| params.contains(&("r".into(), 0))),
        "{second:?}"
    );
    assert_eq!(told(&one, &order(1)).await, limit());
    assert_eq!(told(&other, &order(1)).await, limit());
    // Another credential has a budget of its own at both, as reads have.
    assert_eq!(told(&one, &order(5)).await, done(201));
    assert_eq!(told(&one, &read(5)).await, done(200));
    assert_eq!(told(&other, &read(5)).await, done(200));
    assert_eq!(told(&one, &read(5)).await, limit());
    clock.set(30);
    let signed = Raw::order().signed_by(key(1), clock.now());
    assert_eq!(told(&other, &signed).await, done(201));
}

#[tokio::test]
async fn a_request_over_the_limit_burns_no_nonce() {
    let (service, asked) = limited(Limits::default().signed(per_minute(2))).await;
    for _ in 0..2 {
        assert_eq!(told(&service, &order(1)).await, done(201));
    }
    let third = order(1);
    for _ in 0..5 {
        assert_eq!(told(&service, &third).await, limit());
    }
    assert_eq!((asked.load(Ordering::SeqCst), service.handled()), (2, 2));
    service.clock.set(30);
    assert_eq!(told(&service, &third).await, done(201));
    // Now it is used.
    service.clock.set(60);
    assert_eq!(told(&service, &third).await, (401, "signature-replayed".into()));
}

#[tokio::test]
async fn who_knows_only_the_publishable_key_cannot_starve_its_holder() {
    let limits = Limits::default().signed(per_minute(2)).unsigned(per_minute(3));
    let (service, asked) = limited(limits).await;
    let mut reads = Vec::new();
    for _ in 0..20 {
        reads.push(send(&service, &read(1)).await.status);
        assert_eq!(told(&service, &forged(1)).await, (401, "signature-invalid".into()));
        let stale = Raw::order().signed_by(key(1), NOW.minus(Duration::from_secs(3600)));
        assert_eq!(told(&service, &stale).await, (401, "signature-stale".into()));
    }
    assert_eq!(reads.iter().filter(|&&status| status == 200).count(), 3);
    assert_eq!(reads.iter().filter(|&&status| status == 429).count(), 17);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // All of the signed budget is still there, and then it is used up.
    let answer = send(&service, &order(1)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(members(&answer, "ratelimit"), [member("signed-60", [("r", 1), ("t", 30)])]);
    assert_eq!(told(&service, &order(1)).await, done(201));
    assert_eq!(told(&service, &order(1)).await, limit());
}

#[tokio::test]
async fn a_flood_of_one_credential_leaves_another_alone() {
    let limits = Limits::default().signed(per_minute(2)).unsigned(per_minute(2));
    let (service, asked) = limited(limits).await;
    for times in 0..10 {
        let (wrote, read) = (send(&service, &order(1)).await, send(&service, &read(1)).await);
        let expected = if times < 2 { (201, 200) } else { (429, 429) };
        assert_eq!((wrote.status, read.status), expected);
    }
    assert_eq!(told(&service, &order(5)).await, done(201));
    assert_eq!(told(&service, &read(5)).await, done(200));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_requests_at_once_no_more_pass_than_the_quota_allows() {
    let (service, asked) = limited(Limits::default().signed(per_minute(10))).await;
    let address = service.address;
    let requests = (0..64).map(|_| order(1).bytes());
    let sent =
        requests.map(|bytes| tokio::spawn(async move { exchange(address, &bytes).await.status }));
    let mut statuses = Vec::new();
    for status in sent.collect::<Vec<_>>() {
        statuses.push(status.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201; 10], vec![429; 54]].concat());
    assert_eq!((asked.load(Ordering::SeqCst), service.handled()), (10, 10));
}

#[tokio::test]
async fn a_request_takes_what_the_operator_says_it_costs() {
    let clock = TestClock::default();
    let limits = Limits::default().signed(per_minute(10)).unsigned(per_minute(10));
    let (gate, _) = gate(&clock, limits);
    let service = Service::start_by(clock, Service::keys(), gate, |verifier| {
        verifier.cost(|head| number(if head.uri.path() == "/v1/orders" { 4 } else { 1 }))
    })
    .await;
    let left = async |request: Raw| {
        let answer = send(&service, &request).await;
        (answer.status, members(&answer, "ratelimit")[0].1[0].1)
    };
    assert_eq!(left(order(1)).await, (201, 6));
    assert_eq!(left(order(1)).await, (201, 2));
    assert_eq!(left(order(1)).await, (429, 2));
    assert_eq!(left(Raw::read().target("/v1/secret").signed()).await, (200, 1));
    assert_eq!(left(read(1)).await, (200, 6));
    assert_eq!(left(read(1).target("/v1/raised")).await, (401, 5));
}

#[tokio::test]
async fn one_address_cannot_read_more_by_saying_that_it_is_another() {
    let (service, _) = limited(Limits::default().unsigned_by_address(per_minute(3))).await;
    let forwarded = |times: usize| {
        let other = format!("198.51.100.{times}");
        read(1)
            .add("X-Forwarded-For", &other)
            .add("X-Real-IP", &other)
            .add("Forwarded", format!("for={other}"))
    };
    for times in 0..10 {
        let expected = if times < 3 { 200 } else { 429 };
        assert_eq!(send(&service, &forwarded(times)).await.status, expected);
    }
    // With another key it is the same client still; from elsewhere it is another one.
    assert_eq!(told(&service, &read(5)).await, limit());
    assert_eq!(told(&service, &read(1).add("Test-From", "192.0.2.7")).await, done(200));
    // Signed requests have their own budget, here none.
    assert_eq!(told(&service, &order(1)).await, done(201));
}

#[tokio::test]
async fn an_address_that_failed_too_often_is_not_even_read() {
    let (keys, asked) = Counted::new(Service::keys());
    let service = failing_with(keys, Quota::per_minute(number(3)), |verifier| verifier).await;
    for _ in 0..3 {
        assert_eq!(told(&service, &forged(1)).await, (401, "signature-invalid".into()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let answer = send(&service, &forged(1)).await;
    assert_eq!((answer.status, answer.code()), limit());
    assert_eq!(answer.get("retry-after"), Some("20"));
    assert_eq!(members(&answer, "ratelimit"), [member("failures-60", [("r", 0), ("t", 20)])]);
    let policy = member("failures-60", [("q", 3), ("w", 60)]);
    assert_eq!(members(&answer, "ratelimit-policy"), [policy]);
    // Whoever is behind the same address has to wait, and no other one.
    for request in [order(1), read(1), Raw::order().signed_as("(\"@method\")")] {
        assert_eq!(told(&service, &request).await, limit());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(told(&service, &order(1).add("Test-From", "192.0.2.7")).await, done(201));
    service.clock.set(20);
    // Honest requests are not charged, however many they are.
    for _ in 0..5 {
        assert_eq!(told(&service, &order(1)).await, done(201));
    }
    assert_eq!(told(&service, &forged(1)).await, (401, "signature-invalid".into()));
    assert_eq!(told(&service, &order(1)).await, limit());
}

#[tokio::test]
async fn private_keys_that_are_made_up_are_looked_up_no_more_often_than_failures_are_allowed() {
    let (keys, asked) = Counted::new(Service::keys());
    let service = failing_with(keys, Quota::per_minute(number(3)), |verifier| verifier).await;
    let made_up = |number: u8| Raw::read().add("X-Api-Key", key(number).expose_text().as_str());
    for number in 50..53 {
        assert_eq!(told(&service, &made_up(number)).await, (401, "signature-required".into()));
    }
    for number in 53..60 {
        assert_eq!(told(&service, &made_up(number)).await, limit());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// Keys that remember which of them were used.
struct Noting(MemoryKeys, Arc<Mutex<Vec<PublishableKey>>>);

impl KeyStore for Noting {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        self.0.find(id, now).await
    }

    fn used(&self, credential: &Credential, _: Timestamp) {
        self.1.lock().unwrap().push(credential.publishable_key());
    }
}

#[tokio::test]
async fn a_key_is_used_by_accepted_requests_alone() {
    let used = Arc::new(Mutex::new(Vec::new()));
    // Shared, as a server shares its registry.
    let keys = Arc::new(Noting(Service::keys(), Arc::clone(&used)));
    let clock = TestClock::default();
    let (gate, _) = gate(&clock, Limits::default().signed(per_minute(1)).unsigned(per_minute(1)));
    let service = Service::start_by(clock, keys, gate, |verifier| verifier).await;
    let used = || used.lock().unwrap().len();
    let replayed = order(1);
    for (request, status, uses) in [
        (&forged(1), 401, 0),
        (&read(9), 401, 0),
        (&read(1), 200, 1),
        (&read(1), 429, 1),
        (&replayed, 201, 2),
        (&replayed, 429, 2),
    ] {
        assert_eq!((told(&service, request).await.0, used()), (status, uses), "{request:?}");
    }
    service.clock.set(60);
    assert_eq!((told(&service, &replayed).await.0, used()), (401, 2), "it was replayed");
}

/// Keys that are looked up when 16 requests wait for them.
struct Together(MemoryKeys, Barrier);

impl KeyStore for Together {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        self.1.wait().await;
        self.0.find(id, now).await
    }
}

#[tokio::test]
async fn failures_that_come_at_once_are_limited_as_if_one_by_one() {
    let made_up = Raw::read().add("X-Api-Key", key(9).expose_text().as_str());
    for failing in [forged(1), read(9), made_up] {
        let keys = Together(Service::keys(), Barrier::new(16));
        let service = failing_with(keys, Quota::per_minute(number(3)), |verifier| verifier).await;
        let (address, bytes) = (service.address, failing.bytes());
        let sent = (0..16).map(|_| {
            let bytes = bytes.clone();
            tokio::spawn(async move { exchange(address, &bytes).await })
        });
        let mut statuses = Vec::new();
        for answer in sent.collect::<Vec<_>>() {
            statuses.push(answer.await.unwrap().status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![401; 3], vec![429; 13]].concat(), "{failing:?}");
    }
}

/// A store that fails for the first key, between two waits of the test, and knows no other key.
struct FailingLookup(Arc<Barrier>);

impl KeyStore for FailingLookup {
    async fn find(&self, id: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        if *id != KeyId::Publishable(key(1).publishable_key()) {
            return Ok(None);
        }
        self.0.wait().await;
        self.0.wait().await;
        Err(StoreError::new("the lookup fails, as the test wants it"))
    }
}

#[tokio::test]
async fn the_limit_on_failures_is_told_before_a_lookup_that_fails() {
    let private = Raw::read().add("X-Api-Key", key(1).expose_text().as_str());
    for waiting in [order(1), read(1), private] {
        let looked_up = Arc::new(Barrier::new(2));
        let keys = FailingLookup(Arc::clone(&looked_up));
        let service = failing_with(keys, Quota::per_minute(number(1)), |verifier| verifier).await;
        let (address, bytes) = (service.address, waiting.bytes());
        let answer = tokio::spawn(async move { exchange(address, &bytes).await });
        looked_up.wait().await;
        assert_eq!(told(&service, &read(9)).await, (401, "key-unknown".into()));
        looked_up.wait().await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.code()), limit(), "{waiting:?}");
    }
}

#[tokio::test]
async fn what_is_forged_guessed_or_malformed_is_a_failure_and_nothing_else_is() {
    let service = failing_with(Service::keys(), Quota::per_minute(number(1)), |verifier| {
        verifier.content_limit(100)
    })
    .await;
    let old = NOW.minus(Duration::from_secs(3600));
    let replayed = order(1);
    assert_eq!(told(&service, &replayed).await, done(201));
    let digest = |algorithm: &str| {
        let covered = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;
        Raw::order()
            .add("Content-Digest", format!("{algorithm}=:AAAA:"))
            .signed_as(&format!("({covered}){PARAMS}"))
    };
    let two_keys = read(1).target(&format!("/v1/orders?api_key={}", ours(5)));
    let [private, revoked, made_up] = [1, 2, 9].map(|number| key(number).expose_text().to_string());
    let bare = Raw::order().signed_as(&format!("(\"@method\"){PARAMS}"));
    let cases: [(Raw, u16, &str, bool); 31] = [
        (forged(1), 401, "signature-invalid", true),
        (order(9), 401, "signature-invalid", true),
        (order(1).without("Signature"), 400, "signature-malformed", true),
        (order(1).set("Signature-Input", "?"), 400, "signature-malformed", true),
        (order(1).add("Signature", "a".repeat(9000)), 431, "header-too-large", true),
        (digest("sha-256"), 400, "signature-malformed", true),
        (read(9), 401, "key-unknown", true),
        (Raw::read().add("X-Api-Key", "guess"), 401, "key-unknown", true),
        (two_keys, 400, "ambiguous-credential", true),
        // A look-up for each that anybody can make up.
        (Raw::read().add("X-Api-Key", &made_up), 401, "signature-required", true),
        (
            Raw::order().add("Authorization", format!("Bearer {made_up}")).signed(),
            401,
            "signature-required",
            true,
        ),
        (
            Raw::read().add("X-Api-Key", private.replacen("sk_", "sk_0", 1)),
            401,
            "signature-required",
            true,
        ),
        // It holds, and is good for nothing.
        (order(2), 401, "key-revoked", true),
        (order(3), 401, "key-expired", true),
        (Raw::read().add("X-Api-Key", &revoked), 401, "signature-required", true),
        (replayed, 401, "signature-replayed", true),
        // No key is told from another by what they are charged.
        (read(2), 401, "key-unknown", true),
        (read(3), 401, "key-unknown", true),
        // An honest client learns from these, and does better next time.
        (Raw::read(), 401, "key-required", false),
        (Raw::order(), 401, "signature-required", false),
        // Its holder alone can send it.
        (Raw::read().add("X-Api-Key", &private), 401, "signature-required", false),
        (
            Raw::read().add("Authorization", format!("Bearer {private}")),
            401,
            "signature-required",
            false,
        ),
        (bare, 401, "signature-policy", false),
        (Raw::order().signed_by(key(1), old), 401, "signature-stale", false),
        (digest("md5"), 400, "digest-unsupported", false),
        (order(1).set("Content-Length", "200"), 413, "content-too-large", false),
        // A signature that holds makes its caller known.
        (order(4), 401, "key-quarantined", false),
        (order(1).body(b"{\"item\":\"bo0k\"}"), 400, "digest-mismatch", false),
        // What is refused before failures are looked at costs no more than to look.
        (Raw::read().set("Host", "other.example.com"), 421, "misdirected", false),
        (Raw::read().target("/a//b"), 400, "bad-target", false),
        (Raw::read().method("TRACE"), 405, "method-not-allowed", false),
    ];
    for (at, (request, status, code, is_failure)) in cases.into_iter().enumerate() {
        let from = format!("192.0.2.{at}");
        let answer = told(&service, &request.add("Test-From", &from)).await;
        assert_eq!(answer, (status, code.to_owned()), "{at}");
        let next = told(&service, &order(1).add("Test-From", &from)).await;
        assert_eq!(next, if is_failure { limit() } else { done(201) }, "{at} {code}");
    }
}

#[tokio::test]
async fn an_open_path_stays_open_to_an_address_that_failed() {
    let service = failing_with(Service::keys(), Quota::per_minute(number(1)), |verifier| {
        verifier.insecure_open_path("/health")
    })
    .await;
    let health = Raw::read().target("/health");
    assert_eq!(send(&service, &forged(1)).await.status, 401);
    assert_eq!(told(&service, &read(1)).await, limit());
    assert_eq!(told(&service, &health).await, done(200));
    // But not to signatures, which would have to be verified, or only to be read.
    assert_eq!(told(&service, &health.clone().signed_by(key(9), NOW)).await, limit());
    assert_eq!(told(&service, &health.add("Signature", "?")).await, limit());
}

#[tokio::test]
async fn failures_of_signed_calls_on_an_open_path_count() {
    let service = failing_with(Service::keys(), Quota::per_minute(number(2)), |verifier| {
        verifier.insecure_open_path("/health")
    })
    .await;
    let health = Raw::read().target("/health");
    for _ in 0..2 {
        let forged = health.clone().forged(&key(1));
        assert_eq!(told(&service, &forged).await, (401, "signature-invalid".into()));
    }
    assert_eq!(told(&service, &health.clone().signed()).await, limit());
    assert_eq!(told(&service, &order(1)).await, limit());
    assert_eq!(told(&service, &health).await, done(200));
}

#[tokio::test]
async fn signed_requests_of_a_dead_key_are_charged_to_its_address_and_to_its_reads() {
    // By address, as failures.
    let service = failing(Quota::per_minute(number(2))).await;
    for _ in 0..2 {
        assert_eq!(told(&service, &order(2)).await, (401, "key-revoked".into()));
    }
    assert_eq!(told(&service, &order(2)).await, limit());
    assert_eq!(told(&service, &order(1).add("Test-From", "192.0.2.7")).await, done(201));
    // By credential and by address, as reads.
    let limits = Limits::default().signed(per_minute(9)).unsigned(per_minute(3));
    let (service, asked) = limited(limits).await;
    for (request, code) in [(2, "key-revoked"), (3, "key-expired"), (4, "key-quarantined")] {
        for _ in 0..3 {
            assert_eq!(told(&service, &order(request)).await, (401, code.into()));
        }
        let answer = send(&service, &order(request)).await;
        assert_eq!((answer.status, answer.code()), limit(), "{code}");
        assert_eq!(members(&answer, "ratelimit"), [member("unsigned-60", [("r", 0), ("t", 20)])]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no nonce was claimed");
    assert_eq!(told(&service, &order(1)).await, done(201));
    let limits = Limits::default().unsigned_by_address(per_minute(3));
    let (service, _) = limited(limits).await;
    for _ in 0..3 {
        assert_eq!(told(&service, &order(2)).await, (401, "key-revoked".into()));
    }
    assert_eq!(told(&service, &order(2)).await, limit());
    let elsewhere = order(2).add("Test-From", "192.0.2.7");
    assert_eq!(told(&service, &elsewhere).await, (401, "key-revoked".into()));
}

#[tokio::test]
async fn registered_private_keys_that_are_sent_are_charged_to_reads_and_all_of_them_are_counted() {
    let recorder = DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let limits = Limits::default().signed(per_minute(9)).unsigned(per_minute(3));
    let (service, asked) = limited(limits).await;
    let in_header = |number| Raw::read().add("X-Api-Key", key(number).expose_text().as_str());
    let in_authorization = |number| {
        Raw::order().add("Authorization", format!("Bearer {}", *key(number).expose_text()))
    };
    // 2 is revoked.
    for number in [1, 2] {
        for request in [in_header(number), in_authorization(number), in_header(number)] {
            assert_eq!(told(&service, &request).await, (401, "signature-required".into()));
        }
        for request in [in_header(number), in_authorization(number)] {
            let answer = send(&service, &request).await;
            assert_eq!((answer.status, answer.code()), limit());
            assert_eq!(
                members(&answer, "ratelimit"),
                [member("unsigned-60", [("r", 0), ("t", 20)])]
            );
        }
    }
    // Strangers who use up the reads of a key hide nothing from its operator.
    let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
    let counted: Vec<_> = counted
        .filter(|(key, ..)| key.key().name() == "countersign_private_keys_sent_total")
        .map(|(.., value)| value)
        .collect();
    assert_eq!(counted, [DebugValue::Counter(5)]);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no nonce was claimed");
    assert_eq!(told(&service, &order(1)).await, done(201));
    // A made-up private key takes nothing from the key whose name it has.
    let made_up = PrivateKey::hmac_sha256([6; 16], &[66; 32]).unwrap();
    let own = PrivateKey::hmac_sha256([6; 16], &[6; 32]).unwrap().publishable_key().to_string();
    for _ in 0..4 {
        let request = Raw::read().add("X-Api-Key", made_up.expose_text().as_str());
        assert_eq!(told(&service, &request).await, (401, "signature-required".into()));
    }
    assert_eq!(told(&service, &Raw::read().add("X-Api-Key", &own)).await, done(200));
}

#[tokio::test]
async fn signed_requests_that_a_restriction_or_a_scope_refuses_are_charged_to_reads() {
    const WRITE: Scope = Scope::from_static("orders:write");
    let start = async |limits| {
        let add = |keys: &MemoryKeys, number: u8, scopes, restrictions| {
            let mut credential = credential(i64::from(number), &key(number), State::Active);
            (credential.scopes, credential.restrictions) = (scopes, restrictions);
            keys.insert(credential).unwrap();
        };
        let elsewhere = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
        let keys = MemoryKeys::default();
        add(&keys, 1, Scopes::from([WRITE]), Restrictions::default());
        add(&keys, 2, Scopes::from([WRITE]), Restrictions::default().with(elsewhere));
        add(&keys, 5, Scopes::default(), Restrictions::default());
        let clock = TestClock::default();
        let (gate, asked) = gate(&clock, limits);
        let routes = Routes::new().route(
            Route::signed(Method::POST, "/v1/orders").scope(WRITE),
            async |SignedBy(_): SignedBy| StatusCode::CREATED,
        );
        let app = verifier(&clock, keys, gate).protect(routes).unwrap();
        (Service::serve(clock, app, Arc::default()).await, asked)
    };
    for limits in [
        || Limits::default().signed(per_minute(9)).unsigned(per_minute(3)),
        || Limits::default().signed(per_minute(9)).unsigned_by_address(per_minute(3)),
    ] {
        for number in [2, 5] {
            let (service, asked) = start(limits()).await;
            for _ in 0..3 {
                assert_eq!(told(&service, &order(number)).await, (403, "key-forbidden".into()));
            }
            assert_eq!(told(&service, &order(number)).await, limit(), "key {number}");
            assert_eq!(asked.load(Ordering::SeqCst), 0, "no nonce was claimed");
            assert_eq!(told(&service, &order(1)).await, done(201));
        }
    }
}

#[tokio::test]
async fn a_captured_request_uses_up_nothing_that_its_signer_has() {
    let limits = Limits::default().signed(per_minute(2)).unsigned(per_minute(2));
    let (service, _) = limited(limits).await;
    let captured = order(1);
    assert_eq!(told(&service, &captured).await, done(201));
    for _ in 0..100 {
        assert_eq!(told(&service, &captured).await, (401, "signature-replayed".into()));
    }
    assert_eq!(told(&service, &order(1)).await, done(201));
    assert_eq!(told(&service, &order(1)).await, limit());
    assert_eq!(told(&service, &read(1)).await, done(200));
}

#[tokio::test]
async fn a_page_that_has_its_visitors_fail_shuts_out_their_browsers_at_most() {
    let page = |request: Raw| request.add("Origin", "https://evil.example");
    let in_url = Raw::read().target(&format!("/v1/orders?api_key={}", ours(9)));
    // What a page can have a browser send: by an image or a link, and by a script.
    for failing_request in [in_url, page(read(9)), page(forged(1))] {
        let service = failing(Quota::per_minute(number(2))).await;
        for _ in 0..2 {
            assert_eq!(send(&service, &failing_request).await.status, 401);
        }
        assert_eq!(told(&service, &failing_request).await, limit());
        assert_eq!(told(&service, &page(read(1))).await, limit());
        // Programs at the same address go on, and have all of their failures left.
        assert_eq!(told(&service, &read(1)).await, done(200));
        assert_eq!(told(&service, &order(1)).await, done(201));
        for _ in 0..2 {
            assert_eq!(send(&service, &forged(1)).await.status, 401);
        }
        assert_eq!(told(&service, &forged(1)).await, limit());
    }
    // What programs fail at does not shut out browsers.
    let service = failing(Quota::per_minute(number(1))).await;
    assert_eq!(send(&service, &forged(1)).await.status, 401);
    assert_eq!(told(&service, &order(1)).await, limit());
    assert_eq!(told(&service, &page(read(1))).await, done(200));
}

#[tokio::test]
async fn nothing_is_limited_by_default() {
    let service = Service::start().await;
    for _ in 0..200 {
        let answer = send(&service, &forged(1)).await;
        assert_eq!((answer.status, answer.get("ratelimit")), (401, None));
    }
    let (wrote, read) = (send(&service, &order(1)).await, send(&service, &read(1)).await);
    assert_eq!(
        (wrote.status, wrote.get("ratelimit"), wrote.get("ratelimit-policy")),
        (201, None, None)
    );
    assert_eq!((read.status, read.get("ratelimit")), (200, None));
}

#[tokio::test]
async fn levels_are_told_to_whom_they_are_about_and_not_to_strangers() {
    let clock = TestClock::default();
    let (gate, _) = gate(&clock, Limits::default().signed(per_minute(9)).unsigned(per_minute(8)));
    let failures = failures(&clock, Quota::per_minute(number(50)));
    let service = Service::start_by(clock, Service::keys(), gate, |verifier| {
        verifier.failure_limit(failures).insecure_open_path("/health")
    })
    .await;
    let names = async |request: Raw| {
        let answer = send(&service, &request).await;
        let names = members(&answer, "ratelimit").into_iter().map(|(name, _)| name);
        let policies = members(&answer, "ratelimit-policy").into_iter().map(|(name, _)| name);
        (answer.status, names.collect::<Vec<_>>(), policies.collect::<Vec<_>>())
    };
    let nothing = |status| (status, Vec::new(), Vec::new());
    let told = |status, name: &str| (status, vec![name.to_owned()], vec![name.to_owned()]);
    assert_eq!(names(order(1)).await, told(201, "signed-60"));
    for method in ["GET", "HEAD"] {
        assert_eq!(names(read(1).method(method)).await, told(200, "unsigned-60"));
        let signed = Raw::read().target("/v1/secret").method(method).signed();
        assert_eq!(names(signed).await, told(200, "signed-60"));
    }
    // No handler takes it, but it is one of the caller's requests.
    assert_eq!(names(read(1).method("OPTIONS")).await, told(405, "unsigned-60"));
    for (request, status) in [
        (forged(1), 401),
        (read(9), 401),
        (read(2), 401),
        (Raw::read(), 401),
        (Raw::order(), 401),
        (Raw::read().target("/health"), 200),
    ] {
        assert_eq!(names(request).await, nothing(status));
    }
}

#[tokio::test]
async fn every_method_is_limited_and_told_alike() {
    let (service, _) =
        limited(Limits::default().signed(per_minute(1)).unsigned(per_minute(1))).await;
    assert_eq!(send(&service, &read(1)).await.status, 200);
    assert_eq!(send(&service, &order(1)).await.status, 201);
    for method in ["GET", "HEAD", "OPTIONS"] {
        for (request, name) in [
            (read(1).method(method), "unsigned-60"),
            (Raw::read().method(method).signed(), "signed-60"),
        ] {
            let answer = send(&service, &request).await;
            assert_eq!((answer.status, answer.get("retry-after")), (429, Some("60")), "{method}");
            assert_eq!(members(&answer, "ratelimit"), [member(name, [("r", 0), ("t", 60)])]);
        }
    }
}

#[tokio::test]
async fn a_used_up_share_of_the_replay_guard_is_a_limit_of_its_own() {
    let clock = TestClock::default();
    let limits = Limits::default().signed(per_minute(100));
    let gate = Limited::new(Service::nonces().share(1), limits).clock(clock.monotonic());
    let service = Service::start_by(clock, Service::keys(), gate, |verifier| verifier).await;
    assert_eq!(told(&service, &order(1)).await, done(201));
    let answer = send(&service, &order(1)).await;
    assert_eq!((answer.status, answer.code()), limit());
    let wait: u64 = answer.get("retry-after").unwrap().parse().unwrap();
    // As long as a nonce is live, and the 16 s that a share is counted over at a time.
    assert!((1..=80 + 16).contains(&wait), "{wait}");
    assert_eq!(answer.get("ratelimit"), None);
    assert_eq!(told(&service, &order(5)).await, done(201));
}

/// Otherwise a holder could fill the guard alone, with one key after the other: each of them is valid during its overlap.
#[tokio::test]
async fn a_key_that_took_over_from_another_has_no_share_of_its_own() {
    let keys = MemoryKeys::default();
    let first = credential(1, &key(1), State::Active);
    let successor = credential(5, &key(5), State::Active).with_lineage(first.id);
    for credential in [first, successor] {
        keys.insert(credential).unwrap();
    }
    let gate = Service::nonces().share(2);
    let service = Service::start_with(keys, gate, |verifier| verifier).await;
    assert_eq!(told(&service, &order(1)).await, done(201));
    assert_eq!(told(&service, &order(5)).await, done(201));
    for number in [1, 5] {
        let answer = send(&service, &order(number)).await;
        assert_eq!((answer.status, answer.code()), limit(), "{number}");
    }
}

/// What was over a limit since it was last asked: budget and enforcement, and how often.
fn counted(recorder: &DebuggingRecorder) -> Vec<(String, u64)> {
    let snapshot = recorder.snapshotter().snapshot().into_vec().into_iter();
    let over = snapshot.filter(|(key, ..)| key.key().name() == "countersign_over_limit_total");
    let counters = over.map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
        let DebugValue::Counter(count) = value else { panic!("{value:?}") };
        (labels.join(" "), count)
    });
    let mut counters: Vec<_> = counters.filter(|(_, count)| *count > 0).collect();
    counters.sort();
    counters
}

#[tokio::test]
async fn what_is_only_reported_passes_and_is_counted() {
    let clock = TestClock::default();
    let recorder = DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let limits = Limits::default().signed(per_minute(1)).unsigned_by_address(per_minute(1));
    let (gate, _) = gate(&clock, limits.insecure_report_only());
    let failures = failures(&clock, Quota::per_minute(number(1)));
    let service = Service::start_by(clock, Service::keys(), gate, |verifier| {
        verifier.failure_limit(failures).insecure_report_failures_only()
    })
    .await;
    for _ in 0..3 {
        let answer = send(&service, &order(1)).await;
        assert_eq!((answer.status, answer.get("ratelimit")), (201, None));
        assert_eq!(told(&service, &read(1)).await, done(200));
    }
    assert_eq!(
        counted(&recorder),
        [("address reported".to_owned(), 2), ("signed reported".to_owned(), 2)]
    );
    for _ in 0..3 {
        assert_eq!(told(&service, &forged(1)).await, (401, "signature-invalid".into()));
    }
    assert_eq!(counted(&recorder), [("failures reported".to_owned(), 2)]);
    let enforced = failing(Quota::per_minute(number(1))).await;
    assert_eq!(told(&enforced, &forged(1)).await, (401, "signature-invalid".into()));
    assert_eq!(told(&enforced, &forged(1)).await, limit());
    assert_eq!(counted(&recorder), [("failures enforced".to_owned(), 1)]);
}

#[tokio::test]
async fn a_limit_by_address_without_an_address_is_the_operators_mistake() {
    let clock = TestClock::default();
    let routes = || router(Arc::default());
    let by_address = || {
        let (gate, _) = gate(&clock, Limits::default().unsigned_by_address(per_minute(1)));
        routes().layer(verifier(&clock, Service::keys(), gate).layer())
    };
    let of_failures = || {
        let verifier = verifier(&clock, Service::keys(), Service::nonces());
        let failures = failures(&clock, Quota::per_minute(number(1)));
        routes().layer(verifier.failure_limit(failures).layer())
    };
    let by_neither =
        || routes().layer(verifier(&clock, Service::keys(), Service::nonces()).layer());
    for (app, raw, known, status) in [
        (by_address(), read(1), false, 500),
        (by_address(), read(1), true, 200),
        // It asks for no address.
        (by_address(), order(1), false, 201),
        (of_failures(), order(1), false, 500),
        (of_failures(), read(1), false, 500),
        (of_failures(), order(1), true, 201),
        (by_neither(), read(1), false, 200),
    ] {
        let mut request = raw.request();
        if known {
            let address: IpAddr = [192, 0, 2, 1].into();
            request.extensions_mut().insert(ClientAddress::from(address));
        }
        let answer = app.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        if status == 500 {
            let content = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&content).unwrap();
            assert_eq!(problem["code"], "misconfigured");
        }
    }
}

#[tokio::test]
async fn a_handler_has_the_last_word_on_what_is_told() {
    let clock = TestClock::default();
    let own = Router::new()
        .route("/v1/orders", get(async || [("RateLimit", "\"own\";r=1")]))
        .route("/v1/other", get(async || [("RateLimit-Policy", "\"own\";q=1")]));
    let (gate, _) = gate(&clock, Limits::default().unsigned(per_minute(6)));
    let app = own.layer(verifier(&clock, Service::keys(), gate).layer());
    for (target, rate_limit, policy) in [
        ("/v1/orders", Some("\"own\";r=1"), None),
        ("/v1/other", None, Some("\"own\";q=1")),
        ("/v1/none", Some("\"unsigned-60\";r=3;t=30"), Some("\"unsigned-60\";q=6;w=60")),
    ] {
        let answer = app.clone().oneshot(read(1).target(target).request()).await.unwrap();
        let field = |name| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (field("ratelimit"), field("ratelimit-policy")),
            (rate_limit, policy),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_flood_from_ever_new_addresses_makes_the_table_of_failures_no_larger() {
    let clock = TestClock::default();
    let room = 640;
    let failures = failures(&clock, Quota::per_minute(number(1))).map(|one| one.capacity(room));
    let (nonces, asked) = Counted::new(Service::nonces());
    let verifier = verifier(&clock, Service::keys(), nonces).failure_limit(failures);
    let app = router(Arc::default()).layer(verifier.layer());
    let forged = forged(1);
    let mut read_at_all = 0;
    for at in 0u32..20_000 {
        let mut flooding = forged.request();
        let network = 0x2001_0db8u128 << 96 | u128::from(at) << 64;
        let address = IpAddr::V6(network.into());
        flooding.extensions_mut().insert(ClientAddress::from(address));
        match app.clone().oneshot(flooding).await.unwrap().status().as_u16() {
            401 => read_at_all += 1,
            status => assert_eq!(status, 429),
        }
    }
    // One of each that has room, and one allowance of each of the 64 parts of the table for those that have none.
    assert_eq!(read_at_all, room + 64);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // It goes on when what was used is refilled.
    clock.set(60);
    let mut late = order(1).request();
    late.extensions_mut().insert(ClientAddress::from(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(app.oneshot(late).await.unwrap().status(), StatusCode::CREATED);
}
