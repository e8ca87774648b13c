//! Answers that are signed: whatever is answered, to the request that it answers and to no other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use countersign::{
    Candidate, KEY_DIRECTORY_PATH, KEY_DIRECTORY_TYPE, KeyId, Message, Origins, PrivateKey,
    ResponseHead, ResponsePolicy, ResponseRejection, ResponseSigner, ServerKeys,
    UnverifiedResponse,
};
use countersign_server::{ForwardedFields, Ingress, Proxies, SignResponses, Verifier};
use harness::{Answer, NOW, Raw, Service, TestClock, exchange, exchange_http2, key, router};
use http_body::Frame;
use http_body_util::StreamBody;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

const LIMIT: usize = 4096;
const SERVER: u8 = 21;
const NEXT: u8 = 22;

fn origins() -> Origins {
    Origins::new(["https://api.example.com".parse().unwrap()]).unwrap()
}

fn signing(ingress: Ingress, clock: &TestClock) -> SignResponses {
    let signer = ResponseSigner::new(PrivateKey::ed25519(&[SERVER; 32])).unwrap();
    let clock = clock.clone();
    SignResponses::new(ingress, signer)
        .clock(move || clock.now())
        .content_limit(LIMIT)
        .content_timeout(Duration::from_millis(200))
}

async fn start_behind(ingress: Ingress) -> Service {
    start_with(ingress, |answers| answers).await
}

async fn start_with(ingress: Ingress, set: impl FnOnce(SignResponses) -> SignResponses) -> Service {
    let (clock, handled) = (TestClock::default(), Arc::default());
    let time = clock.clone();
    let verifier = Verifier::new(ingress.clone(), Service::keys(), Service::nonces())
        .clock(move || time.now())
        .insecure_open_path("/health");
    let answers = set(signing(ingress, &clock));
    let next = PrivateKey::ed25519(&[NEXT; 32]).verifying_key();
    let app = router(Arc::clone(&handled))
        .route("/answers/{kind}", any(async |Path(kind): Path<String>| of_kind(&kind)))
        .layer(verifier.layer())
        .route_service(KEY_DIRECTORY_PATH, answers.directory([next]).unwrap())
        .layer(answers);
    Service::serve(clock, app, handled).await
}

async fn start() -> Service {
    start_behind(Ingress::from(origins())).await
}

/// What handlers answer, well and not.
fn of_kind(kind: &str) -> Response {
    let with = |name: &'static str, value: &str| {
        let mut response = "content".into_response();
        let name = HeaderName::from_static(name);
        response.headers_mut().append(name, value.parse().unwrap());
        response
    };
    let streamed = |frames: Vec<Result<Frame<&'static [u8]>, std::io::Error>>| {
        let frames = frames.into_iter().map(|frame| frame.map(|frame| frame.map_data(Into::into)));
        let frames = frames.collect::<Vec<Result<Frame<bytes::Bytes>, _>>>();
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    };
    let content = || Ok(Frame::data(&b"content"[..]));
    match kind {
        "empty" => StatusCode::OK.into_response(),
        "none" => StatusCode::NO_CONTENT.into_response(),
        "not-modified" => (StatusCode::NOT_MODIFIED, [(header::ETAG, "\"1\"")]).into_response(),
        "moved" => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/there")]).into_response(),
        "failed" => (StatusCode::INTERNAL_SERVER_ERROR, "failed").into_response(),
        "full" => "x".repeat(LIMIT).into_response(),
        "in-pieces" => streamed(vec![content(), content()]),
        "with-digest" => {
            with("content-digest", &countersign::ContentDigest::sha512(b"content").to_string())
        }
        "signed-by-others" => {
            let mut response = with("signature-input", "theirs=(\"@status\")");
            let signature = HeaderValue::from_static("theirs=:AAAA:");
            response.headers_mut().insert("signature", signature);
            response
        }
        // From here on what cannot be signed.
        "large" => "x".repeat(LIMIT + 1).into_response(),
        "large-in-pieces" => streamed((0..=LIMIT / 7).map(|_| content()).collect()),
        "endless" => {
            let pieces =
                futures_util::stream::pending::<Result<Frame<bytes::Bytes>, std::io::Error>>();
            Response::new(Body::new(StreamBody::new(pieces)))
        }
        "broken" => streamed(vec![content(), Err(std::io::ErrorKind::BrokenPipe.into())]),
        "with-trailers" => {
            let trailers =
                HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"1\""))]);
            streamed(vec![content(), Ok(Frame::trailers(trailers))])
        }
        "twice" => with("content-type", "text/html"),
        "with-another-digest" => {
            with("content-digest", &countersign::ContentDigest::sha256(b"other").to_string())
        }
        "signed-already" => {
            let input = r#"a=("@status");created=1;tag="countersign-response""#;
            let mut response = with("signature-input", input);
            response.headers_mut().insert("signature", HeaderValue::from_static("a=:AAAA:"));
            response
        }
        "with-half-a-signature" => with("signature", "a=:AAAA:"),
        other => panic!("{other}"),
    }
}

fn server_keys() -> ServerKeys {
    ServerKeys::new([PrivateKey::ed25519(&[SERVER; 32]).verifying_key()]).unwrap()
}

fn fields(answer: &Answer) -> HeaderMap {
    let field = |(name, value): &(String, String)| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

/// What a client would say to an answer to this request.
fn verify(request: &Raw, answer: &Answer) -> Result<(), ResponseRejection> {
    let headers = fields(answer);
    let status = StatusCode::from_u16(answer.status).unwrap();
    request.with_head(|head, _| {
        let response = ResponseHead { status, headers: &headers };
        let policy = ResponsePolicy::default();
        let unverified = UnverifiedResponse::parse(response, *head, &policy, NOW)?;
        let mut check = unverified.verify(&server_keys())?.read();
        check.update(answer.body.as_bytes());
        check.finish().map(|_| ())
    })
}

fn of(kind: &str) -> Raw {
    Raw::read().target(&format!("/answers/{kind}")).signed()
}

#[tokio::test]
async fn whatever_is_answered_is_signed_for_its_request() {
    let service = start().await;
    let publishable = key(1).publishable_key().to_string();
    type Made = (&'static str, fn(&str) -> Raw, u16);
    let requests: [Made; 18] = [
        ("a write", |_| Raw::order().signed(), 201),
        ("a read", |_| Raw::read().target("/v1/secret?a=b").signed(), 200),
        ("a read with a publishable key", |key| Raw::read().add("X-Api-Key", key), 200),
        ("what is open", |_| Raw::read().target("/health"), 200),
        ("the head of a read", |_| Raw::read().method("HEAD").target("/v1/secret").signed(), 200),
        ("no content", |_| of("none"), 204),
        ("not modified", |_| of("not-modified"), 304),
        ("empty", |_| of("empty"), 200),
        ("a redirect", |_| of("moved"), 307),
        ("a failure of the handler", |_| of("failed"), 500),
        ("as much as there may be", |_| of("full"), 200),
        ("in pieces", |_| of("in-pieces"), 200),
        ("with a digest of its own", |_| of("with-digest"), 200),
        ("with a signature of others", |_| of("signed-by-others"), 200),
        ("nothing there", |_| Raw::read().target("/nowhere").signed(), 404),
        ("unsigned, and refused", |_| Raw::order(), 401),
        ("forged, and refused", |_| Raw::order().forged(&key(1)), 401),
        ("revoked, and refused", |_| Raw::order().signed_by(key(2), NOW), 401),
    ];
    for (name, make, status) in requests {
        for http2 in [false, true] {
            let request = make(&publishable);
            let answer = match http2 {
                false => exchange(service.address, &request.bytes()).await,
                true => exchange_http2(service.address, &request.http2()).await.answer(),
            };
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert_eq!(verify(&request, &answer), Ok(()), "{name}, HTTP/2: {http2}: {answer:?}");
            // Of what has a nonce no answer is that to another request.
            let other = make(&publishable);
            if other.headers != request.headers {
                assert_eq!(verify(&other, &answer), Err(ResponseRejection::Invalid), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_signed_is_replaced_by_one_that_is() {
    let recorder = DebuggingRecorder::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let service = start().await;
    let kinds = [
        "large",
        "large-in-pieces",
        "endless",
        "broken",
        "with-trailers",
        "twice",
        "with-another-digest",
        "signed-already",
        "with-half-a-signature",
    ];
    for kind in kinds {
        let request = of(kind);
        let answer = exchange(service.address, &request.bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "misconfigured"), "{kind}");
        assert!(answer.body.contains("may have been carried out"), "{answer:?}");
        assert_eq!(answer.get("cache-control"), Some("no-store"));
        assert_eq!(verify(&request, &answer), Ok(()), "{kind}: {answer:?}");
    }
    let counted = recorder.snapshotter().snapshot().into_vec().into_iter();
    let counted: Vec<_> = counted
        .filter(|(key, ..)| key.key().name() == "countersign_unsignable_responses_total")
        .map(|(.., value)| value)
        .collect();
    let expected = u64::try_from(kinds.len()).unwrap();
    assert_eq!(counted, [DebugValue::Counter(expected)]);
}

#[tokio::test]
async fn what_replaces_an_answer_is_signed_whatever_the_limits_of_answers_are() {
    let no_content = |answers: SignResponses| answers.content_limit(0);
    let no_time = |answers: SignResponses| answers.content_timeout(Duration::ZERO);
    for (set, kind) in [(no_content as fn(_) -> _, "full"), (no_time, "endless")] {
        let service = start_with(origins().into(), set).await;
        let request = of(kind);
        let answer = exchange(service.address, &request.bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "misconfigured"), "{kind}");
        assert_eq!(verify(&request, &answer), Ok(()), "{kind}: {answer:?}");
        let empty = exchange(service.address, &of("none").bytes()).await;
        assert_eq!(empty.status, 204, "{empty:?}");
    }
}

#[tokio::test]
async fn what_nothing_can_be_bound_to_is_answered_unsigned() {
    let service = start().await;
    let requests = [
        (Raw::read().set("Host", "evil.example"), 421),
        (Raw::read().without("Host"), 400),
        (Raw::read().target("/v1//orders"), 400),
        (Raw::read().target("/v1/orders?"), 400),
        (Raw::read().target("*").method("OPTIONS"), 400),
    ];
    for (request, status) in requests {
        let answer = exchange(service.address, &request.bytes()).await;
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.get("signature"), None, "{answer:?}");
    }
}

#[tokio::test]
async fn nobody_on_the_way_changes_an_answer() {
    use ResponseRejection::{DigestMismatch, Invalid, UnknownKey, Unsigned};
    let service = start().await;
    let request = Raw::order().signed();
    let answer = exchange(service.address, &request.bytes()).await;
    let set = |mut answer: Answer, name: &str, change: &dyn Fn(&str) -> String| {
        for (other, value) in &mut answer.headers {
            if other == name {
                *value = change(value);
            }
        }
        answer
    };
    let without = |mut answer: Answer, prefix: &str| {
        answer.headers.retain(|(name, _)| !name.starts_with(prefix));
        answer
    };
    let own = key(SERVER).publishable_key().thumbprint().map(KeyId::Thumbprint).unwrap();
    let other = key(NEXT).publishable_key().thumbprint().map(KeyId::Thumbprint).unwrap();
    let body = |text: &str| Answer { body: text.into(), ..answer.clone() };
    let changed = [
        ("as it came", answer.clone(), Ok(())),
        ("status", Answer { status: 200, ..answer.clone() }, Err(Invalid)),
        ("content", body(&answer.body.replace("book", "cook")), Err(DigestMismatch)),
        ("cut short", body(""), Err(DigestMismatch)),
        (
            "content type",
            set(answer.clone(), "content-type", &|_| "text/html".into()),
            Err(Invalid),
        ),
        ("unsigned", without(answer.clone(), "signature"), Err(Unsigned)),
        (
            "by another key",
            set(answer.clone(), "signature-input", &|input| {
                input.replace(&own.to_string(), &other.to_string())
            }),
            Err(UnknownKey),
        ),
        (
            "made later",
            set(answer.clone(), "signature-input", &|input| {
                input.replace("created=1763900000", "created=1763900001")
            }),
            Err(Invalid),
        ),
    ];
    for (name, answer, expected) in changed {
        assert_eq!(verify(&request, &answer), expected, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_of_what_somebody_changed_is_no_answer_to_what_was_sent() {
    let service = start().await;
    let changes = [
        // A client would sign such a one again, although it was carried out.
        ("its time", "created=1763900000", "created=1763890000", "signature-stale"),
        ("what it covers", " \"@query\"", "", "signature-policy"),
        ("its tag", "tag=", "tagg=", "signature-policy"),
    ];
    for (name, from, to, code) in changes {
        let sent = Raw::order().signed();
        let carried_out = exchange(service.address, &sent.bytes()).await;
        assert_eq!(verify(&sent, &carried_out), Ok(()));
        let changed = sent.clone().change("Signature-Input", |input| input.replace(from, to));
        let refused = exchange(service.address, &changed.bytes()).await;
        assert_eq!(refused.code(), code, "{name}: {refused:?}");
        assert!(refused.get("signature").is_some(), "{name}");
        assert!(verify(&sent, &refused).is_err(), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn an_old_answer_to_an_unsigned_read_is_refused_for_its_age() {
    let service = start().await;
    let request = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    for (from_now, accepted) in [(0, true), (-70, true), (-71, false), (10, true), (11, false)] {
        service.clock.set(from_now);
        let answer = exchange(service.address, &request.bytes()).await;
        let verdict = verify(&request, &answer);
        assert_eq!(verdict.is_ok(), accepted, "{from_now}: {verdict:?}");
    }
}

#[tokio::test]
async fn behind_a_proxy_the_host_is_the_one_that_the_verifier_takes() {
    let proxies = ["10.0.0.7/32".parse().unwrap()];
    let proxies = Proxies::new(proxies, ForwardedFields::XForwarded).unwrap();
    let service = start_behind(Ingress::forwarded(origins(), proxies)).await;
    let forwarded = |from: &str| {
        let request = Raw::order().signed().set("Host", "backend");
        let request = request.add("X-Forwarded-Host", "api.example.com");
        request.add("X-Forwarded-For", "192.0.2.1").add("Test-From", from)
    };
    let request = forwarded("10.0.0.7");
    let answer = exchange(service.address, &request.bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(verify(&request, &answer), Ok(()));
    // What anybody else says of the host names nothing that an answer could be bound to.
    let answer = exchange(service.address, &forwarded("192.0.2.9").bytes()).await;
    assert_eq!((answer.status, answer.get("signature")), (421, None), "{answer:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn behind_nginx_answers_arrive_as_they_were_signed_unless_it_is_told_to_change_them() {
    use harness::Nginx;
    let listed = [format!("{}/32", Nginx::FROM).parse().unwrap()];
    let proxies = Proxies::new(listed, ForwardedFields::XForwarded).unwrap();
    let service = start_behind(Ingress::from(origins()).proxies(proxies)).await;
    let nginx = Nginx::start(service.address);
    let requests = [
        Raw::order().signed(),
        Raw::order(),
        of("none"),
        of("not-modified"),
        of("moved"),
        of("failed"),
        of("full"),
        of("large"),
        Raw::read().method("HEAD").target("/v1/secret").signed(),
        Raw::read().target(KEY_DIRECTORY_PATH),
    ];
    for request in requests {
        let answer = exchange(nginx.address, &request.bytes()).await;
        assert_eq!(verify(&request, &answer), Ok(()), "{}: {answer:?}", request.target);
    }
    let rewriting = Nginx::start_with(service.address, |configuration| {
        configuration.replace("proxy_pass", "proxy_redirect /there /elsewhere; proxy_pass")
    });
    let request = of("moved");
    let answer = exchange(rewriting.address, &request.bytes()).await;
    assert!(answer.get("location").unwrap().ends_with("/elsewhere"), "{answer:?}");
    assert_eq!(verify(&request, &answer), Err(ResponseRejection::Invalid));
}

#[tokio::test]
async fn the_directory_needs_no_credential_and_has_the_keys_before_they_are_used() {
    let service = start().await;
    let request = Raw::read().target(KEY_DIRECTORY_PATH);
    let answer = exchange(service.address, &request.bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.get("content-type"), Some(KEY_DIRECTORY_TYPE));
    assert_eq!(answer.get("cache-control"), Some("private, max-age=300"));
    let keys = ServerKeys::from_jwks(answer.body.as_bytes()).unwrap();
    for seed in [SERVER, NEXT] {
        assert!(keys.find(&KeyId::from(key(seed).publishable_key())).is_some());
    }
    assert_eq!(verify(&request, &answer), Ok(()), "like any other answer");
    let (headers, status) = (fields(&answer), StatusCode::OK);
    request.with_head(|head, _| {
        let response = ResponseHead { status, headers: &headers };
        let message = Message::from(response).with_request(*head);
        let proof = Candidate::select(&message, Some("directory")).unwrap();
        proof.insecure_verify_without_policy(&key(SERVER).verifying_key()).unwrap();
    });
    let head = exchange(service.address, &request.clone().method("HEAD").bytes()).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let write = request.method("POST");
    let refused = exchange(service.address, &write.bytes()).await;
    assert_eq!((refused.status, refused.get("allow")), (405, Some("GET, HEAD")));
    assert_eq!(verify(&write, &refused), Ok(()));
}

#[tokio::test]
async fn caches_are_told_the_same_as_without_signatures() {
    let service = start().await;
    let open = exchange(service.address, &Raw::read().target("/health").bytes()).await;
    assert_eq!(open.get("cache-control"), None);
    let signed = exchange(service.address, &of("empty").bytes()).await;
    assert_eq!(signed.get("cache-control"), Some("no-store"));
}
