//! Routes that are declared, over real sockets: what each asks for, what it gets, and that nothing gets around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, extract::Path, routing::get};
use countersign_server::{
    Access, BadRoute, Caller, Proof, Publishable, Require, Route, RouteTable, Routes, SignedBy,
    VerifiedBody,
};
use countersign_store::{MemoryKeys, Scope, Scopes, State};
use harness::{Answer, NOW, Raw, Service, TestClock, credential, exchange, key, verifier};
use http::{Method, Request};
use tower::{Layer as _, ServiceExt as _};

const READ: Scope = Scope::from_static("orders:read");
const WRITE: Scope = Scope::from_static("orders:write");

/// Key 1 may read and write, 2 read, and 3 has no scope. 4 is quarantined, with all scopes.
fn keys() -> MemoryKeys {
    let keys = MemoryKeys::default();
    let scopes = [
        Scopes::from([READ, WRITE]),
        Scopes::from([READ]),
        Scopes::default(),
        Scopes::from([READ, WRITE]),
    ];
    for (number, scopes) in (1..).zip(scopes) {
        let state = if number == 4 { State::Quarantined } else { State::Active };
        let mut credential = credential(i64::from(number), &key(number), state);
        credential.expires_at = None;
        credential.scopes = scopes;
        keys.insert(credential).unwrap();
    }
    keys
}

/// Routes whose handlers count their runs, and say who called.
fn routes(handled: &Arc<AtomicUsize>) -> Routes {
    let count = || {
        let handled = Arc::clone(handled);
        move || {
            handled.fetch_add(1, Ordering::SeqCst);
        }
    };
    let open = count();
    let read = || {
        let count = count();
        async move |Publishable(caller): Publishable| {
            count();
            how(&caller)
        }
    };
    let signed = || {
        let count = count();
        async move |SignedBy(caller): SignedBy| {
            count();
            caller.credential().label.to_string()
        }
    };
    let one = count();
    let undeclared = read();
    let own = Routes::new()
        .route(Route::read("/"), read())
        .route(Route::signed(Method::DELETE, "/{id}").scope(WRITE), signed());
    Routes::new()
        .route(Route::read("/v1/orders").scope(READ), read())
        .route(Route::signed(Method::POST, "/v1/orders").scope(READ).scope(WRITE), signed())
        .route(
            Route::signed(Method::GET, "/v1/orders/{id}"),
            async move |Path(id): Path<String>, SignedBy(_): SignedBy| {
                one();
                id
            },
        )
        .route(Route::insecure_open(Method::POST, "/hook"), async move || {
            open();
            "taken"
        })
        .nest("/v1/stores", own)
        .undeclared(Router::new().route("/v1/other", get(undeclared.clone()).post(undeclared)))
}

fn how(caller: &Caller) -> String {
    match caller.proof() {
        Proof::Publishable => "publishable".into(),
        Proof::Signed => "signed".into(),
    }
}

async fn start() -> Service {
    let (clock, handled) = (TestClock::default(), Arc::default());
    let verifier = verifier(&clock, keys(), Service::nonces());
    let app = verifier.protect(routes(&handled)).unwrap();
    Service::serve(clock, app, handled).await
}

fn read(target: &str, number: u8) -> Raw {
    Raw::read().target(target).add("X-Api-Key", key(number).publishable_key().to_string())
}

fn signed(method: &str, target: &str, number: u8) -> Raw {
    Raw::read().method(method).target(target).signed_by(key(number), NOW)
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

#[tokio::test]
async fn each_route_asks_for_what_was_declared_and_nothing_less() {
    let service = start().await;
    let plain = |method: &str, target: &str| Raw::read().method(method).target(target);
    let cases = [
        // A read opens with either half, and only with the scope; who did not sign is not told that it is the scope.
        (read("/v1/orders", 1), 200, ""),
        (read("/v1/orders", 2), 200, ""),
        (read("/v1/orders", 3), 401, "key-unknown"),
        (signed("GET", "/v1/orders", 2), 200, ""),
        (signed("GET", "/v1/orders", 3), 403, "key-forbidden"),
        (plain("GET", "/v1/orders"), 401, "key-required"),
        // With content, or a field that overrides its method, a read is none.
        (read("/v1/orders", 1).body(b"{}"), 401, "signature-required"),
        (read("/v1/orders", 1).add("X-HTTP-Method-Override", "DELETE"), 401, "signature-required"),
        // A write needs the signature, and both scopes.
        (signed("POST", "/v1/orders", 1), 200, ""),
        (signed("POST", "/v1/orders", 2), 403, "key-forbidden"),
        (signed("POST", "/v1/orders", 3), 403, "key-forbidden"),
        (signed("POST", "/v1/orders", 4), 401, "key-quarantined"),
        (read("/v1/orders", 1).method("POST"), 401, "signature-required"),
        // A read that is declared as signed is not opened by a publishable key.
        (read("/v1/orders/7", 1), 401, "signature-required"),
        (signed("GET", "/v1/orders/7", 3), 200, ""),
        (read("/v1/orders/", 1), 404, ""),
        // Open is open, for what is unsigned or signed well.
        (plain("POST", "/hook").body(b"anything"), 200, ""),
        (plain("GET", "/hook"), 401, "key-required"),
        (plain("POST", "/hook").forged(&key(1)), 401, "signature-invalid"),
        // Below a prefix.
        (read("/v1/stores", 3), 200, ""),
        (signed("DELETE", "/v1/stores/4", 1), 200, ""),
        (signed("DELETE", "/v1/stores/4", 2), 403, "key-forbidden"),
        (read("/v1/stores/4", 1).method("DELETE"), 401, "signature-required"),
        // What nobody declared is safe.
        (read("/v1/other", 3), 200, ""),
        (read("/v1/other", 3).method("POST"), 401, "signature-required"),
        (plain("GET", "/v1/other"), 401, "key-required"),
        (read("/v1/nowhere", 3), 404, ""),
    ];
    for (request, status, code) in cases {
        let before = service.handled();
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request:?}");
        let ran = usize::from(status == 200);
        assert_eq!(service.handled(), before + ran, "{request:?}");
    }
    let head = send(&service, &read("/v1/orders/7", 1).method("HEAD")).await;
    assert_eq!(head.status, 401, "HEAD of what is declared for GET");
    let head = send(&service, &signed("HEAD", "/v1/orders/7", 1)).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn what_lacks_a_scope_uses_up_no_nonce_and_is_told_only_to_who_signed() {
    let service = start().await;
    let request = signed("POST", "/v1/orders", 2);
    for _ in 0..2 {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "key-forbidden"));
        assert!(answer.body.contains("orders:write"), "{answer:?}");
    }
    let forged = Raw::read().method("POST").forged(&key(2));
    let answer = send(&service, &forged).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature-invalid"));
    assert!(!answer.body.contains("orders:"), "{answer:?}");
}

#[tokio::test]
async fn a_handler_asks_once_more_behind_a_verifier_that_knows_no_routes() {
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&handled);
    let handler = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "done" }
    };
    let app = Router::new()
        .route("/scoped", get(handler.clone()).route_layer(Require::signed().scope(WRITE)))
        .route("/read", get(handler).route_layer(Require::publishable().scope(READ)))
        .layer(verifier(&clock, keys(), Service::nonces()).layer());
    let service = Service::serve(clock, app, handled).await;
    for (request, status) in [
        (read("/scoped", 1), 401),
        (signed("GET", "/scoped", 2), 403),
        (signed("GET", "/scoped", 1), 200),
        (read("/read", 3), 401),
        (read("/read", 2), 200),
        (signed("GET", "/read", 2), 200),
    ] {
        assert_eq!(send(&service, &request).await.status, status, "{request:?}");
    }
    assert_eq!(service.handled(), 3);
}

#[tokio::test]
async fn a_layer_of_the_routes_stands_inside_the_verifier_around_those_that_were_there() {
    let (clock, handled) = (TestClock::default(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&handled);
    let count = tower::util::MapRequestLayer::new(move |request: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        request
    });
    let other = || Router::new().route("/v1/other", get(async || "other"));
    let routes = Routes::new()
        .route(Route::read("/v1/orders"), async || "orders")
        .route(Route::signed(Method::POST, "/v1/orders"), async || "ordered")
        .undeclared(other())
        .layer(Require::publishable().scope(READ))
        .layer(count)
        .route(Route::read("/v1/later"), async || "later");
    let app = verifier(&clock, keys(), Service::nonces()).protect(routes).unwrap();
    let service = Service::serve(clock, app, handled).await;
    let cases = [
        (read("/v1/orders", 2), 200, 1),
        (read("/v1/orders", 3), 401, 1),
        (signed("POST", "/v1/orders", 2), 200, 1),
        (signed("POST", "/v1/orders", 3), 403, 1),
        (read("/v1/other", 2), 200, 1),
        (read("/v1/other", 3), 401, 1),
        // The verifier refuses before.
        (read("/v1/orders", 2).method("POST"), 401, 0),
        (Raw::read().target("/v1/other"), 401, 0),
        // Added after it.
        (read("/v1/later", 3), 200, 0),
        (read("/v1/nowhere", 3), 404, 0),
    ];
    for (request, status, passed) in cases {
        let before = service.handled();
        let answer = send(&service, &request).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(service.handled(), before + passed, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_declared_with_a_wildcard_lowers_nothing_that_is_not_declared() {
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&handled);
    let handler = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "done" }
    };
    let own = |path: &str| Router::new().route(path, get(handler.clone()).post(handler.clone()));
    let routes = Routes::new()
        .route(Route::insecure_open(Method::GET, "/{*page}"), handler.clone())
        .route(Route::insecure_open(Method::POST, "/open/{x}"), handler.clone())
        .route(Route::signed(Method::POST, "/off/{x}").insecure_off(), handler.clone())
        .route(Route::signed(Method::POST, "/observed/{x}").insecure_observe(), handler.clone())
        .undeclared(own("/secret"))
        .undeclared(own("/open/secret"))
        .undeclared(own("/off/secret"))
        .undeclared(own("/observed/secret"))
        .undeclared(own("/health"));
    let verifier = verifier(&clock, keys(), Service::nonces()).insecure_open_path("/health");
    let service = Service::serve(clock, verifier.protect(routes).unwrap(), handled).await;
    let plain = |method: &str, target: &str| Raw::read().method(method).target(target);
    for (request, status, code) in [
        (plain("GET", "/page"), 200, ""),
        (plain("POST", "/open/x"), 200, ""),
        (plain("POST", "/off/x"), 200, ""),
        (plain("POST", "/observed/x"), 200, ""),
        (plain("GET", "/secret"), 401, "key-required"),
        (read("/secret", 1), 200, ""),
        (signed("GET", "/secret", 1), 200, ""),
        (plain("POST", "/secret"), 401, "signature-required"),
        (plain("POST", "/open/secret"), 401, "signature-required"),
        (plain("POST", "/off/secret"), 401, "signature-required"),
        (signed("POST", "/off/secret", 1), 200, ""),
        (plain("POST", "/observed/secret"), 401, "signature-required"),
        (plain("POST", "/observed/secret").forged(&key(1)), 401, "signature-invalid"),
        (signed("POST", "/observed/secret", 1), 200, ""),
        (plain("POST", "/health"), 200, ""),
    ] {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request:?}");
    }
    assert_eq!(service.handled(), 9);
}

#[tokio::test]
async fn a_service_that_routes_by_itself_is_protected_by_the_table_of_its_routes() {
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let table = routes(&handled).table().unwrap();
    let counted = Arc::clone(&handled);
    let service = verifier(&clock, keys(), Service::nonces()).routes(table).layer().layer(
        tower::service_fn(move |_: http::Request<VerifiedBody<Body>>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())) }
        }),
    );
    for (request, status) in [
        (read("/v1/orders", 2), 200),
        (read("/v1/orders", 3), 401),
        (signed("POST", "/v1/orders", 1), 200),
        (signed("POST", "/v1/orders", 2), 403),
        (read("/v1/orders/7", 1), 401),
        (signed("GET", "/v1/orders/7", 3), 200),
        (signed("HEAD", "/v1/orders/7", 3), 200),
        (read("/v1/orders/7", 1).method("HEAD"), 401),
        (Raw::read().method("POST").target("/hook"), 200),
        (Raw::read().target("/hook"), 401),
        (signed("DELETE", "/v1/stores/4", 2), 403),
        (signed("DELETE", "/v1/stores/4", 1), 200),
        (read("/v1/other", 3), 200),
        (read("/v1/other", 3).method("POST"), 401),
    ] {
        let response = service.clone().oneshot(request.request()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{request:?}");
    }
    assert_eq!(handled.load(Ordering::SeqCst), 7);
}

#[test]
fn every_route_is_listed_with_what_it_asks_for() {
    let table = routes(&Arc::default()).table().unwrap();
    let listed: Vec<_> =
        table.iter().map(|route| (route.method().as_str(), route.path(), route.access())).collect();
    assert_eq!(
        listed,
        [
            ("GET", "/v1/orders", Access::Publishable),
            ("POST", "/v1/orders", Access::Signed),
            ("GET", "/v1/orders/{id}", Access::Signed),
            ("POST", "/hook", Access::Open),
            ("GET", "/v1/stores", Access::Publishable),
            ("DELETE", "/v1/stores/{id}", Access::Signed),
        ]
    );
    let text = table.to_string();
    let mut lines = text.lines();
    let second = lines.nth(1).unwrap();
    assert_eq!(
        second.split_whitespace().collect::<Vec<_>>(),
        ["POST", "/v1/orders", "signed", "orders:read", "orders:write"]
    );
    assert!(lines.last().unwrap().starts_with("other"), "{text}");
}

#[test]
fn routes_that_cannot_be_served_together_are_named() {
    let signed = |path: &str| Route::signed(Method::POST, path);
    for (routes, named) in [
        (vec![signed("/a"), Route::read("/a"), signed("/a").scope(READ)], "POST /a is declared"),
        (vec![signed("/a/{x}"), signed("/a/{y}")], "POST /a/{y} cannot"),
        (vec![signed("a")], "POST a cannot"),
        (vec![signed("/a/{")], "POST /a/{ cannot"),
        (vec![signed("/a/:x")], "POST /a/:x cannot"),
        (vec![signed("/a/*x")], "POST /a/*x cannot"),
        (vec![Route::signed(Method::CONNECT, "/a")], "CONNECT /a is not one of"),
        (vec![Route::insecure_open(Method::GET, "/a").scope(READ)], "GET /a is open"),
    ] {
        let error: BadRoute = RouteTable::new(routes).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(RouteTable::new([signed("/a"), Route::read("/a"), signed("/{other}")]).is_ok());
}
