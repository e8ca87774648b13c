//! `countersign serve auth` behind a real nginx, set up as `countersign serve config nginx` prints it.

use std::{
    fs,
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
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = folders.map(|name| format!("{name}_temp_path {name};\n")).concat();
            let text = format!(
                "daemon off;\nworker_processes 1;\nuser root root;\npid nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\nserver {{\nlisten {address};\n{printed}\n}}\n}}\n"
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
                    return Self { child, address };
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

#[test]
fn only_a_listed_proxy_may_ask() {
    let (desk, key) = desk_with_shop();
    let arguments = ["auth", "--from", "nginx", "--proxy", "10.0.0.7/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let response = served.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCountersign-Protocol: HTTP/1.1\r\nX-Original-Method: GET\r\nX-Original-URI: /v1/orders\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-For: 127.0.0.1\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!((response.status, response.code()), (403, "proxy-unknown"), "{response:?}");
    desk.run(["serve", "auth", "--from", "nginx", "--origin", ORIGIN]).failed(
        1,
        "needs the addresses of the proxies",
        "--proxy",
    );
}

#[test]
fn a_question_that_is_asked_twice_is_answered_alike_and_no_other_is() {
    let (desk, _key) = desk_with_shop();
    let arguments = ["auth", "--from", "nginx", "--proxy", "127.0.0.1/32", "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    let url = format!("{ORIGIN}/v1/orders");
    let signed =
        desk.run(["sign", "--key", "id.key", "-X", "DELETE", "--format", "http", &url]).done();
    let fields = signed.trim_end().split_once("\r\n").unwrap().1.to_owned();
    let ask = |id: &str, target: &str| {
        served.send(format!(
            "GET / HTTP/1.1\r\n{fields}\r\nCountersign-Protocol: HTTP/1.1\r\nX-Original-Method: DELETE\r\nX-Original-URI: {target}\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-For: 192.0.2.1\r\nCountersign-Request-Id: {id}\r\nConnection: close\r\n\r\n"
        ))
    };
    let first = ask("0123456789abcdef", "/v1/orders");
    assert_eq!(first.status, 200, "{first:?}");
    assert!(first.text.contains("countersign-application: shop"), "{first:?}");
    assert_eq!(ask("0123456789abcdef", "/v1/orders").status, 200);
    assert_eq!(ask("fedcba9876543210", "/v1/orders").code(), "signature-replayed");
    assert_eq!(ask("", "/v1/orders").code(), "signature-replayed");
    assert_eq!(ask("0123456789abcdef", "/v1/other").code(), "signature-invalid");
}
