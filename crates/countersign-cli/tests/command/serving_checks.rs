//! `countersign serve auth --from envoy`, asked over gRPC as Envoy asks.

use std::net::SocketAddr;

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption},
    service::auth::v3::{
        AttributeContext, CheckRequest, DeniedHttpResponse, OkHttpResponse,
        attribute_context::{HttpRequest, Request},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
};
use tonic::{Code, Status};

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, signed_order},
};

const PARTIAL: &str = "x-envoy-auth-partial-body";

/// What Envoy makes of a request in HTTP/1.1, with the settings that `serve config envoy` prints.
fn question(request: &str) -> HttpRequest {
    let (head, content) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let mut host = String::new();
    let mut headers = vec![field(":method", method), field(":path", path)];
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "host" => host = value.to_owned(),
            // Of one connection.
            "connection" => {}
            name => headers.push(field(name, value)),
        }
    }
    headers.push(field(":authority", &host));
    headers.push(field("x-forwarded-for", "192.0.2.1"));
    if !content.is_empty() {
        headers.push(field(PARTIAL, "false"));
    }
    HttpRequest {
        id: "7".into(),
        method: method.into(),
        path: path.into(),
        host,
        // Of a proxy in front of Envoy, or of the client: not believed.
        scheme: "ftp".into(),
        header_map: Some(HeaderMap { headers }),
        raw_body: content.into(),
        ..HttpRequest::default()
    }
}

fn field(name: &str, value: &str) -> HeaderValue {
    HeaderValue { key: name.into(), raw_value: value.into(), ..HeaderValue::default() }
}

/// Adds a line to the fields of the request.
fn with(mut asked: HttpRequest, name: &str, value: &str) -> HttpRequest {
    asked.header_map.as_mut().unwrap().headers.push(field(name, value));
    asked
}

#[derive(Clone, Debug)]
enum Verdict {
    Passes(OkHttpResponse),
    Refused(u32, DeniedHttpResponse),
}

impl Verdict {
    #[track_caller]
    fn passes(self) -> OkHttpResponse {
        match self {
            Self::Passes(response) => response,
            refused => panic!("{refused:?}"),
        }
    }

    /// Its status, and the code that it names in its content and in its field.
    #[track_caller]
    fn code(self) -> (u32, String) {
        let Self::Refused(status, response) = self else { panic!("{self:?}") };
        let code = line(&response.headers, "countersign-refusal").unwrap().to_owned();
        assert!(response.body.contains(&format!("\"code\":\"{code}\"")), "{response:?}");
        let kind = line(&response.headers, "content-type");
        assert_eq!(kind, Some("application/problem+json"), "{response:?}");
        (status, code)
    }
}

fn line<'l>(lines: &'l [HeaderValueOption], name: &str) -> Option<&'l str> {
    let lines = lines.iter().filter_map(|line| line.header.as_ref());
    let mut lines = lines.filter(|line| line.key == name).map(|line| line.value.as_str());
    lines.next().inspect(|_| assert_eq!(lines.next(), None, "{name} is there twice"))
}

/// Asks on a connection of its own, with this id of the proxy's own.
fn try_ask(service: SocketAddr, asked: HttpRequest, id: Option<&str>) -> Result<Verdict, Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("http://{service}");
        let mut client = AuthorizationClient::connect(url).await.unwrap();
        let request = Some(Request { http: Some(asked), ..Request::default() });
        let attributes = AttributeContext { request, ..AttributeContext::default() };
        let mut check = tonic::Request::new(CheckRequest { attributes: Some(attributes) });
        if let Some(id) = id {
            check.metadata_mut().insert("countersign-request-id", id.parse().unwrap());
        }
        let answer = client.check(check).await?.into_inner();
        let code = Code::from(answer.status.unwrap().code);
        Ok(match answer.http_response.unwrap() {
            HttpResponse::OkResponse(response) if code == Code::Ok => Verdict::Passes(response),
            HttpResponse::DeniedResponse(response) if code != Code::Ok => {
                Verdict::Refused(u32::try_from(response.status.unwrap().code).unwrap(), response)
            }
            other => panic!("{code:?}: {other:?}"),
        })
    })
}

fn ask(served: &Served, asked: HttpRequest) -> Verdict {
    try_ask(served.address, asked, None).unwrap()
}

fn asked_by(desk: &Desk, proxy: &str, routes: &str) -> Served {
    desk.write("serve.toml", routes, 0o600);
    let arguments = ["auth", "--from", "envoy", "--proxy", proxy, "--origin", ORIGIN];
    Served::with(desk, &[&arguments[..], &["--config", "serve.toml"]].concat())
}

fn read(target: &str, key: &str, fields: &str) -> HttpRequest {
    question(&format!(
        "GET {target} HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}{fields}\r\n\r\n"
    ))
}

/// Its client names the host of this service in a field.
fn of_other_host(key: &str) -> HttpRequest {
    let asked = read("/v1/orders", key, "\r\nX-Forwarded-Host: api.example.com");
    let mut asked = HttpRequest { host: "other.example.com".into(), ..asked };
    let lines = &mut asked.header_map.as_mut().unwrap().headers;
    lines.retain(|line| line.key != ":authority");
    asked
}

#[test]
fn a_read_with_a_key_passes_and_its_answer_replaces_what_the_client_forged() {
    let (desk, key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    let forged = "\r\nCountersign-Application: other\r\nCountersign-Evil: 1\r\nCountersign-Content-Digest: x\r\nCountersign-Request-Id: 0123456789abcdef\r\nX-Rewrite-Url: /other";
    let response = ask(&served, read("/v1/a%20b?x=%7e&z", &key, forged)).passes();
    let names = ["application", "credential", "access", "scopes", "content-digest"];
    let values = ["shop", &key, "publishable", "orders:read orders:write", ""];
    for (name, value) in names.into_iter().zip(values) {
        let name = format!("countersign-{name}");
        assert_eq!(line(&response.headers, &name), Some(value), "{response:?}");
    }
    assert_eq!(response.headers.len(), names.len(), "{response:?}");
    let mut removed = response.headers_to_remove;
    removed.sort();
    assert_eq!(removed, ["countersign-evil", "countersign-request-id", "x-rewrite-url"]);

    for (asked, expected) in [
        (read("/v1/orders", "pk_wrong", ""), (401, "key-unknown")),
        (read("/a/../b", &key, ""), (400, "bad-target")),
        (read("/v1/orders#x", &key, ""), (400, "bad-target")),
        (read("*", &key, ""), (400, "bad-target")),
        (read("/v1/orders", &key, "\r\nX-Forwarded-Uri: /other"), (403, "bad-question")),
        (of_other_host(&key), (421, "misdirected")),
        (
            read("/v1/orders", &key, "\r\nX-HTTP-Method-Override: DELETE"),
            (401, "signature-required"),
        ),
    ] {
        let (status, code) = ask(&served, asked).code();
        assert_eq!((status, code.as_str()), expected);
    }
}

/// A proxy that has hosts in a field of its own does not set it for Envoy's questions: the field is the client's.
#[test]
fn no_field_of_the_client_names_the_host() {
    let (desk, key) = desk_with_shop();
    let proxies = "[proxies]\naddresses = [\"127.0.0.1/32\"]\nhost = \"forwarded\"\n";
    let served = asked_by(&desk, "127.0.0.1/32", proxies);
    assert_eq!(ask(&served, of_other_host(&key)).code(), (400, "bad-request".into()));
}

#[test]
fn a_signed_write_passes_once_with_the_content_that_was_signed() {
    let (desk, _key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    let order = question(&signed_order(&desk, "a book", ""));
    let response = ask(&served, order.clone()).passes();
    assert_eq!(line(&response.headers, "countersign-access"), Some("signed"));
    assert_eq!(ask(&served, order).code(), (401, "signature-replayed".into()));
    // Over HTTP/2, or in chunks.
    let mut unannounced = question(&signed_order(&desk, "a book", ""));
    let lines = &mut unannounced.header_map.as_mut().unwrap().headers;
    lines.retain(|line| line.key != "content-length");
    ask(&served, unannounced.clone()).passes();
    for changed in ["a bomb", "a book and a bomb"] {
        let mut forged = question(&signed_order(&desk, "a book", ""));
        let lines = &mut forged.header_map.as_mut().unwrap().headers;
        lines.retain(|line| line.key != "content-length");
        forged.raw_body = changed.into();
        assert_eq!(ask(&served, forged).code(), (400, "digest-mismatch".into()));
    }
    // Content that was added to a request without any.
    let url = format!("{ORIGIN}/v1/orders");
    let sign = ["sign", "--key", "id.key", "-X", "DELETE", "--format", "http", &url];
    let bare = desk.run(sign).done();
    let mut added = question(&bare);
    added.raw_body = "evil".into();
    assert_eq!(ask(&served, with(added, PARTIAL, "false")).code().1, "signature-policy");
    ask(&served, question(&bare)).passes();
}

#[test]
fn content_that_envoy_keeps_is_refused_unless_the_route_says_otherwise() {
    let sign = |desk: &Desk| question(&signed_order(desk, "a book", ""));
    let kept = |desk: &Desk| {
        let (mut none, mut cut, mut unannounced) = (sign(desk), sign(desk), sign(desk));
        none.raw_body.clear();
        cut.raw_body.truncate(2);
        let lines = &mut unannounced.header_map.as_mut().unwrap().headers;
        lines.retain(|line| line.key != "content-length" && line.key != PARTIAL);
        [none, with(cut, PARTIAL, "true"), with(unannounced, PARTIAL, "true")]
    };
    let (desk, _key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    for asked in kept(&desk) {
        assert_eq!(ask(&served, asked).code(), (403, "content-unverified".into()));
    }
    let (desk, _key) = desk_with_shop();
    let routes =
        "[[routes]]\nmethod = \"POST\"\npath = \"/v1/orders\"\ncontent = \"checked-behind\"\n";
    let served = asked_by(&desk, "127.0.0.1/32", routes);
    for asked in kept(&desk) {
        let lines = asked.header_map.clone().unwrap().headers;
        let digest = lines.iter().find(|line| line.key == "content-digest").unwrap();
        let digest = String::from_utf8(digest.raw_value.clone()).unwrap();
        let response = ask(&served, asked).passes();
        assert_eq!(line(&response.headers, "countersign-content-digest"), Some(digest.as_str()));
    }
}

#[test]
fn a_covered_field_on_two_lines_is_refused_whatever_envoy_makes_of_them() {
    let (desk, _key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    let url = format!("{ORIGIN}/v1/orders");
    let sign = |covered: bool| {
        let mut sign = vec!["sign", "--key", "id.key", "-X", "DELETE"];
        sign.extend(["-H", "X-Dup: a", "-H", "X-Dup: b"]);
        for component in ["@method", "@authority", "@path", "@query"] {
            sign.extend(["--component", component]);
        }
        if covered {
            sign.extend(["--component", "x-dup"]);
        }
        desk.run(sign.into_iter().chain(["--format", "http", &url])).done()
    };
    let asked = question(&sign(true));
    assert_eq!(ask(&served, asked.clone()).code(), (400, "signature-malformed".into()));
    for other in ["a,b", "a, b"] {
        // As Envoy joins them without `encode_raw_headers`; as a signature base has them.
        let mut joined = asked.clone();
        joined.header_map.as_mut().unwrap().headers.retain(|line| line.key != "x-dup");
        let verdict = ask(&served, with(joined, "x-dup", other));
        match other {
            "a, b" => drop(verdict.passes()),
            _ => assert_eq!(verdict.code(), (401, "signature-invalid".into())),
        }
    }
    let uncovered = question(&sign(false));
    let lines = uncovered.header_map.clone().unwrap().headers;
    assert_eq!(lines.iter().filter(|line| line.key == "x-dup").count(), 2);
    ask(&served, uncovered).passes();
}

#[test]
fn an_envoy_that_is_set_up_otherwise_gets_no_request_through() {
    let (desk, key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    let asked = read("/v1/orders", &key, "");
    let mut joined = asked.clone();
    joined.headers = [("x-api-key".to_owned(), key.clone())].into();
    let mut only_joined = joined.clone();
    only_joined.header_map = None;
    let mut as_text = asked.clone();
    as_text.body = "a book".into();
    let mut no_host = asked.clone();
    no_host.host.clear();
    let host = with(asked.clone(), "host", "other.example.com");
    let method = with(asked.clone(), ":method", "DELETE");
    let target = with(asked.clone(), ":path", "/other");
    let length = with(with(asked.clone(), "content-length", "0"), "content-length", "1");
    let control = with(asked.clone(), "x-own", "a\nb");
    let wrong = [
        joined,
        only_joined,
        as_text,
        no_host,
        host,
        method,
        target,
        length,
        control,
        HttpRequest::default(),
    ];
    for asked in wrong {
        assert_eq!(ask(&served, asked.clone()).code(), (403, "bad-question".into()), "{asked:?}");
    }
    ask(&served, asked).passes();
}

#[test]
fn only_a_listed_envoy_may_ask_and_only_over_grpc() {
    let (desk, key) = desk_with_shop();
    let served = asked_by(&desk, "10.0.0.7/32", "");
    let refused = try_ask(served.address, read("/v1/orders", &key, ""), None).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let code = refused.metadata().get("countersign-refusal");
    assert_eq!(code.unwrap(), "proxy-unknown", "{refused:?}");
    assert_eq!(served.read(&key, "").code(), "proxy-unknown");
    drop(served);
    let arguments = ["auth", "--from", "envoy-http", "--proxy", "10.0.0.7/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let url = format!("http://{}/envoy.service.auth.v3.Authorization/Check", served.address);
    let called = std::process::Command::new("curl")
        .args(["-q", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge"])
        .args(["-X", "POST", "-H", "Content-Type: application/grpc", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(called.stdout).unwrap(), "403");
    drop(served);
    let served = asked_by(&desk, "127.0.0.1/32", "");
    // To a proxy that asks over HTTP 200 means that a request passes, and gRPC answers 200 whatever its verdict is.
    let head = "POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nHost: a";
    for request in [
        format!("GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}"),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc".to_owned(),
        format!("{head}\r\nContent-Type: application/grpc\r\nContent-Length: 0"),
    ] {
        let response = served.send(format!("{request}\r\nConnection: close\r\n\r\n"));
        assert_eq!((response.status, response.code()), (403, "bad-question"), "{response:?}");
    }
}

#[test]
fn a_question_that_envoy_asks_again_is_answered_alike_and_no_other_is() {
    let (desk, _key) = desk_with_shop();
    let served = asked_by(&desk, "127.0.0.1/32", "");
    // The id that a client sends is none.
    let order = signed_order(&desk, "a book", "Countersign-Request-Id: 0123456789abcdef\r\n");
    let ask = |id| try_ask(served.address, question(&order), id).unwrap();
    let first = ask(Some("3e5e0257-c3dc-488b-9d6c-f5e5061b8c69")).passes();
    assert_eq!(ask(Some("3e5e0257-c3dc-488b-9d6c-f5e5061b8c69")).passes(), first);
    for id in [None, Some("c35f6df5-89b9-463e-82ac-944ea2389d5c"), Some("0123456789abcdef")] {
        assert_eq!(ask(id).code(), (401, "signature-replayed".into()), "{id:?}");
    }
}
