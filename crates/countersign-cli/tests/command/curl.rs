use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

use crate::desk::{Desk, Outcome};

/// A server that gives one answer to every request, and keeps the requests.
struct Server {
    address: SocketAddr,
    received: mpsc::Receiver<Vec<u8>>,
}

impl Server {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::channel();
        let (head, content) = answer.split_once("\n\n").unwrap();
        let answer = format!("{}\r\n\r\n{content}", head.replace('\n', "\r\n"));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 65536];
                while !complete(&request) {
                    let length = stream.read(&mut piece).unwrap();
                    request.extend(piece.get(..length).unwrap());
                    if length == 0 {
                        break;
                    }
                }
                stream.write_all(answer.as_bytes()).unwrap();
                if sender.send(request).is_err() {
                    break;
                }
            }
        });
        Self { address, received }
    }

    fn ok() -> Self {
        Self::start("HTTP/1.1 201 Created\nContent-Length: 3\nConnection: close\n\nok\n")
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    fn request(&self) -> String {
        String::from_utf8(self.received.recv().unwrap()).unwrap()
    }

    fn received_nothing(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    content.len() >= length.unwrap_or(0)
}

fn curl(desk: &Desk, arguments: &[&str]) -> Outcome {
    let fixed = ["curl", "--key", "id.key", "-sS"];
    desk.run(fixed.iter().chain(arguments))
}

#[test]
fn what_curl_sends_is_what_was_signed() {
    let (desk, publishable) = Desk::with_key();
    desk.write("order.json", "{\n \"item\": \"book\"\n}\n", 0o644);
    let server = Server::ok();
    let table: [(&[&str], &str, &str); 14] = [
        (&["/v1/orders"], "GET /v1/orders HTTP/1.1", ""),
        (&["/a/../b?x=%20&y=[1]{2}"], "", ""),
        (&["/?q='a+b'"], "GET /?q='a+b' HTTP/1.1", ""),
        (&["-d", "a=1", "-d", "b=2", "/form"], "POST /form HTTP/1.1", "a=1&b=2"),
        (
            &["--json", "@order.json", "/v1/orders"],
            "POST /v1/orders HTTP/1.1",
            "{\n \"item\": \"book\"\n}\n",
        ),
        (
            &["-XPUT", "--data-binary", "@order.json", "/1"],
            "PUT /1 HTTP/1.1",
            "{\n \"item\": \"book\"\n}\n",
        ),
        (&["-d", "@order.json", "/1"], "POST /1 HTTP/1.1", "{ \"item\": \"book\"}"),
        (
            &["-T", "order.json", "/up/"],
            "PUT /up/order.json HTTP/1.1",
            "{\n \"item\": \"book\"\n}\n",
        ),
        (
            &["-G", "-d", "a=1", "--data-urlencode", "b=c d", "/s?x=y"],
            "GET /s?x=y&a=1&b=c+d HTTP/1.1",
            "",
        ),
        (&["-X", "DELETE", "/v1/orders/1"], "DELETE /v1/orders/1 HTTP/1.1", ""),
        (&["-X", "POST", "/empty"], "POST /empty HTTP/1.1", ""),
        (&["-u", "me:secret", "/"], "GET / HTTP/1.1", ""),
        (
            &["-H", "Idempotency-Key: \"1\"", "-H", "X-Other;", "-d", "x", "/"],
            "POST / HTTP/1.1",
            "x",
        ),
        (&["-H", "Host: api.example.com", "/"], "GET / HTTP/1.1", ""),
    ];
    for (arguments, line, content) in table {
        let (target, flags) = arguments.split_last().unwrap();
        let url = server.url(target);
        let outcome = curl(&desk, &[flags, &[&url]].concat());
        if line.is_empty() {
            outcome.failed(1, "dot segment", "change the URL");
            assert!(server.received_nothing());
            continue;
        }
        assert_eq!(outcome.done(), "ok\n", "{arguments:?}");
        let request = server.request();
        assert!(request.starts_with(&format!("{line}\r\n")), "{arguments:?}: {request}");
        assert!(request.ends_with(&format!("\r\n\r\n{content}")), "{arguments:?}: {request}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
}

#[test]
fn two_runs_have_two_nonces() {
    let (desk, _) = Desk::with_key();
    let server = Server::ok();
    let nonce = || {
        curl(&desk, &["-d", "x", &server.url("/")]).done();
        let request = server.request();
        request.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    assert_ne!(nonce(), nonce());
}

#[test]
fn flags_that_cannot_be_signed_are_refused_and_nothing_is_sent() {
    let (desk, _) = Desk::with_key();
    let server = Server::ok();
    let url = server.url("/");
    let table: [(&[&str], &str); 16] = [
        (&["-L"], "-L cannot be signed"),
        (&["-F", "a=b"], "-F cannot be signed"),
        (&["--retry", "3"], "--retry cannot be signed"),
        (&["-K", "config"], "-K cannot be signed"),
        (&["--digest"], "--digest cannot be signed"),
        (&["-n"], "-n cannot be signed"),
        (&["--next"], "--next cannot be signed"),
        (&["--request-target", "/other"], "--request-target cannot be signed"),
        (&["-T", "-"], "-T - cannot be signed"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["-H", "Signature: sig=:AAAA:"], "header signature is"),
        (&["-H", "Content-Digest: sha-256=:AAAA:", "-d", "x"], "Content-Digest"),
        (&["-H", "Host: a", "-H", "Host: b"], "Host"),
        (&["-H", "no header"], "no header"),
        (&["-d", "@none"], "none"),
        (&["http://other.example/"], "URL"),
    ];
    for (arguments, error) in table {
        let outcome = curl(&desk, &[arguments, &[&url]].concat());
        outcome.failed(1, error, "");
    }
    curl(&desk, &[]).failed(1, "URL", "");
    curl(&desk, &["ftp://127.0.0.1/"]).failed(1, "signed", "http");
    assert!(server.received_nothing());
}

#[test]
fn the_exit_code_tells_a_script_what_came_of_it() {
    let (desk, _) = Desk::with_key();
    let table = [
        ("200 OK", "", 0, ""),
        ("204 No Content", "", 0, ""),
        ("302 Found", "Location: /other\n", 0, ""),
        ("400 Bad Request", "", 2, "the answer says"),
        ("401 Unauthorized", "", 3, "is the key registered"),
        ("403 Forbidden", "", 3, "may not"),
        ("404 Not Found", "", 2, "the answer says"),
        ("429 Too Many Requests", "Retry-After: 7\n", 4, "in 7 s"),
        ("503 Service Unavailable", "", 2, "later"),
    ];
    for (status, header, code, hint) in table {
        let head = format!("HTTP/1.1 {status}\n{header}Content-Length: 0\nConnection: close\n\n");
        let server = Server::start(&head);
        let outcome = curl(&desk, &["-d", "x", &server.url("/")]);
        match code {
            0 => assert_eq!(outcome.done(), ""),
            _ => outcome.failed(code, &status[..3], hint),
        }
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let outcome = curl(&desk, &["-d", "x", &closed]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("curl: (7)") && outcome.stderr.contains("hint: "));
}

#[test]
fn the_answer_goes_where_curl_is_told_to_put_it() {
    let (desk, _) = Desk::with_key();
    let server = Server::ok();
    let url = server.url("/");
    assert!(curl(&desk, &["-i", &url]).done().starts_with("HTTP/1.1 201 Created\r\n"));
    assert!(curl(&desk, &["-D", "-", &url]).done().ends_with("\r\n\r\nok\n"));
    assert_eq!(curl(&desk, &["-o", "answer", "-D", "head", &url]).done(), "");
    assert_eq!(desk.read("answer"), "ok\n");
    assert!(desk.read("head").starts_with("HTTP/1.1 201 Created"));
    assert_eq!(curl(&desk, &["-w", "%{http_code}", "-o", "answer", &url]).done(), "201");
}

#[test]
fn no_secret_is_in_the_arguments_of_the_curl_that_runs() {
    let (desk, _) = Desk::with_key();
    // A curl that only tells how it was called.
    desk.write("curl", "#!/bin/sh\necho \"$@\"; env\n", 0o755);
    let path = format!("{}:{}", desk.path(".").display(), std::env::var("PATH").unwrap());
    let (key, desk) = (desk.read("id.key"), desk.variable("PATH", &path));
    let desk =
        desk.variable("COUNTERSIGN_KEY", &key).variable("COUNTERSIGN_DB", "sqlite:secret.db");
    let called = desk.run(["curl", "-u", "me:secret", "-d", "private", "http://localhost:1/"]);
    for secret in ["me:secret", "private", "PRIVATE KEY", "secret.db", "Basic"] {
        assert!(!called.stdout.contains(secret), "{secret}: {called:?}");
    }
    assert!(called.stdout.contains("http://localhost:1/"), "{called:?}");
}
