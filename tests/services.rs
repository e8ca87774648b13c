//! Services that know nothing of axum: who calls them, and what they answer to whom they do not know well enough.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    convert::Infallible,
    error::Error,
    fmt::Debug,
    future::{Ready, poll_fn, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    routing::{any, get},
};
use bytes::Bytes;
use countersign::{KEY_DIRECTORY_PATH, Origins, ResponseSigner, TARGET_OVERRIDES};
use countersign_server::{
    Caller, ForwardedFields, Ingress, Proxies, Require, Route, RouteTable, Routes, ServedBody,
    SignResponses, SignedBy, SignedCaller, Verifier, serve,
};
use harness::{
    Answer, Http2, Outcome, Raw, Service, TestClock, exchange, exchange_http1, exchange_http2, key,
    verifier,
};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, decompression::RequestDecompressionLayer,
    limit::RequestBodyLimitLayer,
};

type Reply = Response<Full<Bytes>>;

/// Says who called, and how much content there is for whoever signed it.
async fn reply<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Reply, Reply> {
    let text = match request.uri().path() {
        "/signed" => {
            let caller = SignedCaller::of(&request)?;
            let Ok(content) = request.into_body().collect().await else {
                return Ok(Response::new(Full::from("broken")));
            };
            format!("{} {}", caller.credential().label, content.to_bytes().len())
        }
        _ => format!("{:?}", Caller::of(&request)?.proof()),
    };
    Ok(Response::new(Full::from(text)))
}

async fn always<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Reply, Infallible> {
    Ok(reply(request).await.unwrap_or_else(|refusal| refusal))
}

async fn send(address: SocketAddr, request: &Raw) -> Answer {
    exchange(address, &request.bytes()).await
}

#[tokio::test]
async fn a_plain_service_gets_its_caller_or_the_answer_to_give() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces())
        .insecure_open_path("/open");
    let service = verifier.layer().layer(service_fn(always));
    tokio::spawn(serve(listener, service, std::future::pending()));

    let publishable = key(1).publishable_key().to_string();
    let shown = |target: &str| Raw::read().target(target).add("X-Api-Key", &publishable);
    let label = send(address, &Raw::order().target("/signed").signed()).await.body;
    assert!(label.ends_with(" 15"), "{label}");
    for (request, proof) in [
        (shown("/known"), "Publishable"),
        (Raw::read().target("/known").signed(), "Signed"),
        (Raw::read().target("/open").signed(), "Signed"),
    ] {
        let answer = send(address, &request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, proof));
    }
    for (request, code) in [
        (shown("/signed"), "signature-required"),
        (Raw::order().target("/signed"), "signature-required"),
        (Raw::order().target("/signed").forged(&key(1)), "signature-invalid"),
        (Raw::order().target("/signed").signed().body(b"changed"), "digest-mismatch"),
        (Raw::read().target("/known"), "key-required"),
        (Raw::read().target("/open"), "key-required"),
    ] {
        assert_eq!(send(address, &request).await.code(), code, "{request:?}");
    }
}

#[tokio::test]
async fn nobody_is_known_where_the_verifier_was_forgotten() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(always::<ServedBody>);
    tokio::spawn(serve(listener, service, std::future::pending()));
    for target in ["/signed", "/known"] {
        let answer = send(address, &Raw::order().target(target).signed()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "misconfigured"));
    }
}

/// Serves it without a verifier of the harness.
async fn served(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app, std::future::pending()));
    address
}

#[tokio::test]
async fn a_public_path_is_read_by_whoever_asks_under_whatever_name() {
    let routes = || {
        Router::new()
            .route("/health", get(async || "well").post(async || "changed"))
            .route("/who", get(async |SignedBy(_): SignedBy| "known"))
            .route("/v1/orders", get(async || "orders"))
    };
    let made = || {
        verifier(&TestClock::default(), Service::keys(), Service::nonces())
            .public_path("/health")
            .public_path("/who")
    };
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let proxies = Proxies::new(["127.0.0.0/8".parse().unwrap()], ForwardedFields::XForwarded);
    let ingress = Ingress::forwarded(origins, proxies.unwrap());
    let behind = Verifier::new(ingress, Service::keys(), Service::nonces()).public_path("/health");
    let apps = [
        routes().layer(made().layer()),
        made().protect(Routes::new().undeclared(routes())).unwrap(),
        routes().layer(behind.layer()),
    ];
    for app in apps {
        let address = served(app).await;
        for request in [
            "GET /health HTTP/1.0\r\n\r\n",
            "GET /health HTTP/1.0\r\nHost: 10.244.1.7:8080\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: 10.244.1.7:8080\r\nUser-Agent: kube-probe/1.33\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.1\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /health?full HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: evil.example\r\nX-Api-Key: pk_unknown\r\n\r\n",
            "GET http://10.0.0.1:8080/health HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\r\n",
        ] {
            let answer = exchange(address, request.as_bytes()).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "well"), "{request}");
        }
        let head = exchange(address, b"HEAD /health HTTP/1.1\r\n\r\n").await;
        assert_eq!(head.status, 200);
        let mut bare = Http2::default();
        for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/health")] {
            bare.add(name, value);
        }
        assert_eq!(exchange_http2(address, &bare).await.answer().status, 200);
        for (request, refused) in [
            ("POST /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n", [400, 400]),
            ("POST /health HTTP/1.1\r\nHost: 10.244.1.7\r\nContent-Length: 0\r\n\r\n", [421, 400]),
            ("GET /health/ HTTP/1.1\r\nHost: 10.244.1.7\r\n\r\n", [421, 400]),
            ("GET //health HTTP/1.1\r\nHost: 10.244.1.7\r\n\r\n", [400, 400]),
            ("GET /v1/orders HTTP/1.1\r\nHost: 10.244.1.7\r\n\r\n", [421, 400]),
            ("GET /v1/orders HTTP/1.1\r\n\r\n", [400, 400]),
            ("GET /v1/orders HTTP/1.0\r\nHost: api.example.com\r\n\r\n", [505, 505]),
            // The service can take this for a request of another method.
            (
                "GET /health HTTP/1.1\r\nHost: api.example.com\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
                [401, 400],
            ),
        ] {
            let answer = exchange(address, request.as_bytes()).await;
            assert!(refused.contains(&answer.status), "{request}: {answer:?}");
            assert!(answer.get("countersign-refusal").is_some(), "{request}: {answer:?}");
        }
    }
    // Nobody is known there, whoever signs.
    let address = served(routes().layer(made().layer())).await;
    let who = exchange(address, &Raw::read().target("/who").signed().bytes()).await;
    assert_eq!((who.status, who.code().as_str()), (500, "misconfigured"));
}

/// What a handler says that serves every path, of which `/health` alone is open to anyone.
#[tokio::test]
async fn a_public_path_opens_nothing_but_itself() {
    let verifier =
        verifier(&TestClock::default(), Service::keys(), Service::nonces()).public_path("/health");
    let reached = any(async |request: axum::extract::Request| {
        let hidden = TARGET_OVERRIDES.iter().all(|name| !request.headers().contains_key(name));
        assert!(hidden, "another target that nobody signed");
        "reached"
    });
    let address = served(Router::new().fallback(reached).layer(verifier.layer())).await;
    let host = "Host: 10.244.1.7:8080\r\n";
    let ours = "Host: api.example.com\r\n";
    let cases = [
        ("GET /health", host, true),
        ("GET /health", ours, true),
        ("GET /health", "", true),
        ("HEAD /health", host, true),
        ("GET /health?", host, true),
        ("GET /health?a=/../b", host, true),
        ("GET http://evil.example/health", "Host: evil.example\r\n", true),
        ("GET /health", "Host: a\r\nX-Original-URL: /v1/secret\r\n", true),
        ("HEAD /health", "Host: a\r\nX-Rewrite-URL: /v1/secret\r\n", true),
        ("POST /health", ours, false),
        ("PUT /health", ours, false),
        ("DELETE /health", ours, false),
        ("OPTIONS /health", ours, false),
        ("get /health", ours, false),
        ("GET /health", "Host: a\r\nX-HTTP-Method-Override: DELETE\r\n", false),
        ("GET /health/", ours, false),
        ("GET //health", ours, false),
        ("GET /health//", ours, false),
        ("GET /Health", ours, false),
        ("GET /HEALTH", ours, false),
        ("GET /health;v=1", ours, false),
        ("GET /health;", ours, false),
        ("GET /%68ealth", ours, false),
        ("GET /health%2f", ours, false),
        ("GET /health%00", ours, false),
        ("GET /health%3fa", ours, false),
        ("GET /./health", ours, false),
        ("GET /%2e/health", ours, false),
        ("GET /v1/../health", ours, false),
        ("GET /v1/%2e%2e/health", ours, false),
        ("GET /health/..", ours, false),
        ("GET /health/%2e%2e/v1/secret", ours, false),
        ("GET /health\\", ours, false),
        ("GET /healthy", ours, false),
        ("GET /heal", ours, false),
        ("GET /", ours, false),
        ("OPTIONS *", ours, false),
    ];
    for (line, fields, open) in cases {
        let request = format!("{line} HTTP/1.1\r\n{fields}Content-Length: 0\r\n\r\n");
        let answer = exchange(address, request.as_bytes()).await;
        let text = if line.starts_with("HEAD") { "" } else { "reached" };
        match open {
            true => assert_eq!((answer.status, answer.body.as_str()), (200, text), "{request}"),
            false => assert!(answer.status >= 400 && answer.body != "reached", "{request}"),
        }
    }
    for (path, open) in [("/health", true), ("/health/", false), ("/%68ealth", false)] {
        for (authority, scheme) in [("evil.example", "http"), ("api.example.com", "https")] {
            let mut request = Http2::default();
            for (name, value) in [
                (":method", "GET"),
                (":scheme", scheme),
                (":authority", authority),
                (":path", path),
            ] {
                request.add(name, value);
            }
            let answer = exchange_http2(address, &request).await.answer();
            assert_eq!(answer.body == "reached", open, "{path} {authority}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_public_path_needs_no_axum() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let verifier =
        verifier(&TestClock::default(), Service::keys(), Service::nonces()).public_path("/health");
    let well =
        service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("well"))));
    tokio::spawn(serve(listener, verifier.layer().layer(well), std::future::pending()));
    assert_eq!(exchange(address, b"GET /health HTTP/1.0\r\n\r\n").await.body, "well");
    assert_eq!(exchange(address, b"GET /other HTTP/1.1\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn a_response_that_may_have_no_content_has_none_over_either_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let well = service_fn(async |request: Request<ServedBody>| {
        let mut response = Response::new(Full::<Bytes>::from("well"));
        if request.uri().path() == "/same" {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Ok::<_, Infallible>(response)
    });
    tokio::spawn(serve(listener, well, std::future::pending()));
    let service = Service::start().await;
    for (address, target, method, status, has_content) in [
        (address, "/", "GET", 200, true),
        (address, "/", "HEAD", 200, false),
        (address, "/same", "GET", 304, false),
        (service.address, "/v1/orders", "GET", 401, true),
        (service.address, "/v1/orders", "HEAD", 401, false),
    ] {
        let request = Raw::read().target(target).method(method);
        let answers = [
            send(address, &request).await,
            exchange_http2(address, &request.http2()).await.answer(),
        ];
        for answer in &answers {
            assert_eq!(
                (answer.status, !answer.body.is_empty()),
                (status, has_content),
                "{answer:?}"
            );
        }
        if method == "HEAD" {
            let lengths = answers.each_ref().map(|answer| answer.get("content-length"));
            assert_eq!(lengths[0], lengths[1]);
            assert!(lengths[1].is_some_and(|length| length != "0"), "{answers:?}");
        }
    }
}

/// Responses of a handler, with content where there may be none, and lengths of all kinds.
async fn of_any_length<B: Body<Data = Bytes, Error: Debug>>(
    request: Request<B>,
) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    request.into_body().collect().await.unwrap();
    let (status, length, content) = match path.as_str() {
        "/none" => (204, None, "well"),
        "/none/empty" => (204, None, ""),
        "/none/length" => (204, Some("4"), "well"),
        "/none/zero" => (204, Some("0"), ""),
        "/same" => (304, None, "well"),
        "/same/empty" => (304, None, ""),
        "/same/length" => (304, Some("7"), ""),
        "/length" => (200, Some("7"), ""),
        "/empty" => (200, None, ""),
        _ => (200, None, "well"),
    };
    let mut response = Response::new(Full::from(content));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().extend(
        length.map(|length| (http::header::CONTENT_LENGTH, http::HeaderValue::from_static(length))),
    );
    Ok(response)
}

#[tokio::test]
async fn a_response_that_may_have_no_content_says_no_wrong_length_over_either_version() {
    async fn listening<S, C>(service: S) -> SocketAddr
    where
        S: tower::Service<Request<ServedBody>, Response = Response<C>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        C: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, service, std::future::pending()));
        address
    }
    let made = || verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let streamed = RouteTable::new(
        [Method::GET, Method::POST]
            .map(|method| Route::signed(method, "/{*any}").streamed(1 << 10)),
    );
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let key = countersign::PrivateKey::ed25519(&[8; 32]);
    let signing = SignResponses::new(origins, ResponseSigner::new(key).unwrap());
    let addresses = [
        ("plain", listening(service_fn(of_any_length)).await),
        ("verified", listening(made().layer().layer(service_fn(of_any_length))).await),
        (
            "streamed",
            listening(made().routes(streamed.unwrap()).layer().layer(service_fn(of_any_length)))
                .await,
        ),
        ("signed", listening(signing.layer(service_fn(of_any_length))).await),
    ];
    for (kind, address) in addresses {
        for (method, target, expected) in [
            ("GET", "/none", &[None][..]),
            ("GET", "/none/empty", &[None]),
            ("GET", "/none/length", &[None]),
            ("GET", "/none/zero", &[None]),
            ("POST", "/none", &[None]),
            ("POST", "/none/length", &[None]),
            ("HEAD", "/none/length", &[None]),
            ("GET", "/same", &[None]),
            ("HEAD", "/same", &[None]),
            ("GET", "/same/empty", &[None]),
            ("GET", "/same/length", &[Some("7"), None]),
            ("HEAD", "/", &[Some("4")]),
            ("HEAD", "/length", &[Some("7")]),
            ("HEAD", "/empty", &[None]),
            ("GET", "/empty", &[Some("0"), None]),
        ] {
            let request = || match method {
                "POST" => Raw::order().target(target).signed(),
                _ => Raw::read().target(target).method(method).signed(),
            };
            let outcomes = [
                exchange_http1(address, &request().bytes()).await,
                exchange_http2(address, &request().http2()).await,
            ];
            for outcome in outcomes {
                let case = format!("{kind} {method} {target}: {outcome:?}");
                let answer = outcome.answer();
                assert_eq!(answer.body, "", "{case}");
                // It may go unsaid where it is the length of another response, and where the end of a stream says it.
                let length = answer.get("content-length");
                assert!(expected.contains(&length), "{case}");
            }
        }
    }
}

/// With a server that, unlike `serve`, sends whatever content there is.
#[tokio::test]
async fn whatever_this_crate_answers_to_head_has_the_length_of_its_content_and_no_content() {
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let private = countersign::PrivateKey::ed25519(&[8; 32]);
    let signing = SignResponses::new(origins, ResponseSigner::new(private).unwrap());
    let app = || {
        let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
        harness::router(Arc::default())
            .route("/none", any(async || (StatusCode::NO_CONTENT, [("content-length", "4")])))
            .layer(verifier.layer())
            .route_service(KEY_DIRECTORY_PATH, signing.directory([]).unwrap())
    };
    let shown = |target: &str| {
        Raw::read().target(target).add("X-Api-Key", key(1).publishable_key().to_string())
    };
    for app in [app(), app().layer(signing.clone())] {
        for (request, status) in [
            (Raw::read(), 401),
            (Raw::read().target("/a//b"), 400),
            (shown("/v1/raised"), 401),
            (shown("/v1/secret"), 401),
            (Raw::read().target(KEY_DIRECTORY_PATH), 200),
            (Raw::read().target(KEY_DIRECTORY_PATH).set("Host", "other.example"), 421),
        ] {
            let answered = async |request: Raw| {
                let response = app.clone().oneshot(request.request()).await.unwrap();
                let (head, body) = response.into_parts();
                assert_eq!(head.status, status, "{request:?}");
                (head.headers, body.collect().await.unwrap().to_bytes().len())
            };
            let (_, length) = answered(request.clone()).await;
            let (headers, none) = answered(request.method("HEAD")).await;
            assert!(length > 0 && none == 0, "{length} {none}");
            assert_eq!(headers.get("content-length").unwrap(), &length.to_string());
        }
    }
}

#[tokio::test]
async fn upgrades_and_tunnels_are_refused_by_name() {
    let switching = async || {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        (http::StatusCode::SWITCHING_PROTOCOLS, fields)
    };
    let app = Router::new()
        .route("/plain", get(async || "plain"))
        .route("/socket", get(switching))
        .fallback(any(async || "a tunnel"));
    let address = served(app).await;
    let upgrade = |target: &str, upgrade: &str, connection: &str| {
        let raw = Raw::read().target(target).add("Upgrade", upgrade);
        raw.add("Connection", connection).add("Sec-WebSocket-Version", "13").bytes()
    };
    for (target, protocols, connection) in [
        ("/plain", "websocket", "Upgrade"),
        ("/socket", "websocket", "Upgrade"),
        ("/plain", "h2c, WebSocket", "keep-alive, Upgrade"),
        // The service says 101 by itself.
        ("/socket", "chat/2", "Upgrade"),
        ("/socket", "chat/2", "close"),
    ] {
        let answer = exchange(address, &upgrade(target, protocols, connection)).await;
        let came = (answer.status, answer.code(), answer.get("connection"));
        let expected = (501, "upgrade-unsupported".to_owned(), Some("close"));
        assert_eq!(came, expected, "{target} {protocols} {connection}");
        assert_eq!(answer.get("content-type"), Some("application/problem+json"));
    }
    // What else is offered is ignored (RFC 9110 §7.8).
    for (protocols, connection) in
        [("h2c", "Upgrade, HTTP2-Settings"), ("websocket", "keep-alive"), ("TLS/1.3", "Upgrade")]
    {
        let answer = exchange(address, &upgrade("/plain", protocols, connection)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "plain"), "{protocols}");
    }
    let order = Raw::order().add("Connection", "Upgrade").add("Upgrade", "websocket");
    let answer = exchange(address, &order.bytes()).await;
    assert_eq!(answer.status, 200, "a WebSocket begins with GET: {answer:?}");
    let tunnel = exchange(address, b"CONNECT example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((tunnel.status, tunnel.code().as_str()), (501, "upgrade-unsupported"));

    let mut tunnel = Http2::default();
    tunnel.add(":method", "CONNECT");
    tunnel.add(":authority", "example.com:80");
    let answer = exchange_http2(address, &tunnel).await.answer();
    assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade-unsupported"));
    // RFC 8441 §3: without the setting, which this server does not send, it is malformed.
    let mut socket = Http2::default();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/socket"),
        (":authority", "api.example.com"),
    ] {
        socket.add(name, value);
    }
    let outcome = exchange_http2(address, &socket).await;
    assert!(matches!(outcome, Outcome::StreamError(1)), "{outcome:?}");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_uses_no_nonce() {
    let service = Service::start().await;
    let signed = Raw::read().target("/v1/secret").signed();
    let socket = signed.clone().add("Connection", "Upgrade").add("Upgrade", "websocket");
    let refused = send(service.address, &socket).await;
    assert_eq!((refused.status, refused.code().as_str()), (501, "upgrade-unsupported"));
    assert_eq!(service.handled(), 0);
    assert_eq!(send(service.address, &signed).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_as_everything_is() {
    let service = Service::start().await;
    let long = |bytes: usize| format!("/v1/orders?{}", "a".repeat(bytes));
    for (request, refused) in [
        (Raw::read().target(&long(20_000)), (414, "uri-too-long")),
        (Raw::read().target(&long(33_000)), (414, "uri-too-long")),
        (Raw::read().target(&long(60_000)), (414, "uri-too-long")),
        (Raw::read().add("X-Large", "a".repeat(33_000)), (431, "header-too-large")),
        (Raw::read().add("X-Large", "a".repeat(60_000)), (431, "header-too-large")),
    ] {
        let outcomes = [
            send(service.address, &request).await,
            exchange_http2(service.address, &request.http2()).await.answer(),
        ];
        for answer in outcomes {
            assert_eq!((answer.status, answer.code().as_str()), refused);
            let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            let told = [&problem["title"], &problem["hint"]].map(|text| text.as_str().unwrap());
            assert!(!told.iter().any(|text| text.contains("signature fields")), "{told:?}");
            assert!(told[1].contains(if refused.0 == 414 { "target" } else { "header fields" }));
        }
    }
    // Behind that hyper says by itself what it can say.
    let bare = send(service.address, &Raw::read().add("X-Large", "a".repeat(70_000))).await;
    assert_eq!((bare.status, bare.body.as_str()), (431, ""));
}

#[tokio::test]
async fn layers_that_change_the_type_of_a_body_stand_inside_and_outside_of_all_of_ours() {
    /// Answers with as much as was sent.
    async fn echo<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Reply, Infallible> {
        let content = request.into_body().collect().await;
        let content = content.map_or(Bytes::from("broken"), |content| content.to_bytes());
        Ok(Response::new(Full::from(content)))
    }
    let key = countersign::PrivateKey::ed25519(&[8; 32]);
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let signing = SignResponses::new(origins, ResponseSigner::new(key).unwrap());
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(1 << 20))
        .layer(signing)
        .layer(CompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(1 << 19))
        .layer(verifier.layer())
        .layer(CompressionLayer::new())
        .layer(Require::signed())
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(1 << 18))
        .service_fn(echo);
    let app = service.map_err(|error: Infallible| -> std::io::Error { match error {} });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app, std::future::pending()));

    let content = "a book, ".repeat(100);
    let encoded = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let plain = send(address, &Raw::order().body(content.as_bytes()).signed()).await;
    assert_eq!((plain.status, plain.body.as_str()), (200, content.as_str()));
    assert!(plain.get("signature").is_some(), "{plain:?}");
    let order = Raw::order().add("Content-Encoding", "gzip").body(&encoded).signed();
    let decoded = send(address, &order).await;
    assert_eq!((decoded.status, decoded.body.as_str()), (200, content.as_str()));
    let changed = send(address, &Raw::order().signed().body(content.as_bytes())).await;
    assert_eq!((changed.status, changed.code().as_str()), (400, "digest-mismatch"));
    // What comes back is encoded for whoever takes it so.
    let wanting = Raw::order().body(content.as_bytes()).add("Accept-Encoding", "gzip").signed();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(&wanting.add("Connection", "close").bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"), "{head}");
    assert!(answer.len() < 1_500, "{head}");
}

#[tokio::test]
async fn a_router_takes_layers_that_change_the_type_of_a_body_around_the_verifier() {
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let layers = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(1 << 20))
        .layer(verifier.layer())
        .layer(CompressionLayer::new())
        .layer(RequestDecompressionLayer::new());
    let orders = get(async || "orders").route_layer(Require::publishable());
    let address = served(Router::new().route("/v1/orders", orders).layer(layers)).await;
    let shown = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    assert_eq!(send(address, &shown).await.body, "orders");
    assert_eq!(send(address, &Raw::read()).await.code(), "key-required");
}

/// A service that is busy, ready or broken, as its number says.
#[derive(Clone)]
struct Told(Arc<AtomicU8>);

impl<B> tower::Service<Request<B>> for Told {
    type Response = Reply;
    type Error = &'static str;
    type Future = Ready<Result<Reply, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.0.load(Ordering::SeqCst) {
            0 => Poll::Pending,
            1 => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err("broken")),
        }
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn a_verifier_is_ready_when_the_service_behind_it_is() {
    let told = Told(Arc::default());
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let mut service = verifier.layer().layer(told.clone());
    for (number, expected) in
        [(0, Poll::Pending), (1, Poll::Ready(Ok(()))), (2, Poll::Ready(Err("broken")))]
    {
        told.0.store(number, Ordering::SeqCst);
        let asked = |context: &mut Context<'_>| {
            Poll::Ready(tower::Service::<Request<Full<Bytes>>>::poll_ready(&mut service, context))
        };
        assert_eq!(poll_fn(asked).await, expected);
    }
}

#[test]
fn a_verifier_prints_its_settings_and_none_of_its_keys() {
    let layer = verifier(&TestClock::default(), Service::keys(), Service::nonces()).layer();
    let printed = format!("{layer:?}");
    assert!(printed.starts_with("VerifierLayer(Verifier { ingress: "), "{printed}");
    assert!(printed.contains("policy: Policy {"), "{printed}");
    assert!(!printed.contains("pk_"), "{printed}");
    let service = layer.layer(Told(Arc::default()));
    assert_eq!(format!("{service:?}"), "VerifierService { .. }");
}
