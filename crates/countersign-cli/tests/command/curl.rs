use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

use crate::desk::{Desk, Finished};

/// A server that gives one answer to every request, and keeps the requests.
pub(crate) struct Server {
    address: SocketAddr,
    received: mpsc::Receiver<Vec<u8>>,
}

impl Server {
    pub(crate) fn start(answer: &str) -> Self {
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

    pub(crate) fn ok() -> Self {
        Self::start("HTTP/1.1 201 Created\nContent-Length: 3\nConnection: close\n\nok\n")
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub(crate) fn request(&self) -> String {
        String::from_utf8(self.received.recv().unwrap()).unwrap()
    }

    pub(crate) fn received_nothing(&self) -> bool {
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

pub(crate) fn curl(desk: &Desk, arguments: &[&str]) -> Finished {
    let fixed = ["curl", "--key", "id.key", "-sS"];
    desk.run(fixed.iter().chain(arguments))
}

#[test]
fn what_curl_sends_is_what_was_signed() {
    let (desk, publishable) = Desk::with_key();
    desk.write("order.json", "{\n \"item\": \"book\"\n}\n", 0o644);
    let server = Server::ok();
    let table: [(&[&str], &str, &str); 16] = [
        (&["-T", "order.json", "/up/?x=1"], "PUT /up/?x=1 HTTP/1.1", "{\n \"item\": \"book\"\n}\n"),
        (&["/v1/orders"], "GET /v1/orders HTTP/1.1", ""),
        (&["/a\"b?c\\d"], "GET /a\"b?c\\d HTTP/1.1", ""),
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
fn what_makes_a_request_partial_or_conditional_is_signed() {
    let (desk, publishable) = Desk::with_key();
    desk.write("etag", "\"abc\"\n", 0o644);
    desk.write("part", "01234", 0o644);
    let server = Server::start(
        "HTTP/1.1 206 Partial Content\nContent-Range: bytes 5-7/8\nContent-Length: 3\nConnection: close\n\n567",
    );
    let url = server.url("/");
    let table: [(&[&str], &str); 6] = [
        (&["-r", "5-7"], "Range: bytes=5-7"),
        (&["-r", "5-7", "-H", "Range: bytes=6-7"], "Range: bytes=6-7"),
        (&["-C", "5", "-o", "part"], "Range: bytes=5-"),
        (&["--etag-compare", "etag"], "If-None-Match: \"abc\""),
        (&["--etag-compare", "none"], "If-None-Match: \"\""),
        (&["-H", "If-Modified-Since: Wed, 09 Nov 2022 07:28:00 GMT"], "If-Modified-Since: Wed,"),
    ];
    for (flags, line) in table {
        curl(&desk, &[flags, &[&url]].concat()).done();
        let request = server.request();
        let (name, _) = line.split_once(':').unwrap();
        assert_eq!(request.matches(&format!("\r\n{name}: ")).count(), 1, "{request}");
        assert!(request.contains(&format!("\r\n{line}")), "{request}");
        let covered = format!("\"{}\"", name.to_ascii_lowercase());
        assert!(request.contains(&covered), "{flags:?}: {request}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
    assert_eq!(desk.read("part"), "01234567");
    curl(&desk, &["-C", "-", "-o", "part", &url]).failed(1, "-C - cannot be signed", "-C 1024");
    curl(&desk, &["-z", "part", &url]).failed(1, "-z cannot be signed", "If-Modified-Since");
    assert!(server.received_nothing());
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
    let table: [(&[&str], &str); 24] = [
        (&["--proxy-header", "X-P: 1"], "--proxy-header cannot be signed"),
        (&["--http0.9"], "--http0.9 cannot be signed"),
        (&["-r", "0-1", "-d", "abc"], "--range cannot be signed with content"),
        (&["-A", "a\r\nX-B: c"], "the value of -A has a line break"),
        (&["-e", "a\nX-B: c"], "the value of -e has a line break"),
        (&["--cookie", "a\nX-B: c"], "the value of --cookie has a line break"),
        (&["-r", "0-1\r\nX-B: c"], "the value of -r has a line break"),
        (&["-D", "no/such/folder"], "cannot write no/such/folder"),
        (&["-L"], "-L cannot be signed"),
        (&["-F", "a=(;type=multipart/mixed"], "-F cannot be signed"),
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
        ("400 Bad Request", "", 2, "no content that says more"),
        ("401 Unauthorized", "", 3, "is the key registered"),
        ("403 Forbidden", "", 3, "may not"),
        ("404 Not Found", "", 2, "check the method and the URL"),
        ("429 Too Many Requests", "Retry-After: 7\n", 4, "in 7 s"),
        ("501 Not Implemented", "", 2, "use another"),
        ("503 Service Unavailable", "", 2, "later"),
        ("505 HTTP Version Not Supported", "", 2, "leave out --http1.0"),
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
fn a_refusal_is_told_by_its_code_and_says_when_to_come_back() {
    let (desk, _) = Desk::with_key();
    let table = [
        ("401 Unauthorized", "signature-stale\nRetry-After: 10", 3, "run it again in 10 s"),
        ("401 Unauthorized", "signature-stale\nDate: Sun, 23 Nov 2025 12:05:20 GMT", 3, "ahead of"),
        ("401 Unauthorized", "key-revoked", 3, "countersign keygen"),
        ("303 See Other", "key-revoked\nLocation: /login", 3, "countersign keygen"),
        ("404 Not Found", "key-forbidden\nX-Request-Id: r7", 2, "the request is r7"),
        ("503 Service Unavailable", "registry-unavailable\nRetry-After: 5", 2, "in 5 s"),
    ];
    for (status, refusal, code, hint) in table {
        let head = format!("HTTP/1.1 {status}\nContent-Length: 0\nConnection: close\n");
        let server = Server::start(&format!("{head}Countersign-Refusal: {refusal}\n\n"));
        let error = format!("{status}: {}", refusal.split('\n').next().unwrap());
        curl(&desk, &["-d", "x", &server.url("/")]).failed(code, &error, hint);
    }
}

#[test]
fn whoever_signs_what_the_hint_says_has_covered_what_the_server_wants() {
    let (desk, publishable) = Desk::with_key();
    let asked = "sig=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"x-tenant\");created;tag=\"countersign\"";
    let head = "HTTP/1.1 401 Unauthorized\nContent-Length: 0\nConnection: close\nCountersign-Refusal: signature-policy";
    let server = Server::start(&format!("{head}\nAccept-Signature: {asked}\n\n"));
    let url = server.url("/v1/orders");
    let key = desk.read("id.key");
    desk.write("order", "x", 0o644);
    let table: [&[&str]; 3] =
        [&["-s", "-d", "x"], &["-s", "-F", "a=@order"], &["-s", "-T", "order"]];
    for flags in table {
        let order = [&["--key", "id.key", "-H", "X-Tenant: t1"], flags, &[&url]].concat();
        let refused = desk.run([&["curl"], &order[..]].concat());
        let said = refused.stderr.split('`').nth(1).unwrap().to_owned();
        let (said, rest) = said.split_once(" …").unwrap();
        assert_eq!((said, rest), ("countersign curl --component x-tenant", ""));
        drop(server.request());
        let said: Vec<_> = said.split(' ').skip(1).collect();
        desk.run([&said[..], &order].concat()).failed(3, "signature-policy", "x-tenant");
        let request = server.request();
        assert!(request.contains("\"x-tenant\");created="), "{request}");
        assert!(request.contains("\"content-digest\""), "{request}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
    let scheme = ["curl", "--component", "@scheme", "--component", "@method", "-s", &url];
    let desk = desk.variable("COUNTERSIGN_KEY", &key);
    desk.run(scheme).failed(3, "signature-policy", "x-tenant");
    let request = server.request();
    assert!(
        request.contains("(\"@method\" \"@authority\" \"@path\" \"@query\" \"@scheme\")"),
        "{request}"
    );
    let lacking = ["curl", "--component", "x-none", "--key", "id.key", &url];
    desk.run(lacking).failed(1, "x-none", "only what the request has");
    let no_component = ["curl", "--component", "@none", "--key", "id.key", &url];
    desk.run(no_component).failed(1, "--component @none", "a component is like");
    for option in ["--tag", "--component", "--passphrase-file"] {
        let behind = ["-s", option, "x", &url];
        let put_before = format!("`countersign curl {option} VALUE …`");
        curl(&desk, &behind).failed(1, &format!("{option} comes after"), &put_before);
    }
    assert!(server.received_nothing());
}

#[test]
fn a_hint_sends_nobody_to_an_answer_that_is_not_there() {
    let (desk, _) = Desk::with_key();
    let server = Server::start("HTTP/1.1 404 Not Found\nConnection: close\n\nwhy");
    let table: [(&[&str], &str, &str); 4] = [
        (&[], "why", "the response says what is wrong"),
        (&["-o", "answer"], "", "the response that was saved"),
        (&["-I"], "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", "response to HEAD"),
        (&["-f", "-s"], "", "leave out -f"),
    ];
    for (flags, stdout, hint) in table {
        let outcome = curl(&desk, &[flags, &[&server.url("/")]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, stdout), "{outcome:?}");
        assert!(
            outcome.stderr.contains(&format!("\nhint: {hint}")) || outcome.stderr.contains(hint)
        );
    }
}

#[test]
fn no_flag_reads_the_content_away_or_puts_another_in_its_place() {
    let (desk, publishable) = Desk::with_key();
    desk.write("file", "from a file", 0o644);
    let server = Server::ok();
    let url = server.url("/");
    let table: [(&[&str], &str, &str); 6] = [
        (&["-w", "@-", "-d", "text"], "text", "ok\nstdin"),
        (&["-w", "@/dev/stdin", "--data-binary", "@file"], "from a file", "ok\nstdin"),
        (&["-w", "@/dev/fd/0", "-T", "file"], "from a file", "ok\nstdin"),
        (&["-b", "-", "-d", "text"], "text", "ok\n"),
        (&["-w", "@-", "-d", "@-"], "stdin", "ok\n"),
        (&["-w", "@-", "--data-binary", "@/dev/stdin"], "stdin", "ok\n"),
    ];
    for (flags, content, printed) in table {
        let arguments = [&["curl", "--key", "id.key", "-sS"], flags, &[&url]].concat();
        assert_eq!(desk.run_with(&arguments, b"stdin").done(), printed, "{flags:?}");
        let request = server.request();
        assert!(request.ends_with(&format!("\r\n\r\n{content}")), "{flags:?}: {request}");
        let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
        desk.run_with(verify, request.as_bytes()).done();
    }
    let key = desk.read("id.key");
    for stdin in ["-", "fd:0", "fd:00", "/dev/stdin"] {
        for content in ["-", "/dev/stdin"] {
            let data = format!("@{content}");
            for command in ["curl", "sign"] {
                let arguments = [command, "--key", stdin, "-d", &data, &url];
                desk.run_with(arguments, key.as_bytes()).failed(1, "cannot both be stdin", "file");
            }
        }
    }
    for (command, content) in [("curl", "@-"), ("curl", "@/dev/stdin"), ("sign", "@-")] {
        let passphrase =
            ["--key", "id.key", "--passphrase-file", "/dev/stdin", "-d", content, &url];
        let refused = desk.run_with([&[command], &passphrase[..]].concat(), b"a secret");
        refused.failed(1, "cannot both be stdin", "file");
    }
    assert!(server.received_nothing());
}

#[test]
fn on_a_terminal_an_error_begins_a_line_of_its_own() {
    let (desk, _) = Desk::with_key();
    let server = Server::start("HTTP/1.1 404 Not Found\nConnection: close\n\nwhy");
    let program = env!("CARGO_BIN_EXE_countersign");
    let run = format!("{program} curl --key id.key -sS {}", server.url("/"));
    let on_a_terminal = desk.command("script").args(["-qec", &run, "/dev/null"]).output();
    // Only util-linux's script(1) has these flags.
    let Some(output) = on_a_terminal.ok().filter(|output| !output.stdout.is_empty()) else {
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("why\r\nerror: the server responded with 404"), "{text:?}");
    let output = curl(&desk, &[&server.url("/")]);
    assert!(output.stderr.starts_with("error: "), "{output:?}");
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
    // A curl that only tells how it was called, and what the config file in its last argument says.
    desk.write("curl", "#!/bin/sh\necho \"$@\"; env; for last; do :; done; cat \"$last\"\n", 0o755);
    desk.write("token", "a token", 0o600);
    let path = format!("{}:{}", desk.path(".").display(), std::env::var("PATH").unwrap());
    let (key, desk) = (desk.read("id.key"), desk.variable("PATH", &path));
    let desk =
        desk.variable("COUNTERSIGN_KEY", &key).variable("COUNTERSIGN_DB", "sqlite:secret.db");
    let sign = |more: &[&str]| {
        let fixed = ["curl", "-u", "me:secret"].iter().chain(more);
        desk.run(fixed.chain(&["http://localhost:1/a\"b?c\\d"])).stdout
    };
    let called = sign(&["-d", "private"]) + &sign(&["-G", "--data-urlencode", "t@token"]);
    for secret in ["me:secret", "private", "PRIVATE KEY", "secret.db", "Basic"] {
        assert!(!called.contains(secret), "{secret}: {called}");
    }
    let (arguments, config): (Vec<_>, _) = called.lines().partition(|line| !line.contains("url ="));
    assert!(arguments.iter().any(|line| line.starts_with("-q ")), "{called}");
    assert!(!arguments.iter().any(|line| line.contains("a+token")), "{called}");
    let url = r#"url = "http://localhost:1/a\"b?c\\d"#;
    assert_eq!(config, [format!("{url}\""), format!("{url}&t=a+token\"")]);
}

#[test]
fn the_key_that_is_named_signs_wherever_it_stands() {
    let (desk, publishable) = Desk::with_key();
    let other = desk.run(["keygen", "--out", "other.key"]).done().trim().to_owned();
    let key_text = desk.read("other.key");
    let desk = desk.variable("COUNTERSIGN_KEY", &key_text);
    let server = Server::ok();
    let url = server.url("/");
    let named: [(&[&str], &str); 4] = [
        (&["curl", "-s", "--key", "id.key", &url], &publishable),
        (&["curl", "-s", &url, "--key", "id.key"], &publishable),
        (&["curl", "-s", &url], &other),
        // Beside a certificate it is curl's own, which speaks no TLS here.
        (&["curl", "-s", "--key", "none.key", "--cert", "none.pem", &url], &other),
    ];
    for (arguments, signer) in named {
        desk.run(arguments).done();
        let request = server.request();
        assert!(request.contains(&format!("keyid=\"{signer}\"")), "{arguments:?}: {request}");
    }
    desk.run(["curl", "-s", "--key", "none.key", &url]).failed(1, "cannot read none.key", "keygen");
    let two = ["curl", "--key", "id.key", "-s", "--key", "other.key", &url];
    desk.run(two).failed(1, "two keys", "--cert");
    assert!(server.received_nothing());
}

#[test]
fn a_key_beside_a_certificate_is_curls_own_and_never_signs() {
    let (desk, named) = Desk::with_key();
    let other = desk.run(["keygen", "--out", "other.key"]).done().trim().to_owned();
    // A curl that only shows what its config file and its header file say.
    let show =
        "#!/bin/sh\nfor last; do case $last in @*) cat \"${last#@}\";; esac; done; cat \"$last\"\n";
    desk.write("curl", show, 0o755);
    let path = format!("{}:{}", desk.path(".").display(), std::env::var("PATH").unwrap());
    let key = desk.read("other.key");
    let desk = desk.variable("PATH", &path);
    let unset = ["curl", "-s", "--cert", "c.pem", "--key", "c.key", "https://localhost/"];
    desk.run(unset).failed(1, "the --key beside --cert is curl's own", "`countersign curl --key");
    let desk = desk.variable("COUNTERSIGN_KEY", &key);
    // Who signs, and the lines of curl's config that are about keys and certificates.
    type Row<'r> = (&'r [&'r str], &'r str, &'r [&'r str]);
    let table: [Row<'_>; 12] = [
        (&["-s", "--cert", "c.pem"], &other, &["cert = \"c.pem\""]),
        (
            &["-s", "--cert", "c.pem", "--key", "c.key"],
            &other,
            &["cert = \"c.pem\"", "key = \"c.key\""],
        ),
        (
            &["-s", "--key", "c.key", "-E", "c.pem"],
            &other,
            &["cert = \"c.pem\"", "key = \"c.key\""],
        ),
        (&["-sEc.pem", "--key", "c.key"], &other, &["cert = \"c.pem\"", "key = \"c.key\""]),
        (&["--key", "id.key", "-s", "--cert", "c.pem"], &named, &["cert = \"c.pem\""]),
        (
            &["--key", "id.key", "-s", "--cert", "c.pem", "--key", "c.key"],
            &named,
            &["cert = \"c.pem\"", "key = \"c.key\""],
        ),
        (
            &["--key", "id.key", "--key-type", "PEM", "--key", "c.key", "--cert", "c.pem"],
            &named,
            &["key-type = \"PEM\"", "cert = \"c.pem\"", "key = \"c.key\""],
        ),
        // Certificates for a proxy have flags of their own.
        (
            &["-s", "--proxy-cert", "p.pem", "--proxy-key", "p.key", "--key", "id.key"],
            &named,
            &["proxy-cert = \"p.pem\"", "proxy-key = \"p.key\""],
        ),
        // A password names neither.
        (&["-s", "-u", "me:secret"], &other, &[]),
        (&["-s", "-u", "me:secret", "--key", "id.key"], &named, &[]),
        (&["--key", "id.key", "-su", "me:secret", "-E", "c.pem"], &named, &["cert = \"c.pem\""]),
        (
            &["-s", "-u", "me:secret", "--key", "c.key", "--cert", "c.pem"],
            &other,
            &["cert = \"c.pem\"", "key = \"c.key\""],
        ),
    ];
    for (flags, signer, config) in table {
        let arguments = [&["curl"], flags, &["https://localhost/"]].concat();
        let shown = desk.run(&arguments).stdout;
        assert!(shown.contains(&format!("keyid=\"{signer}\"")), "{flags:?}: {shown}");
        let basic = shown.contains("Authorization: Basic bWU6c2VjcmV0");
        assert_eq!(basic, flags.contains(&"me:secret"), "{flags:?}: {shown}");
        let of_keys = |line: &&str| {
            line.contains("key = ") || line.contains("cert = ") || line.contains("-type = ")
        };
        assert_eq!(shown.lines().filter(of_keys).collect::<Vec<_>>(), config, "{flags:?}: {shown}");
    }
    let refused: [(&[&str], &str, &str); 7] = [
        (
            &["-s", "--key", "c.key", "--cert", "c.pem", "--key", "d.key"],
            "several --key stand beside --cert",
            "before curl's own arguments",
        ),
        (
            &["--key", "id.key", "-s", "--key", "c.key", "--cert", "c.pem", "--key", "d.key"],
            "several --key stand beside --cert",
            "one --key beside --cert",
        ),
        (&["--key", "id.key", "-s", "--key", "other.key"], "two keys", "--cert"),
        (&["-s", "--key", "id.key", "--key", "other.key"], "two keys", "--cert"),
        (&["-s", "-u", "me:secret", "--key", "none.key"], "cannot read none.key", "keygen"),
        (&["-s", "-u", "me", "--key", "id.key"], "-u has no password", "-u USER:PASSWORD"),
        (
            &["--key", "none.key", "--cert", "c.pem", "--key", "c.key"],
            "cannot read none.key",
            "keygen",
        ),
    ];
    for (flags, error, hint) in refused {
        desk.run([&["curl"], flags, &["https://localhost/"]].concat()).failed(1, error, hint);
    }
}
