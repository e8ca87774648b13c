//! What the libraries below the verifier do with odd input: hyper, h2 and axum with what they hand to a service, and sfv with what it
//! makes of text. The verifier relies on each row. Where an upgrade changes one, look at what it means for the verifier before
//! changing the row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, body::Body, extract::Request, http::request::Parts};
use countersign_server::serve;
use harness::{Http2, Outcome, exchange_http1, exchange_http2};
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sfv::{Dictionary, FieldType, Parser};
use tokio::net::TcpListener;

/// What becomes of an input.
#[derive(Debug)]
enum Does {
    /// The service gets it: these facts, by their JSON pointers.
    Passes(Vec<(&'static str, Value)>),
    /// The stack answers itself.
    Answers(u16),
    /// The service gets it, and the stack answers in its place.
    Replaced(u16),
    /// The stack resets the stream before the service gets anything of it.
    ResetsStream,
    /// The stack resets the stream, of which the service may have the head already.
    ResetsContent,
    /// The stack gives the connection up.
    EndsConnection,
}

use Does::{Answers, EndsConnection, Passes, Replaced, ResetsContent, ResetsStream};

/// A service without a verifier, that answers what it gets.
struct Echo {
    address: SocketAddr,
    /// How often it got something.
    calls: Arc<AtomicUsize>,
}

impl Echo {
    async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let app = Router::new().fallback(async move |request: Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let (head, body) = request.into_parts();
            Json(seen(&head, body).await)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app, std::future::pending()));
        Self { address, calls }
    }

    /// How what became of an input differs from what its row says.
    fn difference(&self, outcome: &Outcome, calls_before: usize, does: &Does) -> Option<String> {
        let called = self.calls.load(Ordering::SeqCst) != calls_before;
        let as_said = match (does, outcome) {
            (Passes(facts), Outcome::Answer(answer)) => {
                let seen: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let fact = |(pointer, fact): &(&str, Value)| {
                    seen.pointer(pointer).unwrap_or(&Value::Null) == fact
                };
                answer.status == 200 && called && facts.iter().all(fact)
            }
            (Answers(status), Outcome::Answer(answer)) => answer.status == *status && !called,
            (Replaced(status), Outcome::Answer(answer)) => answer.status == *status && called,
            (ResetsStream, Outcome::StreamError(_)) => !called,
            (ResetsContent, Outcome::StreamError(_)) => true,
            (EndsConnection, Outcome::ConnectionError(_) | Outcome::Closed) => !called,
            _ => false,
        };
        (!as_said).then(|| format!("{outcome:?} instead of {does:?}"))
    }
}

/// What a service gets: one character is one byte.
async fn seen(head: &Parts, mut body: Body) -> Value {
    let (mut content, mut trailers, mut broken) = (Vec::new(), HeaderMap::new(), false);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => content.extend(data),
            Ok(Err(frame)) => trailers = frame.into_trailers().unwrap_or_default(),
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    json!({
        "version": format!("{:?}", head.version),
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "scheme": head.uri.scheme_str(),
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "headers": fields(&head.headers),
        "body": text(&content),
        "broken": broken,
        "trailers": fields(&trailers),
    })
}

fn fields(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut fields: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in headers {
        fields.entry(name.as_str()).or_default().push(text(value.as_bytes()));
    }
    fields
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn passes<const N: usize>(facts: [(&'static str, Value); N]) -> Does {
    Passes(facts.into())
}

/// The service gets this and nothing else of the field.
fn field(pointer: &'static str, values: &[&str]) -> Does {
    Passes(vec![(pointer, json!(values))])
}

#[tokio::test]
async fn http1_input_becomes_what_the_table_says() {
    let get = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    let target = |target: &str| get(&format!("GET {target} HTTP/1.1"));
    let with = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes();
    let post = |lines: &str, content: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{content}").into_bytes()
    };
    let chunked = |content: &str| post("Transfer-Encoding: chunked", content);
    let untouched = |target: &'static str| ("/uri", json!(target));
    let none = || json!(null);
    let many = |count: usize| with(&vec!["X: y"; count].join("\r\n"));
    let long = |length: usize| "a".repeat(length);
    let rows: Vec<(&str, Vec<u8>, Does)> = vec![
        // Hosts
        ("two hosts", with("Host: a\r\nHost: b"), field("/headers/host", &["a", "b"])),
        ("no host", with("X: y"), passes([("/headers/host", none()), ("/authority", none())])),
        ("an empty host", with("Host:"), field("/headers/host", &[""])),
        ("a host with a path", with("Host: a/foo?bar"), field("/headers/host", &["a/foo?bar"])),
        ("a host with a user", with("Host: u@a"), field("/headers/host", &["u@a"])),
        (
            "HTTP/1.0 without a host",
            b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            passes([("/version", json!("HTTP/1.0")), ("/headers/host", none())]),
        ),
        (
            "a whole URI of another host",
            target("http://b/x"),
            passes([("/authority", json!("b")), ("/headers/host", json!(["a"]))]),
        ),
        (
            "a whole URI with a user",
            target("http://u:p@b/x"),
            passes([("/authority", json!("u:p@b"))]),
        ),
        // Targets
        ("a fragment", target("/x#frag"), passes([untouched("/x")])),
        ("dot segments", target("/api/../admin"), passes([untouched("/api/../admin")])),
        ("two slashes", target("//api//x"), passes([("/path", json!("//api//x"))])),
        ("an encoded slash", target("/a%2Fb"), passes([untouched("/a%2Fb")])),
        ("bad percent signs", target("/%zz%1"), passes([untouched("/%zz%1")])),
        ("UTF-8 in the path", target("/\u{e9}"), passes([untouched("/\u{e9}")])),
        ("other odd characters in the path", target("/\"{}|^"), passes([untouched("/\"{}|^")])),
        ("a backslash in the path", target("/a\\b"), passes([untouched("/a\\b")])),
        ("a quote in the query", target("/?\""), Answers(400)),
        ("brackets in the query", target("/?<>"), Answers(400)),
        ("a backtick in the query", target("/?`"), passes([("/query", json!("`"))])),
        ("a space in the target", target("/a b"), Answers(400)),
        ("an empty query", target("/x?"), passes([("/query", json!("")), untouched("/x?")])),
        ("no query", target("/x"), passes([("/query", none())])),
        (
            "a host as the target",
            target("b"),
            passes([("/authority", json!("b")), ("/path", json!(""))]),
        ),
        ("20 KB of target", target(&format!("/{}", long(20_000))), passes([])),
        ("64 KB of target", target(&format!("/{}", long(64_000))), Answers(414)),
        ("70 KB of target", target(&format!("/{}", long(70_000))), Answers(431)),
        // Fields
        ("bare LF", b"GET / HTTP/1.1\nHost: a\nX: y\n\n".to_vec(), field("/headers/x", &["y"])),
        ("a field that goes on", with("Host: a\r\nX: b\r\n c"), Answers(400)),
        ("a bare CR", with("Host: a\r\nX: b\rc"), Answers(400)),
        ("NUL", with("Host: a\r\nX: \0"), Answers(400)),
        ("a name with @", with("Host: a\r\n@method: GET"), Answers(400)),
        ("a space before the colon", with("Host: a\r\nX : y"), Answers(400)),
        ("a space before the first name", with(" Host: a"), Answers(400)),
        ("white space around a value", with("X: \t y \t"), field("/headers/x", &["y"])),
        (
            "bytes that are not ASCII",
            [b"GET / HTTP/1.1\r\nX: caf\xc3\xa9\r\n\r\n".as_slice()].concat(),
            field("/headers/x", &["caf\u{c3}\u{a9}"]),
        ),
        ("a TAB in a value", with("X: a\tb"), field("/headers/x", &["a\tb"])),
        (
            "an underscore in a name",
            with("Content_Digest: x"),
            field("/headers/content_digest", &["x"]),
        ),
        ("names in upper case", with("X-A: 1\r\nx-a: 2"), field("/headers/x-a", &["1", "2"])),
        ("100 fields", many(100), passes([])),
        ("101 fields", many(101), Answers(431)),
        ("20 KB of a value", with(&format!("X: {}", long(20_000))), passes([])),
        ("500 KB of a value", with(&format!("X: {}", long(500_000))), Answers(431)),
        // Content
        (
            "a length and chunks",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            passes([("/body", json!("ab")), ("/headers/content-length", none())]),
        ),
        (
            "chunks and a length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 3", "2\r\nab\r\n0\r\n\r\n"),
            passes([("/body", json!("ab")), ("/headers/content-length", none())]),
        ),
        (
            "the same length twice",
            post("Content-Length: 4\r\nContent-Length: 4", "abcd"),
            passes([("/body", json!("abcd"))]),
        ),
        ("two lengths", post("Content-Length: 4\r\nContent-Length: 5", "abcd"), Answers(400)),
        ("a list of lengths", post("Content-Length: 4, 4", "abcd"), Answers(400)),
        ("a length with a sign", post("Content-Length: +4", "abcd"), Answers(400)),
        (
            "chunks, and then another encoding",
            post("Transfer-Encoding: chunked, gzip", ""),
            Answers(400),
        ),
        (
            "chunks in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            Answers(400),
        ),
        (
            "an extension of a chunk",
            chunked("2;x=y\r\nab\r\n0\r\n\r\n"),
            passes([("/body", json!("ab"))]),
        ),
        (
            "a chunk whose length is no number",
            chunked("2\r\nab\r\nzz\r\n"),
            passes([("/body", json!("ab")), ("/broken", json!(true))]),
        ),
        (
            "a chunk whose length is no 64-bit number",
            chunked("fffffffffffffffff\r\n"),
            passes([("/broken", json!(true))]),
        ),
        (
            "trailers",
            chunked("0\r\nSignature: s\r\nContent-Digest: d\r\n\r\n"),
            passes([
                ("/trailers/signature", json!(["s"])),
                ("/trailers/content-digest", json!(["d"])),
                ("/headers/signature", none()),
            ]),
        ),
        (
            "content of a GET",
            b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
            passes([("/method", json!("GET")), ("/body", json!("ab"))]),
        ),
        // Methods
        ("a method in lower case", get("get / HTTP/1.1"), passes([("/method", json!("get"))])),
        ("an unknown method", get("FROB / HTTP/1.1"), passes([("/method", json!("FROB"))])),
        ("TRACE", get("TRACE / HTTP/1.1"), passes([("/method", json!("TRACE"))])),
        (
            "OPTIONS of *",
            get("OPTIONS * HTTP/1.1"),
            passes([untouched("*"), ("/path", json!("*"))]),
        ),
        ("CONNECT", get("CONNECT b:443 HTTP/1.1"), Replaced(501)),
        ("an upgrade", with("Connection: upgrade\r\nUpgrade: websocket"), Answers(501)),
        (
            "an upgrade to what nobody knows",
            with("Connection: upgrade\r\nUpgrade: chat/2"),
            field("/headers/upgrade", &["chat/2"]),
        ),
        ("HTTP/1.2", get("GET / HTTP/1.2"), Answers(400)),
    ];
    let echo = Echo::start().await;
    let mut differences = Vec::new();
    for (input, bytes, does) in rows {
        let calls = echo.calls.load(Ordering::SeqCst);
        let outcome = exchange_http1(echo.address, &bytes).await;
        differences.extend(echo.difference(&outcome, calls, &does).map(|how| (input, how)));
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn http2_input_becomes_what_the_table_says() {
    type Change = fn(&mut Http2);
    let none = || json!(null);
    let rows: Vec<(&str, Change, Does)> = vec![
        (
            "a plain request",
            |_| (),
            passes([("/uri", json!("https://a/x")), ("/method", json!("GET"))]),
        ),
        // Hosts
        (
            "a host that is another",
            |request| request.add("host", "b"),
            passes([("/authority", json!("a")), ("/headers/host", json!(["b"]))]),
        ),
        (
            "a host alone",
            |request| {
                request.remove(":authority");
                request.add("host", "b");
            },
            passes([("/authority", none()), ("/headers/host", json!(["b"]))]),
        ),
        (
            "neither",
            |request| request.remove(":authority"),
            passes([("/authority", none()), ("/headers/host", none())]),
        ),
        (
            "an authority with a user",
            |request| request.set(":authority", "u@a"),
            passes([("/authority", json!("u@a"))]),
        ),
        ("an authority with a path", |request| request.set(":authority", "a/x"), ResetsStream),
        ("an empty authority", |request| request.set(":authority", ""), ResetsStream),
        (
            "another scheme",
            |request| request.set(":scheme", "ftp"),
            passes([("/scheme", json!("ftp"))]),
        ),
        ("no scheme", |request| request.remove(":scheme"), ResetsStream),
        // Targets
        ("a fragment", |request| request.set(":path", "/x#f"), passes([("/path", json!("/x"))])),
        ("two slashes", |request| request.set(":path", "//x"), passes([("/path", json!("//x"))])),
        ("an empty query", |request| request.set(":path", "/x?"), passes([("/query", json!(""))])),
        ("*", |request| request.set(":path", "*"), passes([("/path", json!("*"))])),
        ("a whole URI", |request| request.set(":path", "https://a/x"), ResetsStream),
        ("an empty path", |request| request.set(":path", ""), ResetsStream),
        ("no path", |request| request.remove(":path"), ResetsStream),
        ("a path without a slash", |request| request.set(":path", "x"), ResetsStream),
        // Fields
        (
            "white space around a value",
            |request| request.add("x", "  a "),
            field("/headers/x", &["  a "]),
        ),
        (
            "a field twice",
            |request| {
                request.add("x", "1");
                request.add("x", "2");
            },
            field("/headers/x", &["1", "2"]),
        ),
        (
            "bytes that are not ASCII",
            |request| request.add("x", b"\xe9"),
            field("/headers/x", &["\u{e9}"]),
        ),
        ("a pseudo-header field twice", |request| request.add(":path", "/y"), ResetsStream),
        (
            "a pseudo-header field behind another",
            |request| {
                request.remove(":path");
                request.add("x", "y");
                request.add(":path", "/x");
            },
            ResetsStream,
        ),
        (
            "an unknown pseudo-header field",
            |request| request.headers.insert(0, (":x".into(), "y".into())),
            EndsConnection,
        ),
        ("a name in upper case", |request| request.add("X", "y"), EndsConnection),
        ("connection", |request| request.add("connection", "close"), ResetsStream),
        ("transfer-encoding", |request| request.add("transfer-encoding", "chunked"), ResetsStream),
        ("upgrade", |request| request.add("upgrade", "websocket"), ResetsStream),
        ("te: gzip", |request| request.add("te", "gzip"), ResetsStream),
        (
            "te: trailers",
            |request| request.add("te", "trailers"),
            field("/headers/te", &["trailers"]),
        ),
        ("LF in a value", |request| request.add("x", "a\nb"), EndsConnection),
        ("CR in a value", |request| request.add("x", "a\rb"), EndsConnection),
        ("NUL in a value", |request| request.add("x", "\0"), EndsConnection),
        ("a name with @", |request| request.add("@method", "GET"), EndsConnection),
        ("17 KB of a value", |request| request.add("x", "a".repeat(17_000)), passes([])),
        ("33 KB of a value", |request| request.add("x", "a".repeat(33_000)), Answers(431)),
        // Content
        (
            "content of a GET",
            |request| request.body = b"ab".to_vec(),
            passes([("/body", json!("ab"))]),
        ),
        (
            "a length that is too short",
            |request| {
                request.add("content-length", "1");
                request.body = b"ab".to_vec();
            },
            ResetsContent,
        ),
        (
            "a length that is too long",
            |request| {
                request.add("content-length", "3");
                request.body = b"ab".to_vec();
            },
            ResetsContent,
        ),
        ("a length without content", |request| request.add("content-length", "1"), ResetsStream),
        (
            "trailers",
            |request| request.trailers.push(("signature".into(), "s".into())),
            passes([("/trailers/signature", json!(["s"])), ("/headers/signature", none())]),
        ),
        (
            "a pseudo-header field in the trailers",
            |request| {
                request.trailers = vec![(":path".into(), "/y".into()), ("x".into(), "y".into())]
            },
            passes([("/trailers", json!({"x": ["y"]})), ("/path", json!("/x"))]),
        ),
        // Methods
        (
            "CONNECT",
            |request| {
                request.set(":method", "CONNECT");
                request.remove(":scheme");
                request.remove(":path");
            },
            Replaced(501),
        ),
        (
            "extended CONNECT",
            |request| {
                request.set(":method", "CONNECT");
                request.headers.insert(1, (":protocol".into(), "websocket".into()));
            },
            ResetsStream,
        ),
        (
            "a method in lower case",
            |request| request.set(":method", "get"),
            passes([("/method", json!("get"))]),
        ),
        ("no method", |request| request.remove(":method"), ResetsStream),
    ];
    let echo = Echo::start().await;
    let mut differences = Vec::new();
    for (input, change, does) in rows {
        let mut request = Http2::default();
        for (name, value) in
            [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/x")]
        {
            request.add(name, value);
        }
        change(&mut request);
        let calls = echo.calls.load(Ordering::SeqCst);
        let outcome = exchange_http2(echo.address, &request).await;
        differences.extend(echo.difference(&outcome, calls, &does).map(|how| (input, how)));
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn text_of_structured_fields_is_parsed_as_the_table_says() {
    let long = format!("s=();nonce=\"{}\"", "a".repeat(100_000));
    let labels: Vec<_> = (0..5000).map(|at| format!("s{at}=()")).collect();
    let labels = labels.join(", ");
    let same = |text: &'static str| (text, Some(text));
    let rows: Vec<(&str, Option<&str>)> = vec![
        // What is taken, and how it is written again.
        ("s=(\"a\");created=1, s=(\"b\");created=2", Some("s=(\"b\");created=2")),
        ("s=();created=1;created=2", Some("s=();created=2")),
        same("s=(\"a\" \"a\")"),
        same("s=();created=-1"),
        same("s=();created=1.5"),
        same("s=();created=@1659578233"),
        same("s=();created"),
        same("s=();created=999999999999999"),
        ("s=();created=0001", Some("s=();created=1")),
        ("s=( \"a\"  \"b\" )", Some("s=(\"a\" \"b\")")),
        ("s=();  created=1", Some("s=();created=1")),
        ("s=:AAA:", Some("s=:AAA=:")),
        ("s=:AAB=:", Some("s=:AAA=:")),
        (" s=() ", Some("s=()")),
        (&long, Some(&long)),
        (&labels, Some(&labels)),
        // What is not.
        ("s=();created=1000000000000000", None),
        ("s=(\"a\"\t\"b\")", None),
        ("s=(),", None),
        ("S=()", None),
        ("s=();Created=1", None),
        ("s=();nonce=\"\u{e9}\"", None),
        ("s=();nonce=\"a\tb\"", None),
        ("s=();nonce=\"\0\"", None),
        ("s=:-_8=:", None),
    ];
    for (text, written) in rows {
        let parsed = Parser::new(text).parse::<Dictionary>();
        let again = parsed.ok().and_then(|parsed| parsed.serialize());
        let shown: String = text.chars().take(80).collect();
        assert!(again.as_deref() == written, "{shown}: {:?}", again.map(|text| text.len()));
    }
}
