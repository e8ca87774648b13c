//! What goes over the wire, as a server sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use countersign::{
    Claim, Content, KeyError, Origin, Passphrase, Policy, PrivateKey, RequestHead, Target,
    Timestamp, Unverified,
};
use countersign_client::{Client, Error, PublishableClient, Refusal};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

fn key() -> PrivateKey {
    PrivateKey::ed25519(&[7; 32])
}

fn client() -> Client {
    Client::new(key()).unwrap().clock(|| NOW)
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Received {
    head: Parts,
    content: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Verifies it as a server at `time` would; gives the nonce.
    fn verify(&self, time: Timestamp) -> String {
        let origin: Origin = format!("http://{}", self.header("host")).parse().unwrap();
        let head = RequestHead {
            method: &self.head.method,
            target: Target::origin_form(&self.head.uri),
            origin: &origin,
            headers: &self.head.headers,
        };
        let content = if self.content.is_empty() { Content::Absent } else { Content::Present };
        let request = Unverified::parse(head, content, &Policy::default(), time).unwrap().unwrap();
        let authentic = request.verify(&key().verifying_key()).unwrap();
        let nonce = authentic.nonce_use(1).nonce().to_string();
        let mut check = authentic.redeem(Claim::Fresh).unwrap().read();
        check.update(&self.content);
        check.finish().unwrap();
        nonce
    }
}

type Answer = Arc<dyn Fn(&Received, usize) -> Response + Send + Sync>;

/// A server that keeps what it received, and answers as it is told.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Received, usize) -> Response + Send + Sync + 'static) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let state: (Answer, _) = (Arc::new(answer), Arc::clone(&received));
        let app = Router::new().fallback(receive).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    async fn that_accepts() -> Self {
        Self::start(|_, _| StatusCode::CREATED.into_response()).await
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn receive(
    State((answer, received)): State<(Answer, Arc<Mutex<Vec<Received>>>)>,
    request: Request,
) -> Response {
    let (head, content) = request.into_parts();
    let request = Received { head, content: content.collect().await.unwrap().to_bytes() };
    let number = {
        let mut received = received.lock().unwrap();
        received.push(request.clone());
        received.len()
    };
    answer(&request, number)
}

fn redirect(status: StatusCode, location: &str) -> Response {
    (status, [(header::LOCATION, location)]).into_response()
}

fn refusal(code: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let problem = serde_json::json!({
        "type": format!("urn:countersign:problem:{code}"),
        "code": code, "detail": "why", "hint": "what to do", "request_id": "r1",
    });
    let mut response = (StatusCode::UNAUTHORIZED, problem.to_string()).into_response();
    let problem = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, problem);
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn every_way_to_build_a_request_is_signed() {
    let server = Server::that_accepts().await;
    let defaults = HeaderMap::from_iter([(
        header::HeaderName::from_static("idempotency-key"),
        HeaderValue::from_static("\"1\""),
    )]);
    let client = client().default_headers(defaults);
    let url = |target| server.url(target);
    let order = serde_json::json!({ "item": "book" });
    let requests = [
        client.get(url("/v1/orders?state=new")),
        client.get(url("/a%20b/c?q=a+b&q=%2F")),
        client.head(url("/")),
        client.delete(url("/v1/orders/1")).bearer_auth("token"),
        client.post(url("/v1/orders")).json(&order),
        client.put(url("/v1/orders/1")).form(&[("item", "book")]),
        client.patch(url("/v1/orders/1")).query(&[("a", "b c")]).body("text"),
        client.post(url("/empty")).header("x-other", "1").body(""),
    ];
    let count = requests.len();
    for request in requests {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    }
    let received = server.received();
    assert_eq!(received.len(), count);
    let nonces: HashSet<_> = received.iter().map(|request| request.verify(NOW)).collect();
    assert_eq!(nonces.len(), count, "a nonce came twice");
    for request in &received {
        assert!(request.header("signature-input").contains("\"idempotency-key\""));
    }
    assert!(received[3].header("signature-input").contains("\"authorization\""));
    assert!(received[4].header("signature-input").contains(r#""content-digest" "content-type""#));
}

#[tokio::test]
async fn a_request_that_is_sent_by_others_is_signed_too() {
    let server = Server::that_accepts().await;
    let request = client().post(server.url("/v1/orders")).body("text").sign().unwrap();
    reqwest::Client::new().execute(request).await.unwrap();
    server.received()[0].verify(NOW);
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_sent() {
    let server = Server::that_accepts().await;
    let url = server.url("/v1/orders");
    let stream = || reqwest::Body::wrap(http_body_util::Full::new(Bytes::from("text")));
    let client = client();
    let error = client.post(&url).body(stream()).send().await.unwrap_err();
    assert!(matches!(error, Error::StreamingBody), "{error:?}");
    let error = client.post(&url).header("host", "other.example").send().await.unwrap_err();
    assert!(matches!(error, Error::HostHeader), "{error:?}");
    let twice = client.post(&url).header("content-type", "a/b").header("content-type", "c/d");
    assert!(matches!(twice.send().await.unwrap_err(), Error::Sign(_)));
    let wrong_digest = client.post(&url).header("content-digest", "sha-256=:AAAA:").body("text");
    assert!(matches!(wrong_digest.send().await.unwrap_err(), Error::Sign(_)));
    let dots = client.get(format!("{url}/%2e%2e%2fother")).send().await.unwrap_err();
    assert!(matches!(dots, Error::Sign(_)), "{dots:?}");
    assert!(matches!(client.get("ftp://host/").send().await.unwrap_err(), Error::Url(_)));
    assert!(matches!(client.get("no url").send().await.unwrap_err(), Error::Http(_)));
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn a_signature_is_not_carried_to_another_origin() {
    let elsewhere = Server::that_accepts().await;
    let other = elsewhere.url("/v1/orders");
    let server = Server::start(move |_, _| redirect(StatusCode::TEMPORARY_REDIRECT, &other)).await;
    let client = client();
    for request in [client.get(server.url("/a")), client.post(server.url("/a")).body("x")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    }
    assert_eq!(server.received().len(), 2);
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_signed_anew() {
    let server = Server::start(|request, _| match request.head.uri.path() {
        "/old" => redirect(StatusCode::TEMPORARY_REDIRECT, "/new?a=b"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let response = client().post(server.url("/old")).body("text").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = server.received();
    assert_eq!(received[1].head.method, "POST");
    assert_eq!(received[1].head.uri, "/new?a=b");
    assert_eq!(received[1].content, "text");
    assert_ne!(received[0].verify(NOW), received[1].verify(NOW));
}

#[tokio::test]
async fn a_redirect_that_would_change_a_write_into_a_read_is_not_followed() {
    let statuses = [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::SEE_OTHER];
    for status in statuses {
        let server = Server::start(move |request, _| match request.head.uri.path() {
            "/old" => redirect(status, "/new"),
            _ => StatusCode::OK.into_response(),
        })
        .await;
        let client = client();
        let written = client.post(server.url("/old")).body("text").send().await.unwrap();
        assert_eq!(written.status(), status);
        assert_eq!(server.received().len(), 1);
        let read = client.get(server.url("/old")).send().await.unwrap();
        assert_eq!(read.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::start(|_, _| redirect(StatusCode::TEMPORARY_REDIRECT, "/again")).await;
    let response = client().get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.received().len(), 6);
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once() {
    let date = "Sun, 23 Nov 2025 12:05:20 GMT";
    let server_time = Timestamp::from_unix(NOW.unix() - 480);
    let server = Server::start(move |_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, date)]),
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let response = client.post(server.url("/v1/orders")).body("text").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let received = server.received();
    assert_eq!(received.len(), 3, "the second request knows the time");
    assert_ne!(received[0].verify(NOW), received[1].verify(server_time));
    received[2].verify(server_time);
}

#[tokio::test]
async fn other_refusals_are_not_tried_again() {
    let refusals: [fn() -> Response; 4] = [
        || refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 10:05:20 GMT")]),
        || {
            let date = (header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT");
            refusal("signature-stale", &[date, (header::RETRY_AFTER, "9")])
        },
        || refusal("signature-invalid", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        || StatusCode::UNAUTHORIZED.into_response(),
    ];
    for answer in refusals {
        let server = Server::start(move |_, _| answer()).await;
        let response = client().post(server.url("/")).body("text").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_hint_and_other_answers_stay_whole() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-replayed", &[]),
        _ => (StatusCode::UNAUTHORIZED, "not ours").into_response(),
    })
    .await;
    let client = client();
    let send = async || client.get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(send().await).await.unwrap_err();
    assert_eq!(refusal.code.as_str(), "signature-replayed");
    let texts = (refusal.detail.as_str(), refusal.hint.as_str(), refusal.request_id.as_str());
    assert_eq!(texts, ("why", "what to do", "r1"));
    assert_eq!(refusal.to_string(), "signature-replayed: why; what to do");
    let response = Refusal::check(send().await).await.unwrap();
    assert_eq!(response.url().path(), "/");
    assert_eq!(response.text().await.unwrap(), "not ours");
}

#[tokio::test]
async fn a_publishable_client_sends_the_key_and_no_signature() {
    let elsewhere = Server::that_accepts().await;
    let other = elsewhere.url("/");
    let server = Server::start(move |_, _| redirect(StatusCode::FOUND, &other)).await;
    let client = PublishableClient::new(key().publishable_key()).unwrap();
    client.get(server.url("/v1/orders")).send().await.unwrap();
    let received = server.received();
    assert_eq!(received[0].header("x-api-key"), key().publishable_key().to_string());
    assert_eq!(received[0].header("signature"), "");
    assert_eq!(elsewhere.received().len(), 0, "the key went elsewhere");
}

#[test]
fn a_client_prints_no_secret() {
    let secret = key().expose_text().to_string();
    let printed = format!("{:?}", client().get("http://localhost/"));
    assert!(!printed.contains(&secret) && !printed.contains("7, 7, 7"), "{printed}");
}

#[cfg(unix)]
#[test]
fn key_files_are_read_or_the_fault_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8], mode| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let text = key().expose_text().to_string();
    let pem = key().expose_pkcs8_pem().unwrap();
    let good = file("good.key", pem.as_bytes(), 0o600);
    assert_eq!(Client::from_key_file(&good).unwrap().publishable_key(), key().publishable_key());
    let line = file("line.key", text.as_bytes(), 0o400);
    assert_eq!(Client::from_key_file(&line).unwrap().publishable_key(), key().publishable_key());

    let missing = Client::from_key_file(folder.path().join("missing.key"));
    assert!(matches!(missing.unwrap_err(), Error::KeyFile { .. }));
    let open = file("open.key", pem.as_bytes(), 0o640);
    assert!(matches!(Client::from_key_file(&open).unwrap_err(), Error::KeyFileMode { .. }));
    let reason = |path| match Client::from_key_file(path).unwrap_err() {
        Error::Key { source, .. } => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(file("empty.key", b"", 0o600)), KeyError::Empty);
    let public = key().publishable_key().to_string();
    let public = reason(file("public.key", public.as_bytes(), 0o600));
    assert!(matches!(public, KeyError::WrongKind { .. }), "{public:?}");
    let encrypted = include_bytes!("../../countersign/tests/keys/encrypted_scrypt.pem");
    let encrypted = file("encrypted.key", encrypted, 0o600);
    assert_eq!(reason(encrypted.clone()), KeyError::Encrypted);
    let wrong = Passphrase::new(b"wrong".to_vec());
    assert!(Client::from_encrypted_key_file(encrypted, &wrong).is_err());
}
