//! Tests a service behind a verifier, in one process and without a socket: a key and its credential, stores, a clock, and
//! requests that are signed.
//!
//! Add this crate to the `[dev-dependencies]` of a service, never to its dependencies: its private key is public.
//!
//! ```
//! use axum::{Json, Router, routing::post};
//! use countersign_server::{Signed, Verifier};
//! use countersign_test::{guard, keys, origins, signed};
//! use http::{Request, header::CONTENT_TYPE};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let add = async |Signed(_, Json(order)): Signed<Json<u32>>| format!("ordered {order}");
//! let verifier = Verifier::new(origins(), keys(), guard());
//! let app = Router::new().route("/v1/orders", post(add)).layer(verifier.layer());
//! let order = Request::post("/v1/orders").header(CONTENT_TYPE, "application/json").body("7").unwrap();
//! let response = app.oneshot(signed(order)).await.unwrap();
//! assert_eq!(response.status(), 200);
//! # }
//! ```
//!
//! Let your service take its stores and its origins as arguments, so that a test can pass these. Use [`FailingStore`] to
//! test the service without a store, and [`TestClock`] to move its time:
//!
//! ```
//! # use axum::{Router, routing::get};
//! # use countersign_server::{Publishable, Verifier};
//! # use countersign_test::{FailingStore, NOW, TestClock, guard_at, keys, origins, signed_at, with_publishable_key};
//! # use http::{Request, StatusCode};
//! # use tower::ServiceExt as _;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = TestClock::default();
//! let time = clock.clone();
//! let verifier = Verifier::new(origins(), keys(), guard_at(NOW)).clock(move || time.now());
//! let app = Router::new().route("/v1/orders", get(async || "none")).layer(verifier.layer());
//! let read = || Request::get("/v1/orders").body("").unwrap();
//!
//! let early = signed_at(read(), clock.now());
//! clock.advance(std::time::Duration::from_secs(600));
//! assert_eq!(app.clone().oneshot(early).await.unwrap().status(), StatusCode::UNAUTHORIZED);
//! let unsigned = with_publishable_key(read());
//! assert_eq!(app.oneshot(unsigned).await.unwrap().status(), StatusCode::OK);
//!
//! let away = Verifier::new(origins(), FailingStore, guard_at(NOW)).layer();
//! let app = Router::new().route("/v1/orders", get(async || "none")).layer(away);
//! let unsigned = with_publishable_key(read());
//! assert_eq!(app.oneshot(unsigned).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
//! # }
//! ```
//!
//! Requests come from [`address`], as behind `serve`. Put another `ClientAddress` into the extensions of a request to test
//! limits and restrictions by address:
//!
//! ```
//! # use axum::{Router, routing::get};
//! # use countersign_server::Verifier;
//! # use countersign_test::{credential, guard, keys_with, origins, with_publishable_key};
//! # use http::Request;
//! # use std::net::IpAddr;
//! # use tower::ServiceExt as _;
//! use countersign_store::{ClientAddress, Restriction, RestrictionKind, Restrictions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let office = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
//! let restricted = credential().with_restrictions(Restrictions::default().with(office));
//! let verifier = Verifier::new(origins(), keys_with(restricted), guard());
//! let app = Router::new().route("/v1/orders", get(async || "none")).layer(verifier.layer());
//!
//! let here = with_publishable_key(Request::get("/v1/orders").body("").unwrap());
//! assert_eq!(app.clone().oneshot(here).await.unwrap().status(), 200);
//! let elsewhere = ClientAddress::from("203.0.113.7".parse::<IpAddr>().unwrap());
//! let there = Request::get("/v1/orders").extension(elsewhere).body("").unwrap();
//! assert_eq!(app.oneshot(with_publishable_key(there)).await.unwrap().status(), 401);
//! # }
//! ```
//!
//! For a client crate of your API, serve such a router on a free port, with `countersign_server::serve` and the origin of that port in
//! the place of [`origins`].
//!
//! To call a handler as a function, pass it [`caller`] or [`signed_caller`]: `add(Signed(signed_caller(), Json(7)))`.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on fails; each function says when"
)]

mod clock;
mod failing_store;
mod request;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use countersign::{NonceUse, Origins, PrivateKey, Timestamp, Window};
use countersign_server::{Caller, SignedCaller};
use countersign_store::{
    Application, ApplicationName, ClientAddress, Credential, CredentialId, Environment, MemoryKeys,
    MemoryNonces, system_time,
};

pub use self::{
    clock::TestClock,
    failing_store::FailingStore,
    request::{signed, signed_at, signed_by, with_publishable_key},
};

/// The time at which a [`TestClock`] starts.
pub const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// The origin of requests without a host.
pub const ORIGIN: &str = "https://api.example.com";

/// [`ORIGIN`], as the origins of a verifier.
pub fn origins() -> Origins {
    let origin = ORIGIN.parse().expect("the origin is one");
    Origins::new([origin]).expect("there is one origin")
}

/// The private key of the test's caller: Ed25519, the same in every test, and no secret. A registry refuses it.
pub fn key() -> PrivateKey {
    PrivateKey::ed25519(b"countersign-test: no secret key.")
}

/// The active credential of [`key`]: number 1, of the application `shop` in the environment `test`, without scopes and
/// restrictions. Its setters change it, as in `credential().with_state(State::Revoked)`.
pub fn credential() -> Credential {
    const SHOP: ApplicationName = ApplicationName::from_static("shop");
    const TEST: Environment = Environment::from_static("test");
    Credential::new(
        CredentialId::new(1),
        Application::new(SHOP, TEST, NOW),
        key().verifying_key(),
        NOW,
    )
    .with_label("test".parse().expect("the label is one"))
}

/// A key store with [`credential`] alone.
pub fn keys() -> MemoryKeys {
    keys_with(credential())
}

/// A key store with this credential alone.
pub fn keys_with(credential: Credential) -> MemoryKeys {
    let keys = MemoryKeys::default();
    keys.insert(credential).expect("an empty store has room");
    keys
}

/// A fresh replay guard by the system's clock. It refuses replays and accepts all other requests.
///
/// Never start a service with this guard: it accepts requests that an earlier guard has accepted already.
///
/// # Panics
///
/// If the system has no randomness.
pub fn guard() -> MemoryNonces {
    guard_at(system_time())
}

/// As [`guard`], for a test whose time is `now`.
///
/// # Panics
///
/// If the system has no randomness.
pub fn guard_at(now: Timestamp) -> MemoryNonces {
    // A guard refuses its first seconds. This one pretends to be an hour old.
    let started = now.minus(Duration::from_secs(3600));
    MemoryNonces::volatile(Window::default(), started).expect("the system has randomness")
}

/// The client address of test requests: 192.0.2.1. [`signed`] and [`with_publishable_key`] put it into the extensions of a
/// request, as `serve` does.
pub fn address() -> ClientAddress {
    ClientAddress::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
}

/// The caller of an unsigned read with the publishable key of [`credential`], to call a handler with.
pub fn caller() -> Caller {
    Caller::for_test(credential(), None)
}

/// The caller of a request signed with [`key`], to call a handler with.
///
/// ```
/// use countersign_server::SignedBy;
/// use countersign_test::signed_caller;
///
/// async fn secret(SignedBy(caller): SignedBy) -> String {
///     caller.application().name.to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(secret(SignedBy(signed_caller())).await, "shop");
/// # }
/// ```
///
/// # Panics
///
/// If the system has no randomness.
pub fn signed_caller() -> SignedCaller {
    SignedCaller::for_test(credential(), NonceUse::new(1, NOW, request::nonce()))
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::Arc};

    use axum::{Json, Router, routing::get};
    use countersign_server::{Proof, Publishable, Signed, SignedBy, Verifier};
    use countersign_store::{
        ClientNetwork, Limited, Limits, MemoryBudget, Quota, Readiness, State,
    };
    use http::{Request, StatusCode, header::CONTENT_TYPE};
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn no_registry_takes_the_key_of_these_tests() {
        assert!(key().verifying_key().require_secret().is_err());
    }

    async fn add(Signed(caller, Json(order)): Signed<Json<u32>>) -> String {
        format!("{} {order}", caller.credential().label)
    }

    async fn list(Publishable(caller): Publishable) -> String {
        format!("{:?}", caller.proof())
    }

    fn app(verifier: Verifier<MemoryKeys, impl countersign_store::Gate>) -> Router {
        Router::new().route("/v1/orders", get(list).post(add)).layer(verifier.layer())
    }

    fn order(uri: &str) -> Request<&'static str> {
        Request::post(uri).header(CONTENT_TYPE, "application/json").body("7").unwrap()
    }

    async fn status(app: &Router, request: Request<http_body_util::Full<bytes::Bytes>>) -> u16 {
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn what_is_signed_is_accepted_once_and_what_is_not_is_refused() {
        let app = app(Verifier::new(origins(), keys(), guard()));
        let forms = [
            "/v1/orders",
            "https://api.example.com/v1/orders",
            "https://API.example.com:443/v1/orders",
        ];
        for uri in forms {
            let signed = signed(order(uri));
            assert_eq!(status(&app, signed.clone()).await, 200, "{uri}");
            assert_eq!(status(&app, signed).await, 401, "{uri}");
        }
        assert_eq!(status(&app, with_publishable_key(order("/v1/orders"))).await, 401);
        let read = || Request::get("/v1/orders?page=2").body("").unwrap();
        assert_eq!(status(&app, with_publishable_key(read())).await, 200);
        assert_eq!(status(&app, signed(read())).await, 200);
        let stranger = PrivateKey::ed25519(&[8; 32]);
        assert_eq!(status(&app, signed_by(stranger, read(), system_time())).await, 401);
        let elsewhere = signed(order("https://other.example/v1/orders"));
        assert_eq!(status(&app, elsewhere).await, 421);
        let plain = signed(order("http://api.example.com/v1/orders"));
        assert_eq!(status(&app, plain).await, 200, "the scheme is covered by nothing");
    }

    #[tokio::test]
    async fn a_test_has_the_time_the_credential_and_the_limits_that_it_wants() {
        let clock = TestClock::default();
        let time = clock.clone();
        let quota = Quota::per_minute(NonZeroU32::MIN);
        let gate = Limited::new(guard_at(NOW), Limits::default().signed([quota]));
        let failures: Option<MemoryBudget<ClientNetwork>> = MemoryBudget::new("failures", [quota]);
        let verifier = Verifier::new(origins(), keys(), gate.clock(clock.monotonic()))
            .clock(move || time.now())
            .failure_limit(failures.map(|budget| budget.clock(clock.monotonic())));
        let app = app(verifier);
        let now = || signed_at(order("/v1/orders"), clock.now());
        assert_eq!(status(&app, now()).await, 200);
        assert_eq!(status(&app, now()).await, 429);
        let early = now();
        clock.advance(Duration::from_secs(71));
        assert_eq!(status(&app, early).await, 401);
        assert_eq!(status(&app, now()).await, 200);
        clock.set(NOW);
        assert_eq!(clock.now(), NOW);

        let revoked = keys_with(credential().with_state(State::Revoked));
        let app = self::app(Verifier::new(origins(), revoked, guard()));
        let response = app.oneshot(signed(order("/v1/orders"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn two_verifiers_share_one_gate() {
        let quota = Quota::per_minute(NonZeroU32::new(2).unwrap());
        let gate = Arc::new(Limited::new(guard(), Limits::default().signed([quota])));
        let [one, other] =
            [(); 2].map(|()| app(Verifier::new(origins(), keys(), Arc::clone(&gate))));
        let first = signed(order("/v1/orders"));
        assert_eq!(status(&one, first.clone()).await, 200);
        assert_eq!(status(&other, first).await, 401, "its nonce is used");
        assert_eq!(status(&other, signed(order("/v1/orders"))).await, 200);
        assert_eq!(status(&one, signed(order("/v1/orders"))).await, 429);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_answered_with_503() {
        let read = || with_publishable_key(Request::get("/v1/orders").body("").unwrap());
        let away = Verifier::new(origins(), FailingStore, guard()).layer();
        let app = Router::new().route("/v1/orders", get(list).post(add)).layer(away);
        assert_eq!(status(&app, signed(order("/v1/orders"))).await, 503);
        assert_eq!(status(&app, read()).await, 503);
        let app = self::app(Verifier::new(origins(), keys(), FailingStore));
        assert_eq!(status(&app, signed(order("/v1/orders"))).await, 503);
        assert_eq!(status(&app, read()).await, 200);
        assert!(FailingStore.ready_at(NOW).await.is_err());
        assert!(guard().ready_at(system_time()).await.unwrap() <= system_time());
        assert!(MemoryNonces::durable(Window::default(), FailingStore, NOW).await.is_err());
    }

    #[tokio::test]
    async fn a_handler_is_called_as_a_function() {
        assert_eq!(add(Signed(signed_caller(), Json(7))).await, "test 7");
        assert_eq!(list(Publishable(caller())).await, "Publishable");
        let SignedBy(one) = SignedBy(signed_caller());
        assert_ne!(one.nonce_use().nonce(), signed_caller().nonce_use().nonce());
        assert_eq!(one.application().name, "shop");
        let nonce_use = *one.nonce_use();
        assert_eq!(Caller::for_test(credential(), Some(nonce_use)).proof(), Proof::Signed);
    }
}
