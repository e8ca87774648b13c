//! `countersign serve auth` behind a real nginx, set up as `countersign serve config nginx` prints it.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    desk::Desk,
    served::{ORIGIN, Response, Served, desk_with_shop, exchange, signed_order},
    upstream::{PATIENCE, Upstream},
};

/// An nginx in front of a server, which asks a service.
struct Nginx {
    child: Child,
    address: SocketAddr,
    /// For HTTP/2, without TLS.
    http2: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers, which it would leave behind if it were killed.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

impl Nginx {
    /// As the command prints it.
    fn start(desk: &Desk, served: &Served, upstream: &Upstream) -> Self {
        let listen = served.address.to_string();
        let printed = desk.run([
            "serve",
            "config",
            "nginx",
            "--listen",
            &listen,
            "--upstream",
            &upstream.url(),
            "--origin",
            ORIGIN,
        ]);
        let printed = printed.done();
        for _ in 0..20 {
            let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [address, http2] = free.each_ref().map(|free| free.local_addr().unwrap());
            drop(free);
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = folders.map(|name| format!("{name}_temp_path {name};\n")).concat();
            let text = format!(
                "daemon off;\nworker_processes 1;\nuser root root;\npid nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\nserver {{\nlisten {address};\nlisten {http2} http2;\n{printed}\n}}\n}}\n"
            );
            desk.write("nginx.conf", text, 0o600);
            drop(fs::remove_file(desk.path("nginx.pid")));
            let folder = desk.path("");
            let mut child = Command::new("nginx")
                .arg("-p")
                .arg(&folder)
                .args(["-c", "nginx.conf", "-e", "error.log"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
                let pid = fs::read_to_string(desk.path("nginx.pid")).unwrap_or_default();
                if pid.trim() == child.id().to_string() {
                    return Self { child, address, http2 };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let log = desk.read("error.log");
            assert!(log.contains("Address already in use"), "{log}");
        }
        panic!("no nginx could be started");
    }

    fn send(&self, bytes: impl AsRef<[u8]>) -> Response {
        exchange(self.address, bytes)
    }

    fn read(&self, target: &str, key: &str, fields: &str) -> Response {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n{fields}\r\n"
        ))
    }
}

impl Nginx {
    /// Sends a request over HTTP/2, whose content no field announces. Returns the status, and the content of the response.
    fn send_unannounced(&self, request: &str, content: &str) -> (u16, String) {
        let mut lines = request.trim_end().split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        let (method, target) = (first.next().unwrap(), first.next().unwrap());
        let mut command = Command::new("curl");
        command.args(["-q", "-s", "--http2-prior-knowledge", "-X", method, "-T", "-"]);
        command.args(["-w", "\n%{http_code}", "--max-time", &PATIENCE.as_secs().to_string()]);
        for line in lines.filter(|line| !line.starts_with("Connection:")) {
            command.args(["-H", line]);
        }
        command.arg(format!("http://{}{target}", self.http2));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (content, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), content.to_owned())
    }
}

const ROUTES: &str =
    "[[routes]]\nmethod = \"POST\"\npath = \"/v1/orders\"\ncontent = \"checked-behind\"\n";

/// A service that nginx asks, nginx, and the server behind both.
fn behind_nginx(routes: &str) -> (Desk, String, Served, Nginx, Upstream) {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    desk.write("serve.toml", routes, 0o600);
    let arguments = ["auth", "--from", "nginx", "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &[&arguments[..], &["--config", "serve.toml"]].concat());
    let nginx = Nginx::start(&desk, &served, &upstream);
    (desk, key, served, nginx, upstream)
}

#[test]
fn nginx_forwards_a_read_with_a_key_and_tells_the_server_who_calls() {
    let (_desk, key, _served, nginx, upstream) = behind_nginx("");
    let forged = "Countersign-Application: other\r\nCountersign-Access: signed\r\nX-Forwarded-For: 192.0.2.1\r\nX-Original-URI: /v1/a%20b?x=%7e&z\r\nCountersign-Request-Id: 0123456789abcdef\r\n";
    let response = nginx.read("/v1/a%20b?x=%7e&z", &key, forged);
    assert_eq!((response.status, response.content()), (200, "well"), "{response:?}");
    let received = upstream.next();
    assert_eq!(received.line(), "GET /v1/a%20b?x=%7e&z HTTP/1.1");
    assert_eq!(received.values("countersign-application"), ["shop"]);
    assert_eq!(received.values("countersign-credential"), [&key]);
    assert_eq!(received.values("countersign-access"), ["publishable"]);
    assert_eq!(received.values("countersign-scopes"), ["orders:read orders:write"]);
    assert_eq!(received.values("x-forwarded-for"), ["127.0.0.1"]);
    assert!(received.values("x-original-uri").is_empty());

    let response = nginx.read("/v1/orders", &key, "X-Forwarded-Uri: /other\r\n");
    assert_eq!((response.status, response.code()), (403, "bad-question"), "{response:?}");
    let response = nginx.read("/v1/orders", "pk_wrong", "");
    assert!(matches!(response.status, 400 | 401) && response.is_refusal(), "{response:?}");
    let response = nginx.read("/a/../b", &key, "");
    assert_eq!((response.status, response.code()), (400, "bad-target"), "{response:?}");
    assert!(upstream.has_nothing());
}

#[test]
fn nginx_forwards_a_signed_write_once() {
    let (desk, _key, _served, nginx, upstream) = behind_nginx(ROUTES);
    let order = signed_order(&desk, "a book", "");
    let response = nginx.send(&order);
    assert_eq!((response.status, response.content()), (200, "well"), "{response:?}");
    let received = upstream.next();
    assert_eq!(received.line(), "POST /v1/orders?expand=customer HTTP/1.1");
    assert_eq!(received.content, b"a book");
    assert_eq!(received.values("countersign-access"), ["signed"]);
    // The server behind compares this with the content.
    assert_eq!(received.values("countersign-content-digest"), received.values("content-digest"));
    assert_eq!(received.values("countersign-content-digest").len(), 1);
    let response = nginx.send(&order);
    assert_eq!((response.status, response.code()), (401, "signature-replayed"), "{response:?}");
    let forged = signed_order(&desk, "a book", "Countersign-Request-Id: 0123456789abcdef\r\n");
    assert_eq!(nginx.send(&forged).status, 200);
    assert_eq!(nginx.send(&forged).code(), "signature-replayed");
    upstream.next();
    assert!(upstream.has_nothing());
}

/// nginx takes the answer for the response to its client: a request that is verified again could pass, and would not be forwarded.
#[test]
fn the_response_to_a_refusal_is_the_answer_that_was_given_or_an_error() {
    let (_desk, key, served, nginx, upstream) = behind_nginx("");
    let ask = |fields: &str| {
        exchange(
            served.address,
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Original-Method: GET\r\nX-Original-URI: /v1/orders\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-For: 192.0.2.1\r\nCountersign-Protocol: HTTP/1.1\r\nCountersign-Request-Id: 0123456789abcdef\r\nX-Api-Key: {key}\r\nConnection: close\r\n{fields}\r\n"
            ),
        )
    };
    let unknown = ask("Countersign-Refused: 1\r\n");
    assert_eq!((unknown.status, unknown.code()), (503, "answer-forgotten"), "{unknown:?}");
    assert_eq!(ask("").status, 200);
    assert_eq!(ask("Countersign-Refused: 1\r\n").status, 200);
    let response = nginx.read("/v1/orders", &key, "Countersign-Refused: 1\r\n");
    assert_eq!((response.status, response.content()), (200, "well"), "{response:?}");
    assert!(upstream.next().values("countersign-refused").is_empty());
}

#[test]
fn content_that_nginx_keeps_is_refused_unless_the_route_says_otherwise() {
    let (desk, _key, _served, nginx, upstream) = behind_nginx("");
    let order = signed_order(&desk, "a book", "");
    let response = nginx.send(&order);
    assert_eq!((response.status, response.code()), (403, "content-unverified"), "{response:?}");
    let chunked = signed_order(&desk, "a book", "Transfer-Encoding: chunked\r\n");
    let chunked = chunked.replace("Content-Length: 6\r\n", "");
    let chunked = chunked.replace("\r\n\r\na book", "\r\n\r\n6\r\na book\r\n0\r\n\r\n");
    let response = nginx.send(&chunked);
    assert_eq!((response.status, response.code()), (403, "content-unverified"), "{response:?}");
    // Content that was added to a request without any.
    let url = format!("{ORIGIN}/v1/orders");
    let bare =
        desk.run(["sign", "--key", "id.key", "-X", "DELETE", "--format", "http", &url]).done();
    let bare = bare.trim_end().to_owned() + "\r\nConnection: close\r\n";
    let added = format!("{bare}Content-Length: 4\r\n\r\nevil");
    let response = nginx.send(&added);
    assert_eq!((response.status, response.code()), (401, "signature-policy"), "{response:?}");
    assert!(upstream.has_nothing());
    let response = nginx.send(format!("{bare}\r\n"));
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(upstream.next().line(), "DELETE /v1/orders HTTP/1.1");
}

/// Over HTTP/2 nginx does not see in the fields of a request whether content comes.
#[test]
fn content_that_no_field_announces_is_not_forwarded_with_a_request_that_was_signed_without() {
    let (desk, key, _served, nginx, upstream) = behind_nginx("");
    let sign = |method: &str, content: &[&str]| {
        let url = format!("{ORIGIN}/v1/orders?x=%7e&z");
        let sign = ["sign", "--key", "id.key", "-X", method, "--format", "http", &url];
        let signed = desk.run(sign.iter().chain(content)).done();
        let head = signed.split_once("\r\n\r\n").unwrap().0;
        let lines = head.split("\r\n").filter(|line| !line.starts_with("Content-Length"));
        lines.collect::<Vec<_>>().join("\r\n")
    };
    let read =
        format!("GET /v1/orders?x=%7e&z HTTP/2\r\nHost: api.example.com\r\nX-Api-Key: {key}");
    for request in [sign("DELETE", &[]), sign("GET", &[]), read.clone()] {
        let (status, content) = nginx.send_unannounced(&request, "evil");
        assert_eq!((status, content.as_str()), (200, "well"), "{request}");
        let received = upstream.next();
        let line = request.lines().next().unwrap().split_once(" HTTP").unwrap().0;
        assert_eq!(received.line(), format!("{line} HTTP/1.1"));
        assert_eq!(received.values("countersign-application"), ["shop"], "{received:?}");
        assert_eq!(received.content, b"", "{received:?}");
        assert!(received.values("content-length").is_empty(), "{received:?}");
        assert!(received.values("transfer-encoding").is_empty(), "{received:?}");
    }
    for (request, status, code) in [
        (sign("DELETE", &["-d", "evil"]), 400, "digest-mismatch"),
        (sign("POST", &["-d", "evil"]), 403, "content-unverified"),
        (sign("POST", &[]), 401, "signature-policy"),
        (read.replace("/v1/orders", "/a//b"), 400, "bad-target"),
        (read.replace("X-Api-Key", "X-Other"), 401, "key-required"),
    ] {
        let (refused, content) = nginx.send_unannounced(&request, "evil");
        assert!(content.contains(&format!("\"code\":\"{code}\"")), "{request}: {content}");
        assert_eq!(refused, status, "{request}");
    }
    assert!(upstream.has_nothing());
}

#[test]
fn only_a_listed_proxy_may_ask() {
    let (desk, key) = desk_with_shop();
    let arguments = ["auth", "--from", "nginx", "--proxy", "10.0.0.7/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let response = served.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCountersign-Protocol: HTTP/1.1\r\nX-Original-Method: GET\r\nX-Original-URI: /v1/orders\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-For: 127.0.0.1\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!((response.status, response.code()), (403, "proxy-unknown"), "{response:?}");
    assert!(response.is_refusal(), "{response:?}");
    desk.run(["serve", "auth", "--from", "nginx", "--origin", ORIGIN]).failed(
        1,
        "needs the addresses of the proxies",
        "--proxy",
    );
}

#[cfg(not(feature = "envoy-grpc"))]
#[test]
fn a_build_without_grpc_names_the_feature_that_it_lacks() {
    let desk = Desk::new();
    let serve = ["serve", "auth", "--from", "envoy", "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
    desk.run(serve).failed(1, "envoy asks over gRPC", "feature `envoy-grpc`");
}

/// A signed request as each kind of proxy asks about it, with an id of the proxy's own; Traefik has none, so that the field is its
/// client's.
fn question(kind: &str, fields: &str, id: &str, target: &str) -> String {
    let told = match kind {
        "nginx" => format!(
            "GET / HTTP/1.1\r\nX-Original-Method: DELETE\r\nX-Original-URI: {target}\r\nCountersign-Protocol: HTTP/1.1"
        ),
        "caddy" => format!(
            "GET / HTTP/1.1\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: {target}\r\nCountersign-Protocol: HTTP/1.1"
        ),
        "traefik" => {
            format!("DELETE / HTTP/1.1\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: {target}")
        }
        _ => format!("DELETE {target} HTTP/1.1"),
    };
    let host = if kind == "envoy-http" { "" } else { "X-Forwarded-Host: api.example.com\r\n" };
    format!(
        "{told}\r\n{host}{fields}\r\nX-Forwarded-For: 192.0.2.1\r\nCountersign-Request-Id: {id}\r\nConnection: close\r\n\r\n"
    )
}

#[test]
fn a_question_that_is_asked_twice_is_answered_alike_and_no_other_is() {
    for kind in ["nginx", "caddy", "envoy-http"] {
        let (desk, _key) = desk_with_shop();
        let arguments = ["auth", "--from", kind, "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
        let served = Served::with(&desk, &arguments);
        let fields = signed_delete(&desk);
        let ask = |id: &str, target: &str| served.send(question(kind, &fields, id, target));
        let first = ask("0123456789abcdef", "/v1/orders");
        assert_eq!(first.status, 200, "{kind}: {first:?}");
        assert!(first.text.contains("countersign-application: shop"), "{kind}: {first:?}");
        assert_eq!(ask("0123456789abcdef", "/v1/orders").status, 200);
        assert_eq!(ask("fedcba9876543210", "/v1/orders").code(), "signature-replayed");
        assert_eq!(ask("", "/v1/orders").code(), "signature-replayed");
        assert_eq!(ask("0123456789abcdef", "/v1/other").code(), "signature-invalid");
        let other = signed_delete(&desk);
        let response = served.send(question(kind, &other, "0123456789abcdef", "/v1/orders"));
        assert_eq!(response.status, 200, "{kind}: {response:?}");
    }
}

/// Traefik makes no name for a request: the field is one of its client.
#[test]
fn a_question_that_traefik_asks_twice_is_a_replay() {
    let (desk, _key) = desk_with_shop();
    let arguments = ["auth", "--from", "traefik", "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let asked = question("traefik", &signed_delete(&desk), "0123456789abcdef", "/v1/orders");
    assert_eq!(served.send(&asked).status, 200);
    assert_eq!(served.send(&asked).code(), "signature-replayed");
}

/// The fields of a signed request without content.
fn signed_delete(desk: &Desk) -> String {
    let url = format!("{ORIGIN}/v1/orders");
    let sign = ["sign", "--key", "id.key", "-X", "DELETE", "--format", "http", &url];
    desk.run(sign).done().trim_end().split_once("\r\n").unwrap().1.to_owned()
}

#[test]
fn envoy_that_passes_a_part_of_the_content_over_http_is_told_that_it_is_unverified() {
    let (desk, _key) = desk_with_shop();
    let arguments = ["auth", "--from", "envoy-http", "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let asked = |partial: &str| {
        let fields =
            format!("X-Forwarded-For: 192.0.2.1\r\nX-Envoy-Auth-Partial-Body: {partial}\r\n");
        served.send(signed_order(&desk, "a book", &fields))
    };
    assert_eq!(asked("false").status, 200);
    let response = asked("true");
    assert_eq!((response.status, response.code()), (403, "content-unverified"), "{response:?}");
    assert!(response.is_refusal(), "{response:?}");
}
