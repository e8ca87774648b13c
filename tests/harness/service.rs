use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router, body::Bytes, extract::Request, http::StatusCode, middleware::map_request,
    routing::get,
};
use countersign::{Origins, PrivateKey, Timestamp, Window};
use countersign_server::{Publishable, Require, Signed, SignedBy, Verifier, serve};
use countersign_store::{
    Application, ClientAddress, Credential, CredentialId, Gate, KeyStore, MemoryKeys, MemoryNonces,
    State,
};
use tokio::net::TcpListener;

/// The time at which everything is signed and checked.
pub const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// What is served.
pub(crate) const ORIGINS: [&str; 2] = ["https://api.example.com", "https://b.example.com"];

/// A clock that moves when it is told to.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(NOW.unix())))
    }
}

impl TestClock {
    /// Sets it this many seconds from [`NOW`].
    pub fn set(&self, from_now: i64) {
        self.0.store(NOW.unix().checked_add_signed(from_now).unwrap(), Ordering::SeqCst);
    }

    /// The time for what goes by a clock that starts anywhere.
    pub fn monotonic(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let clock = self.clone();
        move || Duration::from_secs(clock.now().unix())
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }
}

/// Registered keys: 1 is active, 2 revoked, 3 expired, 4 quarantined, 5 another active one. 9 is nobody's.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::ed25519(&[number; 32])
}

/// A credential of the application `shop`.
pub fn credential(number: i64, key: &PrivateKey, state: State) -> Credential {
    let application = Application::new("shop".parse().unwrap(), "test".parse().unwrap(), NOW);
    Credential::new(CredentialId::new(number), application, key.verifying_key(), NOW)
        .with_label(format!("key {number}").parse().unwrap())
        .with_state(state)
        .with_expires_at((number == 3).then_some(NOW))
}

/// A service on a free port, until it is dropped.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    /// How often a handler ran.
    pub handled: Arc<AtomicUsize>,
    /// Its clock.
    pub clock: TestClock,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Service {
    /// With the keys of [`key`], and a replay guard that is warm.
    pub async fn start() -> Self {
        Self::start_with(Self::keys(), Self::nonces(), |verifier| verifier).await
    }

    /// The keys of [`key`].
    pub fn keys() -> MemoryKeys {
        let keys = MemoryKeys::default();
        let states =
            [State::Active, State::Revoked, State::Active, State::Quarantined, State::Active];
        for (number, state) in (1..).zip(states) {
            keys.insert(credential(i64::from(number), &key(number), state)).unwrap();
        }
        let hmac = PrivateKey::hmac_sha256([6; 16], &[6; 32]).unwrap();
        keys.insert(credential(6, &hmac, State::Active)).unwrap();
        keys
    }

    /// A replay guard that started long ago.
    pub fn nonces() -> MemoryNonces {
        let started = NOW.minus(Duration::from_secs(3600));
        MemoryNonces::volatile(Window::default(), started).unwrap()
    }

    /// With these stores, and a verifier that is changed in some way.
    pub async fn start_with<K: KeyStore, G: Gate>(
        keys: K,
        gate: G,
        change: impl FnOnce(Verifier<K, G>) -> Verifier<K, G>,
    ) -> Self {
        Self::start_by(TestClock::default(), keys, gate, change).await
    }

    /// As [`Service::start_with`], by a clock that others go by as well. A request comes from the address that it has in its
    /// field `Test-From`, if it has one.
    pub async fn start_by<K: KeyStore, G: Gate>(
        clock: TestClock,
        keys: K,
        gate: G,
        change: impl FnOnce(Verifier<K, G>) -> Verifier<K, G>,
    ) -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let verifier = change(verifier(&clock, keys, gate));
        let app = router(Arc::clone(&handled)).layer(verifier.layer());
        Self::serve(clock, app, handled).await
    }

    /// A finished app that goes by this clock and counts what it handles.
    pub async fn serve(clock: TestClock, app: Router, handled: Arc<AtomicUsize>) -> Self {
        let app = app.layer(map_request(from_test_field));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, app, std::future::pending()));
        Self { address, handled, clock, serving }
    }

    /// How often a handler ran.
    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

/// A verifier of two origins, by this clock.
pub fn verifier<K: KeyStore, G: Gate>(clock: &TestClock, keys: K, gate: G) -> Verifier<K, G> {
    let origins = Origins::new(ORIGINS.map(|origin| origin.parse().unwrap())).unwrap();
    let time = clock.clone();
    Verifier::new(origins, keys, gate).clock(move || time.now())
}

/// As an operator's own layer would, who knows better than the socket.
async fn from_test_field(mut request: Request) -> Request {
    if let Some(from) = request.headers_mut().remove("test-from") {
        let address: IpAddr = from.to_str().unwrap().parse().unwrap();
        request.extensions_mut().insert(ClientAddress::from(address));
    }
    request
}

/// The handlers, each of which counts its runs; the same once more nested under `/api` and `/api/deep`.
pub fn router(handled: Arc<AtomicUsize>) -> Router {
    let routes = || {
        let counted = handled.clone();
        let count = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let (read, write, secret, plain) =
            (count.clone(), count.clone(), count.clone(), count.clone());
        let raised = count.clone();
        Router::new()
            .route(
                "/v1/orders",
                get(async move |Publishable(caller): Publishable| {
                    read();
                    format!("orders of {}\n", caller.application().name)
                })
                .post(
                    async move |Signed(caller, Json(order)): Signed<Json<serde_json::Value>>| {
                        write();
                        (StatusCode::CREATED, format!("{}: {order}\n", caller.credential().label))
                    },
                ),
            )
            .route(
                "/v1/secret",
                get(async move |SignedBy(caller): SignedBy| {
                    secret();
                    format!("a secret of {}\n", caller.application().name)
                }),
            )
            .route(
                "/v1/raised",
                get(async move || {
                    raised();
                    "raised\n"
                })
                .route_layer(Require::signed()),
            )
            .route(
                "/v1/plain",
                axum::routing::any(async move |content: Bytes| {
                    plain();
                    content
                }),
            )
            .route("/health", get(async || "well\n").post(async || "well\n"))
    };
    let deep = Router::new().nest("/deep", routes());
    routes().nest("/api", routes().merge(deep))
}
