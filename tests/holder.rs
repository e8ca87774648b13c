//! What the holder of a key does with it alone: it reads its credential, replaces the key, and revokes it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use countersign::{Code, Origins, PrivateKey, ProvenKey, Timestamp, Window};
use countersign_client::{Client, Refusal};
use countersign_server::{HolderRoutes, Route, Routes, SignedBy, Verifier, serve};
use countersign_store::{
    Credential, HeldKeys, MemoryKeys, MemoryNonces, NewCredential, NotHandedOver, Reason, Registry,
    Rotation, StoreError,
};
use harness::{TestClock, credential};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceExt as _;

pub(crate) const DAY: u64 = 24 * 3600;

/// A service with a registry, where the holders of keys may do what they do alone.
pub(crate) struct Holder {
    pub(crate) folder: TempDir,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: TestClock,
    pub(crate) origin: String,
    /// How many orders were taken.
    pub(crate) orders: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Holder {
    /// With the key 1 of the application `shop`.
    pub(crate) async fn start() -> Self {
        Self::start_with(|holder| holder).await
    }

    pub(crate) async fn start_with(
        set: impl FnOnce(HolderRoutes<Arc<Registry>>) -> HolderRoutes<Arc<Registry>>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Arc::new(Registry::open_or_create(&url).await.unwrap());
        let clock = TestClock::default();
        registry.add_application("shop", "live", clock.now()).await.unwrap();
        let orders = Arc::new(AtomicUsize::new(0));
        let holder = set(HolderRoutes::new(Arc::clone(&registry)));
        let counted = Arc::clone(&orders);
        let order = async move |SignedBy(_): SignedBy| {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let routes = Routes::new()
            .route(Route::signed(Method::POST, "/v1/orders"), order)
            .nest("/v1/key", holder.routes());
        let keys = Arc::clone(&registry);
        let by = clock.clone();
        let (origin, serving) = started(|origins| {
            let nonces = MemoryNonces::volatile(Window::default(), long_ago()).unwrap();
            let verifier = Verifier::new(origins, keys, nonces).clock(move || by.now());
            verifier.protect(routes).unwrap()
        })
        .await;
        let started = Self { folder, registry, clock, origin, orders, serving };
        started.register(&key(1)).await;
        started
    }

    pub(crate) async fn register(&self, key: &PrivateKey) {
        let proven = ProvenKey::from(key);
        let new = NewCredential::new("shop", "laptop", &proven);
        self.registry.add_credential(new, self.clock.now()).await.unwrap();
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}/v1/key", self.origin)
    }

    pub(crate) fn client(&self, key: PrivateKey) -> Client {
        let clock = self.clock.clone();
        Client::new(key).unwrap().clock(move || clock.now())
    }

    /// Whether a write with this key is accepted, or the code of its refusal.
    pub(crate) async fn order(&self, key: PrivateKey) -> Result<(), Code> {
        let order = self.client(key).post(format!("{}/v1/orders", self.origin)).body("{}");
        let response = order.send().await.unwrap();
        match Refusal::check(response).await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                Ok(())
            }
            Err(refusal) => Err(refusal.code),
        }
    }

    /// Asks for something that a holder may do.
    pub(crate) async fn ask(
        &self,
        signer: PrivateKey,
        route: &str,
        content: impl Into<Option<Value>>,
    ) -> (u16, Value) {
        let url = format!("{}{route}", self.endpoint());
        let client = self.client(signer);
        let request = match content.into() {
            Some(content) => client.post(url).json(&content),
            None => client.get(url),
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let content: Value = response.json().await.unwrap();
        (status, content)
    }

    pub(crate) async fn rotate(&self, old: u8, new: u8, overlap: u64) -> (u16, Value) {
        self.ask(key(old), "/rotation", rotation(&key(new), overlap)).await
    }
}

async fn started(app: impl FnOnce(Origins) -> Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let app = app(Origins::new([origin.parse().unwrap()]).unwrap());
    let serving = serve(listener, app, std::future::pending());
    (origin, tokio::spawn(serving))
}

fn long_ago() -> Timestamp {
    harness::NOW.minus(Duration::from_secs(3600))
}

pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::ed25519(&[number; 32])
}

pub(crate) fn hmac() -> PrivateKey {
    PrivateKey::hmac_sha256([6; 16], b"\x8f\x01\xe5\x77\xb3\x2c\x94\x40\xda\x6b\x19\xf2\x58\xc7\x0e\xa9\x35\xd1\x62\xbc\x07\x9d\x4e\xf8\x21\x83\x5a\xcb\x70\x16\xee\x47").unwrap()
}

fn public(number: u8) -> String {
    key(number).publishable_key().to_string()
}

pub(crate) fn rotation(new: &PrivateKey, overlap: u64) -> Value {
    json!({ "public_key": ProvenKey::proof(new).unwrap(), "overlap_seconds": overlap })
}

#[tokio::test]
async fn a_holder_reads_its_own_credential_and_when_to_rotate_it() {
    let holder = Holder::start().await;
    let now = holder.clock.now().unix();
    let (status, own) = holder.ask(key(1), "", None).await;
    assert_eq!(status, 200);
    let expected = json!({
        "publishable_key": public(1),
        "alg": "ed25519",
        "application": "shop",
        "environment": "live",
        "label": "laptop",
        "state": "active",
        "created_at": now,
        "rotate_after": now + 90 * DAY,
        "expires_at": null,
        "revoked_at": null,
        "replaced_by": null,
    });
    assert_eq!(own, expected);
    let holder = Holder::start_with(|holder| holder.rotation_age(None)).await;
    assert_eq!(holder.ask(key(1), "", None).await.1["rotate_after"], Value::Null);
}

#[tokio::test]
async fn the_old_key_is_good_beside_the_new_one_until_the_overlap_ends() {
    let holder = Holder::start().await;
    let end = holder.clock.now().unix() + DAY;
    assert_eq!(holder.order(key(2)).await, Err(Code::SignatureInvalid));
    let (status, rotated) = holder.rotate(1, 2, DAY).await;
    assert_eq!(status, 201, "{rotated}");
    assert_eq!(rotated["old_ends_at"], end);
    let of = |which: &str, member: &str| rotated[which][member].clone();
    assert_eq!(
        (of("new", "publishable_key"), of("new", "state")),
        (public(2).into(), "active".into())
    );
    assert_eq!(
        (of("old", "publishable_key"), of("old", "state")),
        (public(1).into(), "retiring".into())
    );
    assert_eq!(
        (of("old", "replaced_by"), of("old", "rotate_after")),
        (public(2).into(), Value::Null)
    );
    for (seconds, old) in [(0, Ok(())), (DAY - 1, Ok(())), (DAY, Err(Code::KeyExpired))] {
        holder.clock.set(seconds.try_into().unwrap());
        assert_eq!(holder.order(key(1)).await, old, "{seconds}");
        assert_eq!(holder.order(key(2)).await, Ok(()), "{seconds}");
    }
}

#[tokio::test]
async fn without_an_overlap_the_old_key_ends_at_once() {
    let holder = Holder::start().await;
    let (status, rotated) = holder.rotate(1, 2, 0).await;
    assert_eq!((status, &rotated["old"]["state"]), (201, &"revoked".into()), "{rotated}");
    assert_eq!(rotated["old_ends_at"], holder.clock.now().unix());
    assert_eq!(holder.order(key(1)).await, Err(Code::KeyRevoked));
    assert_eq!(holder.order(key(2)).await, Ok(()));
}

#[tokio::test]
async fn a_rotation_can_be_asked_for_again_and_is_made_once() {
    let holder = Holder::start().await;
    let (first, rotated) = holder.rotate(1, 2, DAY).await;
    let entries = holder.registry.audit_entries(0, 100).await.unwrap();
    // The second request names another overlap, and changes nothing.
    let (second, again) = holder.rotate(1, 2, 0).await;
    assert_eq!((first, second), (201, 200));
    assert_eq!(rotated, again);
    assert_eq!(holder.registry.audit_entries(0, 100).await.unwrap(), entries);
    let actor = format!("key {}", public(1));
    assert_eq!(entries.iter().filter(|entry| entry.actor == actor).count(), 2, "{entries:?}");
}

#[tokio::test]
async fn a_rotation_that_is_not_the_holders_to_make_is_refused() {
    let holder = Holder::start().await;
    holder.register(&key(3)).await;
    holder.register(&key(5)).await;
    holder.register(&hmac()).await;
    assert_eq!(holder.rotate(5, 6, DAY).await.0, 201);
    let of_another = ProvenKey::proof(&key(9)).unwrap().replace(&public(9), &public(8));
    let unproven = json!({ "public_key": public(8) });
    let too_long = rotation(&key(8), 30 * DAY + 1);
    let table = [
        ("a stranger's key", key(7), rotation(&key(8), DAY), 401, "signature-invalid", ""),
        (
            "another's proof",
            key(1),
            json!({ "public_key": of_another }),
            400,
            "bad-request",
            "wrong",
        ),
        ("no proof", key(1), unproven, 400, "bad-request", "missing"),
        (
            "an overlap that is too long",
            key(1),
            too_long,
            400,
            "bad-request",
            "longer than 2592000 s",
        ),
        (
            "no rotation",
            key(1),
            json!({ "reason": "x" }),
            400,
            "bad-request",
            "not the JSON object",
        ),
        ("a secret", hmac(), rotation(&key(8), DAY), 409, "key-conflict", "HMAC secret"),
        (
            "the same key",
            key(1),
            rotation(&key(1), DAY),
            409,
            "key-conflict",
            "same as the old one",
        ),
        (
            "a key of another",
            key(1),
            rotation(&key(3), DAY),
            409,
            "key-conflict",
            "registered already",
        ),
        ("a replaced key", key(5), rotation(&key(8), DAY), 409, "key-conflict", &public(6)),
    ];
    for (what, signer, content, status, code, detail) in table {
        let (found, problem) = holder.ask(signer, "/rotation", content).await;
        assert_eq!((found, &problem["code"]), (status, &code.into()), "{what}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{what}: {problem}");
        assert!(!problem["hint"].as_str().unwrap().is_empty(), "{what}: {problem}");
        assert_eq!(holder.order(key(1)).await, Ok(()), "{what}");
        assert_eq!(holder.order(key(8)).await, Err(Code::SignatureInvalid), "{what}");
    }
}

#[tokio::test]
async fn a_captured_rotation_is_a_replay() {
    let holder = Holder::start().await;
    let request = holder
        .client(key(1))
        .post(format!("{}/rotation", holder.endpoint()))
        .json(&rotation(&key(2), DAY))
        .sign()
        .unwrap();
    let sender = reqwest::Client::new();
    let again = request.try_clone().unwrap();
    assert_eq!(sender.execute(request).await.unwrap().status(), 201);
    let refused = Refusal::check(sender.execute(again).await.unwrap()).await.unwrap_err();
    assert_eq!(refused.code, Code::SignatureReplayed);
}

#[tokio::test]
async fn a_holder_revokes_its_key_for_ever_and_the_log_says_who_and_why() {
    let holder = Holder::start().await;
    let (status, refused) = holder.ask(key(1), "/revocation", json!({ "reason": "" })).await;
    assert_eq!((status, &refused["code"]), (400, &"bad-request".into()));
    let (status, revoked) = holder.ask(key(1), "/revocation", json!({ "reason": "lost" })).await;
    assert_eq!((status, &revoked["state"]), (200, &"revoked".into()), "{revoked}");
    assert_eq!(revoked["revoked_at"], holder.clock.now().unix());
    assert_eq!(holder.order(key(1)).await, Err(Code::KeyRevoked));
    let (status, refused) = holder.ask(key(1), "/revocation", json!({})).await;
    assert_eq!((status, &refused["code"]), (401, &"key-revoked".into()));
    assert_eq!(holder.rotate(1, 2, DAY).await.1["code"], "key-revoked");
    let entries = holder.registry.audit_entries(0, 100).await.unwrap();
    let last = entries.last().unwrap();
    assert_eq!((&*last.actor, &*last.action), (&*format!("key {}", public(1)), "key.revoke"));
    assert!(last.after.as_ref().unwrap().contains(r#""revocation_reason":"lost""#), "{last:?}");
    // Nobody can replace a secret but an operator; to revoke it is another matter.
    holder.register(&hmac()).await;
    assert_eq!(holder.ask(hmac(), "/revocation", json!({})).await.0, 200);
}

#[tokio::test]
async fn a_key_in_quarantine_reads_its_credential_and_can_be_revoked_and_nothing_else() {
    let holder = Holder::start().await;
    let id = key(1).publishable_key().into();
    holder.registry.quarantine(&id, None, holder.clock.now()).await.unwrap();
    let (status, own) = holder.ask(key(1), "", None).await;
    assert_eq!(
        (status, &own["state"], &own["rotate_after"]),
        (200, &"quarantined".into(), &Value::Null)
    );
    let (status, refused) = holder.ask(key(1), "/rotation", rotation(&key(2), DAY)).await;
    assert_eq!((status, &refused["code"]), (401, &"key-quarantined".into()));
    // Not below, beside or by another method.
    for route in ["/revocation/", "/revocation/x", "/revocations", "/Revocation"] {
        let (status, refused) = holder.ask(key(1), route, json!({})).await;
        assert_eq!((status, &refused["code"]), (401, &"key-quarantined".into()), "{route}");
    }
    let put = holder.client(key(1)).put(format!("{}/revocation", holder.endpoint())).send().await;
    assert_eq!(Refusal::check(put.unwrap()).await.unwrap_err().code, Code::KeyQuarantined);
    assert_eq!(holder.order(key(1)).await, Err(Code::KeyQuarantined));
    assert_eq!(holder.ask(key(1), "", None).await.1["state"], "quarantined");
    // Nobody but the holder: the publishable key alone, and another key.
    holder.register(&key(3)).await;
    holder
        .registry
        .quarantine(&key(3).publishable_key().into(), None, holder.clock.now())
        .await
        .unwrap();
    assert_eq!(holder.ask(key(3), "/revocation", json!({})).await.0, 200);
    assert_eq!(holder.ask(key(1), "", None).await.1["state"], "quarantined");
    let (status, revoked) = holder.ask(key(1), "/revocation", json!({ "reason": "leaked" })).await;
    assert_eq!((status, &revoked["state"]), (200, &"revoked".into()), "{revoked}");
    let release = holder.registry.release(&id, None, holder.clock.now()).await;
    assert!(matches!(release, Err(countersign_store::RegistryError::Revoked)), "{release:?}");
}

/// The code blocks of this kind below a heading of the protocol.
fn blocks(heading: &str, kind: &str) -> Vec<String> {
    let protocol = include_str!("../docs/reference/protocol.md");
    let (_, section) = protocol.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("\n```{kind}\n");
    let blocks = section.split(&begin).skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_rotation_in_the_protocol_is_accepted_as_it_is_written() {
    const HEADING: &str = "What a holder does with its own key";
    let created = harness::NOW;
    let content = format!(
        r#"{{"public_key":{},"overlap_seconds":86400}}"#,
        Value::from(ProvenKey::proof(&key(2)).unwrap())
    );
    let request = http::Request::post("https://api.example.com/v1/key/rotation")
        .header("content-type", "application/json")
        .body(content.clone())
        .unwrap();
    let (mut head, _) = request.into_parts();
    let origin = "https://api.example.com".parse().unwrap();
    let signed = countersign::RequestHead {
        method: &head.method,
        target: countersign::Target::origin_form(&head.uri),
        origin: &origin,
        headers: &head.headers,
    };
    let nonce = countersign::Nonce::from_random([9; 16]);
    let signer = countersign::Signer::new(key(1));
    let fields = signer.sign(&signed, content.as_bytes(), created, &nonce).unwrap();
    let base = fields.signature.base.as_str().to_owned();
    fields.apply(&mut head.headers);
    let field = |name: &str| head.headers[name].to_str().unwrap();
    let written = format!(
        "POST /v1/key/rotation HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\nContent-Digest: {}\n\
         Signature-Input: {}\nSignature: {}\n\n{content}",
        field("content-digest"),
        field("signature-input"),
        field("signature"),
    );
    assert_eq!(blocks(HEADING, "http")[0], written);
    assert_eq!(blocks(HEADING, "text")[0], base);

    let holder = Holder::start().await;
    let nonces = MemoryNonces::volatile(Window::default(), long_ago()).unwrap();
    let origins = Origins::new([origin]).unwrap();
    let verifier =
        Verifier::new(origins, Arc::clone(&holder.registry), nonces).clock(move || created);
    let routes = HolderRoutes::new(Arc::clone(&holder.registry)).routes();
    let app = verifier.protect(Routes::new().nest("/v1/key", routes)).unwrap();
    let response = app
        .oneshot(http::Request::from_parts(head, axum::body::Body::from(content)))
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let response = response.into_body().collect().await.unwrap().to_bytes();
    let response: Value = serde_json::from_slice(&response).unwrap();
    let written: Value = serde_json::from_str(&blocks(HEADING, "json")[1]).unwrap();
    assert_eq!(written, response, "{response:#}");
}

/// A store that fails, and that no request reaches which is not signed.
struct Failing;

impl HeldKeys for Failing {
    async fn hand_over(
        &self,
        _: &countersign::PublishableKey,
        _: &ProvenKey,
        _: Duration,
        _: Timestamp,
    ) -> Result<Rotation, NotHandedOver> {
        Err(StoreError::new("it is down").into())
    }

    async fn give_up(
        &self,
        _: &countersign::PublishableKey,
        _: Option<Reason>,
        _: Timestamp,
    ) -> Result<Arc<Credential>, StoreError> {
        Err(StoreError::new("it is down"))
    }
}

/// A service with [`Failing`], whose verifier is around a router or knows the routes, and enforces or observes.
async fn failing(declared: bool, observes: bool) -> (String, JoinHandle<()>) {
    started(|origins| {
        let keys = MemoryKeys::default();
        keys.insert(credential(1, &key(1), countersign_store::State::Active)).unwrap();
        let nonces = MemoryNonces::volatile(Window::default(), long_ago()).unwrap();
        let verifier = Verifier::new(origins, keys, nonces).clock(|| harness::NOW);
        let verifier = if observes { verifier.insecure_observe() } else { verifier };
        if declared {
            let routes = Routes::new().nest("/v1/key", HolderRoutes::new(Failing).routes());
            return verifier.protect(routes).unwrap();
        }
        let other = Router::new().route("/other", get(async || "")).route("/", post(async || ""));
        let router = other.nest("/v1/key", HolderRoutes::new(Failing).router());
        router.layer(verifier.layer())
    })
    .await
}

#[tokio::test]
async fn what_is_not_signed_gets_nowhere_however_the_routes_are_mounted() {
    for (declared, observes) in [(true, false), (true, true), (false, false), (false, true)] {
        let (origin, serving) = failing(declared, observes).await;
        let endpoint = format!("{origin}/v1/key");
        let own = Client::new(key(1)).unwrap().clock(|| harness::NOW).wait_up_to(Duration::ZERO);
        let unsigned = reqwest::Client::new();
        let content = rotation(&key(2), DAY).to_string();
        for (method, route) in
            [(Method::GET, ""), (Method::POST, "/rotation"), (Method::POST, "/revocation")]
        {
            let url = format!("{endpoint}{route}");
            let content = if method == Method::GET { "" } else { &content };
            let ask = || unsigned.request(method.clone(), &url).body(content.to_owned());
            // A verifier that knows no declaration refuses a read without any credential by itself.
            let bare = match declared || observes || method != Method::GET {
                true => Code::SignatureRequired,
                false => Code::KeyRequired,
            };
            let presented = ask().header("x-api-key", public(1));
            for (request, code) in [(ask(), bare), (presented, Code::SignatureRequired)] {
                let response = request.send().await.unwrap();
                let refusal = Refusal::check(response).await.unwrap_err();
                assert_eq!(refusal.code, code, "{declared} {observes} {url}");
            }
        }
        assert_eq!(own.get(&endpoint).send().await.unwrap().status(), 200, "{declared} {observes}");
        for (route, content) in [("rotation", content.as_str()), ("revocation", "")] {
            let url = format!("{endpoint}/{route}");
            let response = own.post(&url).body(content.to_owned()).send().await.unwrap();
            let refusal = Refusal::check(response).await.unwrap_err();
            assert_eq!(refusal.code, Code::RegistryUnavailable, "{declared} {observes} {route}");
            assert!(refusal.retry_after.is_some());
        }
        serving.abort();
    }
}
