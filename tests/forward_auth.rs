//! The corpus of bad input through forward authentication: each kind of proxy asks about each request as it does with the printed
//! configuration, and gets the corpus's verdict.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use countersign_server::{Route, RouteTable, serve};
use countersign_service::{AskedContent, ForwardAuth, ProxyKind};
use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Request},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
};
use harness::{
    End, Http2, Outcome, Service, TestClock,
    corpus::{Case, Corpus, Step},
    exchange_http1, verifier,
};
use http::Method;
use tokio::net::TcpListener;

type Field = (String, Vec<u8>);

/// A request as a proxy has read it.
struct Received {
    method: String,
    target: Vec<u8>,
    host: Vec<u8>,
    fields: Vec<Field>,
    content: Vec<u8>,
}

/// The fields that the printed configurations replace or take out, and those of one connection.
const REPLACED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
];

impl Received {
    /// Nothing for a request that a proxy does not ask about: it never ends, or its length is not that of its content.
    fn of(request: &Http2) -> Option<Self> {
        let pseudo = |name: &str| {
            let found = request.headers.iter().find(|(other, _)| other.0 == name.as_bytes());
            found.map(|(_, value)| value.0.clone())
        };
        let (method, target, host) = (pseudo(":method")?, pseudo(":path")?, pseudo(":authority")?);
        let mut fields: Vec<Field> = Vec::new();
        for (name, value) in &request.headers {
            let name = String::from_utf8(name.0.clone()).ok()?;
            let cookie = fields.iter_mut().find(|(other, _)| other == "cookie" && name == "cookie");
            match cookie {
                // All of them join cookies, as RFC 9113 §8.2.3 has it.
                Some((_, whole)) => whole.extend([b"; ", &value.0[..]].concat()),
                None if name.starts_with(':') => {}
                None => fields.push((name, value.0.clone())),
            }
        }
        let announced = fields.iter().find(|(name, _)| name == "content-length");
        let length = request.body.len().to_string();
        let fits = announced.is_none_or(|(_, announced)| announced == length.as_bytes());
        let whole = request.end == End::Whole && fits;
        let method = String::from_utf8(method).ok()?;
        whole.then(|| Self { method, target, host, fields, content: request.body.clone() })
    }

    fn kept_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|(name, _)| !REPLACED.contains(&name.as_str()))
    }

    /// The question over HTTP.
    fn question(&self, kind: ProxyKind) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut line = |parts: &[&[u8]]| bytes.extend([&parts.concat()[..], b"\r\n"].concat());
        let (method, length) = (self.method.as_bytes(), self.content.len().to_string());
        let passes = match kind {
            ProxyKind::Nginx | ProxyKind::Caddy => {
                line(&[b"GET / HTTP/1.1"]);
                false
            }
            ProxyKind::Traefik => {
                line(&[method, b" / HTTP/1.1"]);
                true
            }
            ProxyKind::Envoy | ProxyKind::EnvoyHttp => {
                line(&[method, b" ", &self.target, b" HTTP/1.1"]);
                true
            }
        };
        match kind {
            ProxyKind::Nginx => {
                line(&[b"Host: 127.0.0.1"]);
                line(&[b"X-Original-Method: ", method]);
                line(&[b"X-Original-URI: ", &self.target]);
                line(&[b"X-Forwarded-Host: ", &self.host]);
            }
            ProxyKind::Caddy | ProxyKind::Traefik => {
                line(&[b"Host: 127.0.0.1"]);
                line(&[b"X-Forwarded-Method: ", method]);
                line(&[b"X-Forwarded-Uri: ", &self.target]);
                line(&[b"X-Forwarded-Host: ", &self.host]);
            }
            ProxyKind::Envoy | ProxyKind::EnvoyHttp => line(&[b"Host: ", &self.host]),
        }
        line(&[b"X-Forwarded-For: 192.0.2.1"]);
        for (name, value) in self.kept_fields() {
            line(&[name.as_bytes(), b": ", value]);
        }
        if passes {
            line(&[b"Content-Length: ", length.as_bytes()]);
        } else {
            line(&[b"Countersign-Protocol: HTTP/1.1"]);
            if !self.content.is_empty() {
                line(&[b"Countersign-Content-Length: ", length.as_bytes()]);
            }
        }
        line(&[b""]);
        if passes {
            bytes.extend(&self.content);
        }
        bytes
    }

    /// The question over gRPC; nothing for a target or a host that is no text, which the message cannot hold.
    fn message(&self) -> Option<HttpRequest> {
        let field = |name: &str, value: &[u8]| HeaderValue {
            key: name.into(),
            raw_value: value.into(),
            ..HeaderValue::default()
        };
        let mut headers: Vec<_> =
            self.kept_fields().map(|(name, value)| field(name, value)).collect();
        headers.push(field(":path", &self.target));
        if !self.content.is_empty() {
            headers.push(field("x-envoy-auth-partial-body", b"false"));
        }
        Some(HttpRequest {
            method: self.method.clone(),
            path: String::from_utf8(self.target.clone()).ok()?,
            host: String::from_utf8(self.host.clone()).ok()?,
            header_map: Some(HeaderMap { headers }),
            raw_body: self.content.clone(),
            ..HttpRequest::default()
        })
    }
}

/// The verdict on a request: its status, and the code of a refusal.
async fn ask(
    service: SocketAddr,
    kind: ProxyKind,
    received: &Received,
) -> Option<(u16, Option<String>)> {
    let code = |code: String| Some(code).filter(|code| !code.is_empty());
    if kind != ProxyKind::Envoy {
        let answer = match exchange_http1(service, &received.question(kind)).await {
            Outcome::Answer(answer) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!(answer.status == 200, answer.get("countersign-access").is_some(), "{answer:?}");
        return Some((answer.status, code(answer.code())));
    }
    let request = Request { http: Some(received.message()?), ..Request::default() };
    let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
    let mut client = AuthorizationClient::connect(format!("http://{service}")).await.unwrap();
    let answer = client.check(CheckRequest { attributes: Some(attributes) }).await;
    let answer = answer.unwrap().into_inner();
    let passes = answer.status.unwrap().code == 0;
    match answer.http_response.unwrap() {
        HttpResponse::OkResponse(_) if passes => Some((200, None)),
        HttpResponse::DeniedResponse(refusal) if !passes => {
            let problem: serde_json::Value =
                serde_json::from_str(&refusal.body).unwrap_or_default();
            let text =
                problem.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned();
            Some((refusal.status.unwrap().code.try_into().unwrap(), code(text)))
        }
        other => panic!("{other:?}"),
    }
}

fn table(content: AskedContent) -> RouteTable {
    let signed = |method, path: &str| match content {
        AskedContent::Whole => Route::signed(method, path),
        AskedContent::Kept => Route::signed(method, path).insecure_content_elsewhere(1 << 20),
    };
    let below = |prefix: &str| {
        let path = |path: &str| format!("{prefix}{path}");
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let writes = writes.map(|method| signed(method, &path("/v1/plain")));
        let others = [
            Route::read(&path("/v1/orders")),
            signed(Method::POST, &path("/v1/orders")),
            signed(Method::GET, &path("/v1/secret")),
            signed(Method::GET, &path("/v1/raised")),
        ];
        writes.into_iter().chain(others).collect::<Vec<_>>()
    };
    RouteTable::new(["", "/api", "/api/deep"].into_iter().flat_map(below)).unwrap()
}

async fn start(kind: ProxyKind) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (clock, keys, nonces) =
        (TestClock::default(), Arc::new(Service::keys()), Arc::new(Service::nonces()));
    let proxies = ["127.0.0.1/32".parse().unwrap()];
    let auth = ForwardAuth::new(kind, proxies, |content| {
        verifier(&clock, Arc::clone(&keys), Arc::clone(&nonces)).routes(table(content))
    });
    tokio::spawn(serve(listener, auth, std::future::pending()));
    address
}

/// The verdict that a proxy's question gets in the place of the corpus's, where it is another one.
fn other_verdict(kind: ProxyKind, received: &Received, step: &Step) -> Option<(u16, &'static str)> {
    let code = step.expect.code.as_deref();
    let keeps = matches!(kind, ProxyKind::Nginx | ProxyKind::Caddy);
    let is_read =
        step.expect.claim == Some(true) && matches!(code, Some("digest-mismatch" | "bad-request"));
    if keeps && !received.content.is_empty() && (step.expect.handler || is_read) {
        // The content never comes, and no route of this table is checked behind the proxy.
        return Some((403, "content-unverified"));
    }
    let trailers = step.http2.as_ref().is_some_and(|request| !request.trailers.is_empty());
    if !keeps && trailers && code == Some("bad-request") {
        // These proxies take trailers out, of the question and of the request that they forward.
        return Some((200, ""));
    }
    None
}

/// Whether the corpus has the case for the usual server, in both versions of HTTP: a proxy answers what is wrong with a version
/// itself, and asks nobody.
fn is_asked(case: &Case) -> bool {
    case.server == "usual"
        && case
            .steps
            .iter()
            .all(|step| step.clock == 0 && step.http1.is_some() && step.http2.is_some())
}

async fn all(kind: ProxyKind) {
    let service = start(kind).await;
    let corpus = Corpus::read();
    let (mut asked, mut wrong, mut left_out) = (0_usize, Vec::new(), BTreeSet::new());
    for case in corpus.cases().filter(|case| is_asked(case)) {
        for step in &case.steps {
            let received = step.http2.as_ref().and_then(Received::of);
            let verdict = match &received {
                Some(received) => ask(service, kind, received).await,
                None => None,
            };
            let (Some(received), Some(verdict)) = (received, verdict) else {
                left_out.insert(case.name.as_str());
                continue;
            };
            asked = asked.saturating_add(1);
            let as_said = match step.expect.handler {
                true => (200, None),
                false => (step.expect.status.unwrap_or_default(), step.expect.code.clone()),
            };
            let other = other_verdict(kind, &received, step);
            let other = other.map(|(status, code)| {
                (status, Some(code.to_owned()).filter(|code| !code.is_empty()))
            });
            if verdict != other.unwrap_or_else(|| as_said.clone()) {
                wrong.push(format!("{}: {verdict:?}, not {as_said:?}", case.name));
            }
        }
    }
    // Proxies refuse these themselves.
    assert_eq!(left_out, BTreeSet::from(["CONNECT", "no Host"]));
    assert!(wrong.is_empty() && asked > 200, "{asked} asked, {wrong:#?}");
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_if_nginx_asks() {
    all(ProxyKind::Nginx).await;
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_if_caddy_asks() {
    all(ProxyKind::Caddy).await;
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_if_traefik_asks() {
    all(ProxyKind::Traefik).await;
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_if_envoy_asks_over_grpc() {
    all(ProxyKind::Envoy).await;
}

#[tokio::test]
async fn all_of_the_corpus_is_as_expected_if_envoy_asks_over_http() {
    all(ProxyKind::EnvoyHttp).await;
}
