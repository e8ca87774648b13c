//! What a refusal says beside its code: the signature base for those who are let in on it, and what an operator adds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{any, get},
};
use countersign::{
    Code, Content, KeyId, Nonce, Origins, Policy, PrivateKey, RefusedRequest, Signer,
    TARGET_OVERRIDES, Timestamp, Unverified,
};
use countersign_client::{Client, Refusal};
use countersign_server::{ForwardedFields, Ingress, Proxies, Route, Routes, Verifier};
use countersign_store::{
    ClientAddress, Credential, KeyStore, MemoryBudget, Quota, State, StoreError,
};
use harness::{
    Answer, Counted, Http2, Log, NOW, PARAMS, Raw, Service, TestClock, credential, exchange,
    exchange_http2, key, router, verifier,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Random bytes for a nonce, other ones each time.
fn request_number() -> [u8; 16] {
    static NUMBER: AtomicU64 = AtomicU64::new(1 << 32);
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&NUMBER.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    bytes
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

fn signature_base(answer: &Answer) -> Option<String> {
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    Some(problem.get("signature_base")?.as_str()?.to_owned())
}

#[tokio::test]
async fn a_signature_that_does_not_hold_comes_back_with_the_base_that_was_rebuilt_where_that_is_set()
 {
    let silent = Service::start().await;
    let telling = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.insecure_explain()
    })
    .await;
    let moved = Raw::order().signed().target("/v1/orders?expand=all");
    for request in
        [moved.clone(), Raw::order().forged(&key(1)), Raw::order().signed_by(key(9), harness::NOW)]
    {
        let answer = send(&silent, &request).await;
        assert_eq!((answer.code().as_str(), signature_base(&answer)), ("signature-invalid", None));
        let answer = send(&telling, &request).await;
        assert_eq!(answer.code(), "signature-invalid");
        let base = signature_base(&answer).unwrap();
        assert!(base.starts_with("\"@method\": POST\n\"@authority\": api.example.com\n"), "{base}");
    }
    let base = signature_base(&send(&telling, &moved).await).unwrap();
    assert!(base.contains("\n\"@query\": ?expand=all\n"), "{base}");
    // What is refused for another reason shows nothing of it.
    for request in [
        Raw::order(),
        Raw::order().signed_by(key(2), harness::NOW),
        Raw::order().signed().body(b"changed"),
    ] {
        let answer = send(&telling, &request).await;
        assert!(answer.status >= 400);
        assert_eq!(signature_base(&answer), None, "{answer:?}");
    }
}

/// Servers that use the core alone refuse as this one does.
#[tokio::test]
async fn the_core_answers_a_rejection_as_the_server_does() {
    let service = Service::start().await;
    let table = [
        Raw::order().signed_as("()"),
        Raw::order().signed().without("Signature-Input"),
        Raw::order().signed().add("If-Match", "*"),
        Raw::order().signed().without("Content-Digest"),
        Raw::order().signed().change("Signature-Input", |own| own.replace("ed25519", "EdDSA")),
        Raw::order().signed_by(key(1), NOW.minus(Duration::from_secs(3600))),
        Raw::order().add("Content-Digest", "md5=:AAAA:").signed_as(&format!(
            "({}){PARAMS}",
            r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#
        )),
    ];
    for request in table {
        let answer = send(&service, &request).await;
        let policy = Policy::default();
        let response = request.with_head(|head, _| {
            let parsed = Unverified::parse(*head, Content::Present, &policy, NOW);
            parsed.unwrap_err().to_response(&RefusedRequest {
                method: head.method,
                headers: head.headers,
                content: Content::Present,
                policy: Some(&policy),
                now: Some(NOW),
                request_id: answer.get("x-request-id").unwrap(),
            })
        });
        assert_eq!(response.status().as_u16(), answer.status, "{answer:?}");
        let [theirs, ours]: [Value; 2] = [answer.body.as_bytes(), response.body()]
            .map(|problem| serde_json::from_slice(problem).unwrap());
        assert_eq!(ours, theirs);
        for (name, value) in response.headers() {
            assert_eq!(answer.get(name.as_str()), value.to_str().ok(), "{answer:?}");
        }
        let framing = ["content-length", "connection", "date"];
        for (name, _) in answer.headers.iter().filter(|(name, _)| !framing.contains(&&**name)) {
            assert!(response.headers().contains_key(name), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_operator_changes_what_a_refusal_says_and_not_that_it_is_one() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.on_refusal(|mut refusal| {
            let text = format!("{} {}", refusal.status().as_u16(), refusal.code());
            refusal.headers.insert("x-region", HeaderValue::from_static("north"));
            refusal.headers.remove("cache-control");
            refusal.headers.remove("connection");
            refusal.content = Bytes::from(text);
            refusal
        })
    })
    .await;
    let before = service.handled();
    // Of the layer, and of an extractor inside.
    for (request, expected) in [
        (Raw::order(), "401 signature-required"),
        (
            Raw::read().target("/v1/secret").add("X-Api-Key", key(1).publishable_key().to_string()),
            "401 signature-required",
        ),
    ] {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, expected));
        assert_eq!(answer.get("x-region"), Some("north"));
        assert_eq!(answer.get("countersign-refusal"), Some("signature-required"));
        assert_eq!(answer.get("cache-control"), Some("no-store"));
        assert!(answer.get("accept-signature").is_some());
    }
    assert_eq!(send(&service, &Raw::order()).await.get("connection"), Some("close"));
    assert_eq!(service.handled(), before);
}

#[tokio::test]
async fn every_refusal_is_known_by_a_field_that_nobody_can_take_out() {
    let taking_out = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.on_refusal(|mut refusal| {
            refusal.headers = HeaderMap::new();
            refusal.headers.insert("countersign-refusal", HeaderValue::from_static("well"));
            refusal.content = Bytes::from_static(b"<p>no</p>");
            refusal
        })
    })
    .await;
    let plain = Service::start().await;
    let publishable = key(1).publishable_key().to_string();
    let read = Raw::read().add("X-Api-Key", publishable);
    for (request, code) in [
        (Raw::order(), "signature-required"),
        (Raw::order().signed().body(b"changed"), "digest-mismatch"),
        (Raw::read().target("/a//b"), "bad-target"),
        (Raw::read().set("Host", "other.example"), "misdirected"),
        // By a layer and by an extractor further in.
        (read.clone().target("/v1/raised"), "signature-required"),
        (read.clone().target("/v1/secret"), "signature-required"),
    ] {
        let answer = send(&plain, &request).await;
        assert_eq!(answer.get("countersign-refusal"), Some(code));
        assert_eq!(answer.code(), code);
        let answer = send(&taking_out, &request).await;
        assert_eq!(answer.get("countersign-refusal"), Some(code));
        assert_eq!(code.parse::<Code>().unwrap().status(), answer.status);
    }
    for service in [&plain, &taking_out] {
        assert_eq!(send(service, &read).await.get("countersign-refusal"), None);
    }
}

/// A service behind the verifier can be a proxy, and what is behind that another Countersign server.
#[tokio::test]
async fn no_service_inside_says_that_its_response_is_a_refusal_of_the_verifier() {
    let inside = async |target: http::Uri, _: Bytes| {
        let status = match target.query() {
            Some(_) => StatusCode::UNAUTHORIZED,
            None => StatusCode::OK,
        };
        (status, [("countersign-refusal", "signature-stale"), ("x-inside", "1")], "from inside")
    };
    let routes = Routes::new()
        .route(Route::read("/read"), inside)
        .route(Route::signed(Method::POST, "/streamed").streamed(1 << 10), inside)
        .route(Route::signed(Method::GET, "/observed").insecure_observe(), inside)
        .route(Route::signed(Method::GET, "/off").insecure_off(), inside)
        .undeclared(Router::new().route("/open", any(inside)).route("/health", any(inside)));
    let (clock, handled) = (TestClock::default(), Arc::<AtomicUsize>::default());
    let app = verifier(&clock, Service::keys(), Service::nonces())
        .insecure_open_path("/open")
        .public_path("/health")
        .protect(routes)
        .unwrap();
    let service = Service::serve(clock, app, handled).await;
    let shown = |target: &str| {
        Raw::read().target(target).add("X-Api-Key", key(1).publishable_key().to_string())
    };
    for query in ["", "?401"] {
        let to = |path: &str| format!("{path}{query}");
        for request in [
            shown(&to("/read")),
            Raw::read().target(&to("/read")).signed(),
            Raw::order().target(&to("/streamed")).signed(),
            Raw::read().target(&to("/observed")),
            Raw::read().target(&to("/off")),
            Raw::read().target(&to("/open")),
            Raw::read().target(&to("/health")),
        ] {
            let answer = send(&service, &request).await;
            assert_eq!(answer.body, "from inside", "{request:?}");
            assert_eq!(answer.get("x-inside"), Some("1"), "{answer:?}");
            assert_eq!(answer.get("countersign-refusal"), None, "{request:?}");
        }
    }
    let refused = send(&service, &Raw::read().target("/read")).await;
    assert_eq!(refused.get("countersign-refusal"), Some("key-required"));
}

#[tokio::test]
async fn a_private_key_that_was_sent_is_counted_and_its_revocation_asked_for_wherever_it_was() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, _listening) = Log::listen();
    let service = Service::start().await;
    let private = key(1).expose_text();
    let revoke = format!("countersign key revoke {}", key(1).publishable_key());
    let encoded =
        |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let requests = [
        Raw::read().add("X-Api-Key", &*private),
        Raw::read().target(&format!("/v1/orders?api_key={}", *private)),
        Raw::read().add("Cookie", format!("api_key={}", *private)),
        Raw::read().add("Authorization", format!("Bearer {}", *private)),
        Raw::read().add("Authorization", format!("Basic {}", encoded(&format!("{}:", *private)))),
        Raw::order().add("Authorization", format!("Bearer {}", *private)),
        Raw::order().add("Authorization", format!("Bearer {}", *private)).signed(),
    ];
    for request in &requests {
        let answer = send(&service, request).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
        assert!(answer.body.contains("carries a private key"), "{answer:?}");
        assert!(answer.body.contains(&revoke), "{answer:?}");
        assert!(!answer.body.contains("sk_"), "{answer:?}");
    }
    assert_eq!(service.handled(), 0);
    let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
    let counted: Vec<_> = counted
        .filter(|(key, ..)| key.key().name() == "countersign_private_keys_sent_total")
        .map(|(.., value)| value)
        .collect();
    let sent = u64::try_from(requests.len()).unwrap();
    assert_eq!(counted, [metrics_util::debugging::DebugValue::Counter(sent)]);
    let lines = log.lines_with("a private key was sent");
    assert_eq!(lines.len(), 1, "a stranger cannot fill the log: {lines:?}");
    assert!(lines.iter().all(|line| line.contains(&revoke) && !line.contains("sk_")), "{lines:?}");
    let other = Raw::read().add("Authorization", "Bearer sk_live_of_another_service");
    assert_eq!(send(&service, &other).await.code(), "key-required");
}

/// What is served, and how often a handler ran.
async fn behind(ingress: Ingress) -> Service {
    let (clock, handled) = (TestClock::default(), Arc::<AtomicUsize>::default());
    let time = clock.clone();
    let verifier = Verifier::new(ingress, Service::keys(), Service::nonces())
        .clock(move || time.now())
        .insecure_open_path("/open");
    let client = any(async |request: http::Request<Body>| {
        let client = request.extensions().get::<ClientAddress>();
        client.map_or_else(|| "nobody".to_owned(), ToString::to_string)
    });
    let app = router(Arc::clone(&handled)).route("/open", client).layer(verifier.layer());
    Service::serve(clock, app, handled).await
}

fn origins() -> Origins {
    Origins::from("https://api.example.com".parse::<countersign::Origin>().unwrap())
}

fn proxies() -> Proxies {
    Proxies::new(["127.0.0.1/32".parse().unwrap()], ForwardedFields::XForwarded).unwrap()
}

#[tokio::test]
async fn a_request_whose_client_cannot_be_told_is_refused_and_is_not_its_proxys() {
    let service = behind(Ingress::from(origins()).proxies(proxies())).await;
    let publishable = key(1).publishable_key().to_string();
    for unknown in [None, Some("unknown"), Some("192.0.2.1, _hidden")] {
        let from = |request: Raw| match unknown {
            Some(text) => request.add("X-Forwarded-For", text),
            None => request,
        };
        for request in [
            Raw::read().add("X-Api-Key", &publishable),
            Raw::order().signed(),
            Raw::read().target("/open").signed(),
        ] {
            let answer = send(&service, &from(request)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
            assert!(answer.body.contains("X-Forwarded-For"), "{answer:?}");
        }
        assert_eq!(send(&service, &from(Raw::read().target("/open"))).await.body, "nobody");
    }
    let known = Raw::read().target("/open").add("X-Forwarded-For", "192.0.2.1");
    assert_eq!(send(&service, &known).await.body, "192.0.2.1");
    assert_eq!(service.handled(), 0);
}

/// An HMAC key names its publishable half by itself, so that anybody can write one with the name of somebody else's.
#[tokio::test]
async fn nobody_has_the_key_of_another_revoked_by_making_a_private_key_up() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, _listening) = Log::listen();
    let service = Service::start().await;
    let hmac = |secret: u8| PrivateKey::hmac_sha256([6; 16], &[secret; 32]).unwrap();
    let victim = hmac(6).publishable_key().to_string();
    assert_eq!(hmac(66).publishable_key().to_string(), victim);
    let encoded =
        |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let sent = |private: &PrivateKey| {
        let text = private.expose_text();
        [
            Raw::read().add("X-Api-Key", &*text),
            Raw::read().target(&format!("/v1/orders?api_key={}", *text)),
            Raw::read().add("Authorization", format!("Bearer {}", *text)),
            Raw::read().add("Authorization", format!("Basic {}", encoded(&format!("{}:", *text)))),
            Raw::order().add("Authorization", format!("Bearer {}", *text)).signed(),
        ]
    };
    for private in [hmac(66), key(9)] {
        for request in sent(&private) {
            let answer = send(&service, &request).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
            assert!(answer.body.contains("text that looks like a private key"), "{answer:?}");
            for advice in ["key revoke", &victim, "sk_"] {
                assert!(!answer.body.contains(advice), "{advice}: {answer:?}");
            }
        }
    }
    assert_eq!(log.lines_with("key revoke"), [] as [String; 0]);
    assert_eq!(log.lines_with(&victim), [] as [String; 0]);
    assert_eq!(log.lines_with("text that looks like a private key").len(), 1);
    let counted = || {
        let counters = recorder.snapshotter().snapshot().into_vec();
        counters
            .into_iter()
            .filter(|(key, ..)| key.key().name() == "countersign_private_keys_sent_total")
            .count()
    };
    assert_eq!(counted(), 0, "no private key of this service was sent");
    for request in sent(&hmac(6)) {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
        let revoke = format!("countersign key revoke {victim}");
        assert!(answer.body.contains(&revoke), "{answer:?}");
        assert_eq!(log.lines_with(&revoke).len(), 1);
    }
    assert_eq!(counted(), 1);
}

/// A registry that cannot be asked.
struct OutOfReach;

impl KeyStore for OutOfReach {
    async fn find(&self, _: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        Err(StoreError::new("out of reach, as the test wants it"))
    }
}

#[tokio::test]
async fn nobody_says_whose_a_private_key_is_while_the_registry_cannot_be_asked() {
    let (log, _listening) = Log::listen();
    let service = Service::start_with(OutOfReach, Service::nonces(), |verifier| {
        verifier.failure_limit(MemoryBudget::new("failures", [Quota::per_minute(NonZeroU32::MIN)]))
    })
    .await;
    let private = key(1).expose_text();
    // The second one shows that the first one was no failure of its address.
    for request in [
        Raw::read().add("X-Api-Key", &*private),
        Raw::read().add("Authorization", format!("Bearer {}", *private)),
    ] {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "registry-unavailable"));
        assert!(answer.get("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(log.lines_with("no credential has this key"), [] as [String; 0]);
    assert_eq!(log.lines_with("the key registry failed").len(), 2);
}

#[tokio::test]
async fn a_private_key_that_is_revoked_is_not_counted_and_nobody_is_told_to_revoke_it() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, _listening) = Log::listen();
    let keys = Service::keys();
    let hmac = |secret: u8| PrivateKey::hmac_sha256([7; 16], &[secret; 32]).unwrap();
    keys.insert(credential(7, &hmac(7), State::Revoked)).unwrap();
    let service = Service::start_with(keys, Service::nonces(), |verifier| verifier).await;
    // The last one has the name of a revoked key, and another secret.
    for (private, is_revoked) in [(key(2), true), (hmac(7), true), (hmac(77), false)] {
        for request in [
            Raw::read().add("X-Api-Key", &*private.expose_text()),
            Raw::order().add("Authorization", format!("Bearer {}", *private.expose_text())),
        ] {
            let answer = send(&service, &request).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
            assert_eq!(answer.body.contains("was revoked"), is_revoked, "{answer:?}");
            assert_eq!(answer.body.contains("no credential"), !is_revoked, "{answer:?}");
            assert!(!answer.body.contains("key revoke"), "{answer:?}");
        }
    }
    assert_eq!(log.lines_with("key revoke"), [] as [String; 0]);
    let counters = recorder.snapshotter().snapshot().into_vec();
    let name = "countersign_private_keys_sent_total";
    assert!(counters.iter().all(|(key, ..)| key.key().name() != name));
}

#[tokio::test]
async fn what_is_sent_about_one_key_holds_back_no_line_about_another() {
    let (log, _listening) = Log::listen();
    let keys = Service::keys();
    keys.insert(credential(7, &key(7), State::Revoked)).unwrap();
    let service = Service::start_with(keys, Service::nonces(), |verifier| verifier).await;
    let shown = |text: &str| Raw::read().add("X-Api-Key", text);
    for _ in 0..10 {
        for number in [2, 7] {
            let request = shown(&key(number).publishable_key().to_string());
            assert_eq!(send(&service, &request).await.status, 401);
        }
        for number in [1, 5] {
            assert_eq!(send(&service, &shown(&key(number).expose_text())).await.status, 401);
        }
    }
    for about in ["credential_id=2", "credential_id=7"] {
        assert_eq!(log.lines_with(about).len(), 1, "{about}");
    }
    for number in [1, 5] {
        let revoke = format!("key revoke {}", key(number).publishable_key());
        assert_eq!(log.lines_with(&revoke).len(), 1, "{revoke}");
    }
}

#[tokio::test]
async fn the_log_says_so_when_what_was_sent_looks_like_a_private_key() {
    let (log, _listening) = Log::listen();
    let service = Service::start().await;
    let mistyped = key(1).expose_text().replacen("sk_", "sk_0", 1);
    let answer = send(&service, &Raw::read().add("X-Api-Key", &mistyped)).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
    assert_eq!(log.lines_with("text that looks like a private key").len(), 1);
    assert_eq!(log.lines_with(&mistyped), [] as [String; 0]);
}

#[tokio::test]
async fn a_private_key_is_known_whatever_stands_around_it() {
    let (log, _listening) = Log::listen();
    let service = Service::start().await;
    let private = key(1).expose_text();
    let revoke = format!("countersign key revoke {}", key(1).publishable_key());
    for around in ["Bearer {}", "\"{}\"", "'{}'", "api_key={}", "{},", "acme_{}"] {
        let request = Raw::read().add("X-Api-Key", around.replace("{}", &private));
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
        assert!(answer.body.contains(&revoke), "{around}: {answer:?}");
    }
    for around in ["{}%20", "%20{}", "%22{}%22", "Bearer%20{}", "Bearer+{}", "{}%0A"] {
        let target = format!("/v1/orders?api_key={}", around.replace("{}", &private));
        let answer = send(&service, &Raw::read().target(&target)).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"));
        assert!(answer.body.contains(&revoke), "{around}: {answer:?}");
    }
    assert_eq!(log.lines_with("looks like a private key"), [] as [String; 0]);
}

#[tokio::test]
async fn of_what_cannot_be_compared_nobody_says_whether_it_is_registered() {
    let (log, _listening) = Log::listen();
    let (keys, asked) = Counted::new(Service::keys());
    let service = Service::start_with(keys, Service::nonces(), |verifier| verifier).await;
    let private = key(1).expose_text();
    for text in [
        private.replacen("sk_", "sk_0", 1),
        private[..30].to_owned(),
        "-----BEGIN PRIVATE KEY----- MC4CAQAwBQYDK2VwBCIEIA -----END PRIVATE KEY-----".to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"BBBB"}"#.to_owned(),
    ] {
        let answer = send(&service, &Raw::read().add("X-Api-Key", &text)).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature-required"), "{text}");
        assert!(answer.body.contains("has text that looks like a private key"), "{answer:?}");
        assert!(!answer.body.contains("no credential"), "{answer:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "there is nothing to look up");
    assert_eq!(log.lines_with("text that looks like a private key").len(), 1);
    assert_eq!(log.lines_with("no credential has this key"), [] as [String; 0]);
}

#[tokio::test]
async fn what_only_a_proxys_operator_can_mend_the_log_says_with_the_line_to_change() {
    let (log, _listening) = Log::listen();
    let by_host = behind(Ingress::from(origins()).proxies(proxies())).await;
    let forwarded = behind(Ingress::forwarded(origins(), proxies())).await;
    assert_eq!(
        log.lines_with("https://api.example.com").len(),
        2,
        "what is served is said at the start"
    );
    let publishable = key(1).publishable_key().to_string();
    let read = || Raw::read().add("X-Api-Key", &publishable).add("X-Forwarded-For", "192.0.2.1");
    let hosted = || read().set("Host", "backend").add("X-Forwarded-Host", "api.example.com");
    let mut old = read();
    old.version = "HTTP/1.0";
    let cases = [
        (&by_host, old, 505, "`proxy_http_version 1.1;`"),
        (
            &by_host,
            read().without("X-Forwarded-For"),
            400,
            "`proxy_set_header X-Forwarded-For $remote_addr;`",
        ),
        (
            &forwarded,
            hosted().add("X-Forwarded-Proto", "http"),
            421,
            "`proxy_set_header X-Forwarded-Proto $scheme;`",
        ),
        (&by_host, read().set("Host", "localhost:8080"), 421, "localhost:8080"),
    ];
    for (service, request, status, line) in cases {
        for _ in 0..30 {
            let answer = send(service, &request).await;
            assert_eq!(answer.status, status, "{answer:?}");
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            let hint = problem["hint"].as_str().unwrap();
            assert!(hint.contains("operator"), "it sends nobody in a circle: {hint}");
            assert!(!answer.body.contains("https://api.example.com"), "{answer:?}");
        }
        let lines = log.lines_with(line);
        assert_eq!(lines.len(), 1, "{line}: {lines:?}");
    }
    let lines = log.lines_with("localhost:8080");
    assert!(lines.iter().all(|line| line.contains("https://api.example.com")), "{lines:?}");
    // Another fault of a proxy is not held back by the first.
    assert_eq!(send(&forwarded, &read().set("Host", "backend")).await.status, 400);
    assert_eq!(log.lines_with("`proxy_set_header X-Forwarded-Host $host;`").len(), 1);
}

#[tokio::test]
async fn a_request_that_a_program_hands_over_has_its_host_in_its_uri() {
    let app = || {
        let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
        router(Arc::default()).layer(verifier.layer())
    };
    let handed_over = |uri: &str, host: Option<&str>| {
        let signed = Raw::order().signed();
        let request = match host {
            Some(host) => signed.set("Host", host),
            None => signed.without("Host"),
        };
        let mut request = request.request();
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    let target = "/v1/orders?expand=customer";
    let ours = format!("https://api.example.com{target}");
    for (request, status) in [
        (handed_over(&ours, None), 201),
        (handed_over(&ours, Some("api.example.com")), 201),
        (handed_over(target, Some("api.example.com")), 201),
        (handed_over(&ours, Some("b.example.com")), 400),
        (handed_over(&format!("https://b.example.com{target}"), None), 401),
        (handed_over(&format!("https://other.example{target}"), None), 421),
        (handed_over(target, None), 400),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(app().oneshot(request).await.unwrap().status(), status, "{shown}");
    }
    // A message over a connection needs a Host whatever its request line says (RFC 9112 §3.2).
    let service = Service::start().await;
    let mut bare = Raw::order().signed().without("Host");
    bare.target = ours;
    assert_eq!(send(&service, &bare).await.status, 400);
}

#[tokio::test]
async fn an_ipv6_host_is_one_origin_however_it_is_written() {
    let signed = |method: &str| {
        let request = Request::builder().method(method).uri("https://[::1]/v1/secret");
        let mut request = request.body([]).unwrap();
        let nonce = Nonce::from_random(request_number());
        Signer::new(key(1)).sign_request(&mut request, NOW, &nonce).unwrap();
        let raw = Raw::read().target("/v1/secret").method(method);
        request.headers().iter().fold(raw, |raw, (name, value)| raw.add(name.as_str(), value))
    };
    let origins = || Origins::new(["https://[::1]".parse().unwrap()]).unwrap();
    let direct = Ingress::from(origins());
    let forwarded = Ingress::forwarded(origins(), proxies());
    for (ingress, host) in [(direct, "Host"), (forwarded, "X-Forwarded-Host")] {
        let (clock, handled) = (TestClock::default(), Arc::default());
        let time = clock.clone();
        let verifier = Verifier::new(ingress, Service::keys(), Service::nonces());
        let verifier = verifier.clock(move || time.now());
        let app = router(Arc::clone(&handled)).layer(verifier.layer());
        let service = Service::serve(clock, app, handled).await;
        let asked = |named: &str| {
            let request = signed("GET").set("Host", "proxy.internal").set(host, named);
            if host == "Host" { request } else { request.add("X-Forwarded-For", "192.0.2.1") }
        };
        for (named, status) in [
            ("[::1]", 200),
            ("[::1]:443", 200),
            ("[0:0:0:0:0:0:0:1]", 200),
            ("[0000:0000::0001]:443", 200),
            ("[::2]", 421),
            ("[::1]:8443", 421),
        ] {
            let request = asked(named);
            let answers = [
                send(&service, &request).await,
                exchange_http2(service.address, &asked(named).http2()).await.answer(),
            ];
            for answer in answers {
                assert_eq!(answer.status, status, "{host}: {named}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn where_an_address_is_missing_the_refusal_and_the_log_say_what_to_add() {
    let (log, _listening) = Log::listen();
    let verifier = Verifier::new(
        Ingress::from(origins()).proxies(proxies()),
        Service::keys(),
        Service::nonces(),
    );
    let app = router(Arc::default()).layer(verifier.layer());
    let read = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    let response = app.oneshot(read.request()).await.unwrap();
    assert_eq!(response.status(), 500);
    let told = log.lines_with("countersign_store::ClientAddress");
    assert!(matches!(&told[..], [line] if line.starts_with("ERROR")), "{told:?}");
    let content = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(content.to_vec()).unwrap();
    for part in ["countersign_store::ClientAddress", "extensions", "in a test"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_layer_inside_a_nested_router_goes_by_the_whole_path() {
    let (clock, handled) = (TestClock::default(), Arc::<AtomicUsize>::default());
    let verifier = verifier(&clock, Service::keys(), Service::nonces());
    let app = Router::new().nest("/api", router(Arc::clone(&handled)).layer(verifier.layer()));
    let service = Service::serve(clock, app, handled).await;
    let order = |target: &str| Raw::order().target(target);
    assert_eq!(send(&service, &order("/api/v1/orders").signed()).await.status, 201);
    let shortened = order("/v1/orders").signed().target("/api/v1/orders");
    assert_eq!(send(&service, &shortened).await.code(), "signature-invalid");
    assert_eq!(service.handled(), 1);
}

#[tokio::test]
async fn trailers_of_a_publishable_read_reach_no_handler() {
    let (clock, handled) = (TestClock::default(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&handled);
    let read = get(async move |mut body: Body| {
        counted.fetch_add(1, Ordering::SeqCst);
        match body.frame().await {
            None => "nothing",
            Some(_) => "something",
        }
    });
    let verifier = verifier(&clock, Service::keys(), Service::nonces());
    let app = Router::new().route("/v1/orders", read).layer(verifier.layer());
    let service = Service::serve(clock, app, handled).await;
    let read = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    let mut with_trailers: Http2 = read.add("Content-Length", "0").http2();
    with_trailers.trailers.push(("x-role".into(), "admin".into()));
    let answer = exchange_http2(service.address, &with_trailers).await.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "nothing"));
    assert_eq!(service.handled(), 1);
}

/// What of a request a handler sees.
async fn seen(app: &Router, request: Raw) -> (u16, HeaderMap) {
    let response = app.clone().oneshot(request.request()).await.unwrap();
    (response.status().as_u16(), response.headers().clone())
}

#[tokio::test]
async fn a_condition_or_range_that_the_signer_left_out_reaches_no_handler() {
    const FIELDS: [(header::HeaderName, &str); 7] = [
        (header::IF_MATCH, "\"a\""),
        (header::IF_NONE_MATCH, "*"),
        (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (header::IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (header::IF_RANGE, "\"a\""),
        (header::RANGE, "bytes=0-1"),
        (header::CONTENT_RANGE, "bytes 0-1/9"),
    ];
    let app = |change: fn(Verifier<_, _>) -> Verifier<_, _>| {
        let mirror = any(async |headers: HeaderMap| {
            let seen = FIELDS.into_iter().filter(|(name, _)| headers.contains_key(name));
            seen.map(|(name, value)| (name, HeaderValue::from_static(value))).collect::<HeaderMap>()
        });
        let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
        Router::new().route("/v1/orders", mirror).layer(change(verifier).layer())
    };
    let enforced = app(|verifier| verifier);
    let publishable = key(1).publishable_key().to_string();
    for (name, value) in FIELDS {
        for method in ["GET", "HEAD"] {
            let read = || Raw::read().method(method);
            let (status, headers) =
                seen(&enforced, read().signed().add(name.as_str(), value)).await;
            assert_eq!((status, headers.contains_key(&name)), (200, false), "{name}");
            let (status, headers) =
                seen(&enforced, read().add(name.as_str(), value).signed()).await;
            assert_eq!((status, headers.contains_key(&name)), (200, true), "{name} is covered");
            // Nobody signed it, so that it says whatever came.
            let unsigned = read().add("X-Api-Key", &publishable).add(name.as_str(), value);
            let (status, headers) = seen(&enforced, unsigned).await;
            assert_eq!((status, headers.contains_key(&name)), (200, true), "{name}, unsigned");
        }
        let (status, _) =
            seen(&enforced, Raw::order().target("/v1/orders").signed().add(name.as_str(), value))
                .await;
        assert_eq!(status, 401, "{name} in a write");
        let covered = Raw::order().target("/v1/orders").add(name.as_str(), value).signed();
        let (status, headers) = seen(&enforced, covered).await;
        assert_eq!((status, headers.contains_key(&name)), (200, true), "{name} in a write");
        // Where nothing is refused nothing is taken out.
        for lenient in [app(Verifier::insecure_observe), app(Verifier::insecure_off)] {
            let (status, headers) =
                seen(&lenient, Raw::read().signed().add(name.as_str(), value)).await;
            assert_eq!((status, headers.contains_key(&name)), (200, true), "{name}, not enforced");
        }
    }
}

#[tokio::test]
async fn another_target_that_nobody_signed_reaches_no_handler() {
    let app = |change: fn(Verifier<_, _>) -> Verifier<_, _>| {
        let mirror = || {
            any(async |headers: HeaderMap| {
                let seen = TARGET_OVERRIDES.into_iter().filter(|name| headers.contains_key(name));
                seen.map(|name| (name, HeaderValue::from_static("seen"))).collect::<HeaderMap>()
            })
        };
        let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces())
            .insecure_open_path("/open")
            .public_path("/public");
        let paths = ["/v1/orders", "/open", "/public"];
        let app = paths.into_iter().fold(Router::new(), |app, path| app.route(path, mirror()));
        app.layer(change(verifier).layer())
    };
    let enforced = app(|verifier| verifier);
    let publishable = key(1).publishable_key().to_string();
    for field in TARGET_OVERRIDES {
        let name = field.as_str();
        let read = Raw::read().add("X-Api-Key", &publishable).add(name, "/v1/secret");
        for (request, status, shown) in [
            (read.clone(), 200, false),
            (read.clone().method("HEAD"), 200, false),
            (Raw::read().target("/open").add(name, "/v1/secret"), 200, false),
            (Raw::order().target("/open").add(name, "/v1/secret"), 200, false),
            (Raw::read().target("/public").add(name, "/v1/secret"), 200, false),
            (Raw::read().add(name, "/v1/secret").signed(), 200, true),
            (Raw::read().signed().add(name, "/v1/secret"), 401, false),
            (Raw::read().target("/open").signed().add(name, "/v1/secret"), 401, false),
        ] {
            let found = seen(&enforced, request.clone()).await;
            assert_eq!((found.0, found.1.contains_key(&field)), (status, shown), "{request:?}");
        }
        // Where nothing is refused nothing is taken out.
        for lenient in [app(Verifier::insecure_observe), app(Verifier::insecure_off)] {
            for request in [read.clone(), Raw::read().target("/public").add(name, "/v1/secret")] {
                let (status, headers) = seen(&lenient, request).await;
                assert_eq!((status, headers.contains_key(&field)), (200, true), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_cookie_that_came_in_pieces_reaches_its_handler_as_it_was_signed() {
    let app = |change: fn(Verifier<_, _>) -> Verifier<_, _>| {
        let mirror = any(async |headers: HeaderMap| {
            let lines = headers.get_all(header::COOKIE).iter();
            let shown = |line: &HeaderValue| format!("{line:?}");
            lines.map(shown).collect::<Vec<_>>().join(" | ")
        });
        let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
        Router::new().route("/v1/orders", mirror).layer(change(verifier).layer())
    };
    let told = async |app: &Router, request: Raw, sensitive: bool| {
        let mut request = request.request();
        if let Some(line) = request.headers_mut().get_mut(header::COOKIE) {
            line.set_sensitive(sensitive);
        }
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let enforced = app(|verifier| verifier);
    let covered = format!(r#"("@method" "@authority" "@path" "@query" "cookie"){PARAMS}"#);
    let signed = Raw::read().add("Cookie", "session=a; role=restricted").signed_as(&covered);
    let pieces = |request: Raw| {
        request.without("Cookie").add("Cookie", "session=a").add("Cookie", "role=restricted")
    };
    let whole = "\"session=a; role=restricted\"";
    assert_eq!(told(&enforced, pieces(signed.clone()), false).await, (200, whole.into()));
    let publishable = key(1).publishable_key().to_string();
    let read = Raw::read().add("X-Api-Key", &publishable);
    assert_eq!(told(&enforced, pieces(read.clone()), false).await, (200, whole.into()));
    assert_eq!(told(&enforced, pieces(read.clone()), true).await, (200, "Sensitive".into()));
    assert_eq!(told(&enforced, read.clone().add("Cookie", "a=b"), false).await.1, "\"a=b\"");
    let other = signed.set("Cookie", "session=a").add("Cookie", "role=admin");
    assert_eq!(told(&enforced, other, false).await.0, 401);
    let lenient = app(Verifier::insecure_observe);
    let apart = "\"session=a\" | \"role=restricted\"";
    assert_eq!(told(&lenient, pieces(read), false).await, (200, apart.into()));
}

#[tokio::test]
async fn private_keys_that_are_made_up_hide_no_real_one_from_the_log() {
    let (log, _listening) = Log::listen();
    let service = Service::start().await;
    let send_private = async |number: u8| {
        let request = Raw::read().add("X-Api-Key", &*key(number).expose_text());
        assert_eq!(send(&service, &request).await.code(), "signature-required");
    };
    for number in 50..60 {
        send_private(number).await;
    }
    assert_eq!(log.lines_with("no credential has this key").len(), 1);
    assert_eq!(log.lines_with("key revoke").len(), 0, "a stranger's invention");
    send_private(1).await;
    let revoke = format!("countersign key revoke {}", key(1).publishable_key());
    assert_eq!(log.lines_with(&revoke).len(), 1);
}

#[tokio::test]
async fn a_client_knows_and_heeds_a_refusal_that_an_operator_gave_content_of_its_own() {
    const HOST: &str = "api.example.com";
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.on_refusal(|mut refusal| {
            refusal.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            refusal.content = Bytes::from("<p>No.</p>");
            refusal
        })
    })
    .await;
    let client = |number: u8| {
        let http = reqwest::Client::builder().resolve(HOST, service.address).no_proxy();
        let client = Client::new(key(number)).unwrap().http(http).unwrap();
        client.clock(|| Timestamp::from_unix(NOW.unix() - 600))
    };
    let check = async |client: Client| {
        let order = client.post(format!("http://{HOST}/v1/orders?expand=customer")).json(&["book"]);
        Refusal::check(order.send().await.unwrap()).await
    };
    let stale = check(client(1)).await.unwrap_err();
    assert_eq!((stale.code, stale.status), (Code::SignatureStale, Code::SignatureStale.status()));
    assert!(!stale.request_id.is_empty() && stale.detail == Code::SignatureStale.title());
    let unknown = check(client(9).clock(|| NOW)).await.unwrap_err();
    assert_eq!(unknown.code, Code::SignatureInvalid);
    let healed = check(client(1).insecure_trust_plain_http()).await.unwrap();
    assert!(healed.status().is_success(), "{healed:?}");
}
