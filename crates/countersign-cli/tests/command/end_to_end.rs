use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};
use countersign::{Origins, Window};
use countersign_server::{HolderRoutes, Publishable, Signed, Verifier, serve};
use countersign_store::{MemoryNonces, Registry, system_time};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::desk::Desk;

/// A server that made its registry itself, in which there is the application `shop`, and the desk that it is on.
pub(crate) fn desk_with_server() -> (Desk, Server) {
    let desk = Desk::new().variable("COUNTERSIGN_DB", "sqlite:registry.db");
    let server = Server::start(&desk);
    desk.run(["app", "add", "shop"]).done();
    (desk, server)
}

pub(crate) struct Server {
    pub(crate) url: String,
    _runtime: Runtime,
}

impl Server {
    fn start(desk: &Desk) -> Self {
        let runtime = Runtime::new().unwrap();
        let db = format!("sqlite:{}", desk.path("registry.db").display());
        let url = runtime.block_on(async {
            let registry = Arc::new(Registry::open_or_create(&db).await.unwrap());
            let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time());
            let nonces = nonces.await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let origin = format!("http://{}", listener.local_addr().unwrap());
            let origins = Origins::new([origin.parse().unwrap()]).unwrap();
            let holder = HolderRoutes::new(registry.clone());
            let verifier = Verifier::new(origins, registry, nonces);
            let read =
                async |Publishable(caller): Publishable| caller.application().name.to_string();
            let write = async |Signed(_, order): Signed<Json<Value>>| order;
            let app = Router::new().route("/v1/orders", get(read).post(write));
            let app = app.nest("/v1/key", holder.router());
            tokio::spawn(serve(listener, app.layer(verifier.layer()), std::future::pending()));
            format!("{origin}/v1/orders")
        });
        Self { url, _runtime: runtime }
    }

    /// Where the holders of keys change them.
    pub(crate) fn endpoint(&self) -> String {
        self.url.replace("/v1/orders", "/v1/key")
    }

    /// The status and the code with which these bytes are answered.
    fn send(&self, request: &str) -> (u16, String) {
        let address = self.url.trim_start_matches("http://").split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let code = answer.split_once("\"code\":\"").map_or("", |(_, rest)| rest);
        (status, code.split('"').next().unwrap_or_default().to_owned())
    }
}

/// Waits until the server has followed a change.
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now().checked_add(Duration::from_secs(20)).unwrap();
    while !condition() {
        assert!(Instant::now() < deadline, "the change takes no effect");
    }
}

#[test]
fn from_a_new_key_to_its_revocation() {
    let (desk, server) = desk_with_server();
    let url = server.url.as_str();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    let write = |more: &[&str]| {
        let fixed = ["curl", "--key", "id.key", "-sS", "--json", r#"{"item":"book"}"#];
        desk.run(fixed.iter().chain(more).chain(&[url]))
    };
    let read = || {
        let mut curl = desk.command("curl");
        let output = curl.args(["-sS", "-H", &format!("X-Api-Key: {key}"), url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };

    let unknown = write(&[]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert!(unknown.stdout.contains("signature-invalid"), "{unknown:?}");

    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    until(|| read() == "shop");
    assert_eq!(write(&[]).done(), r#"{"item":"book"}"#);
    assert_eq!(write(&["--http2-prior-knowledge"]).done(), r#"{"item":"book"}"#);
    assert_eq!(read(), "shop");

    let forged = write(&["-H", "Host: other.example"]);
    assert_eq!(forged.code, 2, "{forged:?}");
    assert!(forged.stdout.contains("misdirected"), "{forged:?}");

    desk.run(["key", "revoke", &key]).done();
    until(|| read() != "shop");
    let revoked = write(&[]);
    assert_eq!(revoked.code, 3, "{revoked:?}");
    assert!(revoked.stdout.contains("key-revoked"), "{revoked:?}");
    assert!(read().contains("key-unknown"), "who does not sign is not told more");
}

#[test]
fn a_server_that_was_restarted_says_when_to_come_back() {
    let (desk, first) = desk_with_server();
    desk.run(["keygen", "--out", "id.key"]).done();
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    let write =
        |server: &Server| desk.run(["curl", "--key", "id.key", "-s", "-d", "{}", &server.url]);
    // A first refusal or not, it makes the guard write its ceiling.
    write(&first);
    drop(first);
    let restarted = Server::start(&desk);
    let refused = write(&restarted);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stdout.contains("signature-stale"), "{refused:?}");
    assert!(refused.stderr.contains("401 Unauthorized: signature-stale\n"), "{refused:?}");
    let hint = refused.stderr.split("hint: run it again in ").nth(1).unwrap();
    let seconds: u64 = hint.split(' ').next().unwrap().parse().unwrap();
    assert!((1..=16).contains(&seconds), "{refused:?}");
}

#[test]
fn a_request_in_chunks_is_judged_as_the_server_judges_it() {
    let (desk, server) = desk_with_server();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    let signed = |more: &[&str]| {
        let fixed = ["sign", "--key", "id.key", "-H", "Connection: close", "--format", "http"];
        desk.run(fixed.iter().chain(more).chain(&[server.url.as_str()])).done()
    };
    let in_chunks = |message: String| {
        let (head, content) = message.split_once("\r\n\r\n").unwrap();
        let head = head.replace(&format!("\r\nContent-Length: {}", content.len()), "");
        let chunks = match content.split_at_checked(5) {
            Some((one, other)) => {
                format!("5\r\n{one}\r\n{:x}\r\n{other}\r\n", other.len())
            }
            None => String::new(),
        };
        format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let order: &[&str] = &["-H", "Content-Type: application/json", "-d", r#"{"item":"book"}"#];
    let trailer = |line: &str| ("0\r\n\r\n", format!("0\r\n{line}\r\n\r\n"));
    let changed = ("book", "boot".to_owned());
    let other_nonce = ("nonce=\"", "nonce=\"AAAA".to_owned());
    let covered = ("\"@path\"", "\"@path\" \"x-sum\";tr".to_owned());
    let table = [
        (order, vec![], 200, ""),
        (order, vec![trailer("X-Sum: 1")], 200, ""),
        (order, vec![trailer("X-Sum: 1"), covered], 400, "signature-malformed"),
        (order, vec![trailer("Signature: sig=:AAAA:")], 400, "bad-request"),
        (order, vec![trailer("Signature-Input: sig=()")], 400, "bad-request"),
        (order, vec![trailer("content-digest: sha-256=:AAAA:")], 400, "bad-request"),
        (order, vec![changed.clone()], 400, "digest-mismatch"),
        (order, vec![changed, trailer("Signature: sig=:AAAA:")], 400, "bad-request"),
        (order, vec![other_nonce, trailer("Signature: sig=:AAAA:")], 401, "signature-invalid"),
        (&[], vec![], 401, "signature-policy"),
    ];
    for (arguments, changes, status, code) in table {
        let mut message = in_chunks(signed(arguments));
        for (from, to) in changes {
            assert!(message.contains(from), "{from}: {message}");
            message = message.replacen(from, &to, 1);
        }
        assert_eq!(server.send(&message), (status, code.to_owned()), "{message}");
        for command in ["verify", "explain"] {
            let arguments = [command, "--scheme", "http", "--key", &key, "-"];
            let outcome = desk.run_with(arguments, message.as_bytes());
            let verdict = match code {
                "" => format!("verified: signed by {key}\n"),
                code => format!("not verified: {code}: "),
            };
            assert!(outcome.stdout.contains(&verdict), "{message}: {outcome:?}");
            assert_eq!(outcome.code, if code.is_empty() { 0 } else { 3 });
        }
    }
}

#[test]
fn a_request_that_tells_no_length_is_judged_as_the_server_judges_it() {
    let (desk, server) = desk_with_server();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    let signed = |more: &[&str]| {
        let fixed = ["sign", "--key", "id.key", "-H", "Connection: close", "--format", "http"];
        let message = desk.run(fixed.iter().chain(more).chain(&[server.url.as_str()])).done();
        let length = message.lines().find(|line| line.starts_with("Content-Length")).unwrap();
        message.replace(&format!("{length}\r\n"), "")
    };
    let content = ["-H", "Content-Type: application/json", "-d", r#"{"item":"book"}"#];
    let not_covered = ["@method", "@authority", "@path", "@query", "content-type"];
    let not_covered = not_covered.iter().flat_map(|id| ["--component", id]);
    let not_covered: Vec<_> = content.into_iter().chain(not_covered).collect();
    let digest = "digest-mismatch: the request has neither Content-Length nor Transfer-Encoding";
    let next = "bad-request: the request has neither Content-Length nor Transfer-Encoding, so a server reads no content, and takes";
    for (arguments, code, verdict) in
        [(&content[..], "digest-mismatch", digest), (&not_covered, "", next)]
    {
        let message = signed(arguments);
        if !code.is_empty() {
            assert_eq!(server.send(&message), (400, code.to_owned()), "{message}");
        }
        for command in ["verify", "explain"] {
            let arguments = [command, "--scheme", "http", "--key", &key, "-"];
            let outcome = desk.run_with(arguments, message.as_bytes());
            let expected = format!("not verified: {verdict}");
            assert!(outcome.stdout.contains(&expected), "{message}: {outcome:?}");
            let told = outcome.stdout.contains("FAIL  length");
            assert_eq!((outcome.code, told), (3, command == "explain"), "{outcome:?}");
        }
        // The signature alone is over the content that is there.
        let arguments = ["verify", "--policy", "none", "--key", &key, "-"];
        desk.run_with(arguments, message.as_bytes()).done();
    }
}
