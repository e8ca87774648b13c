//! Behind a real nginx, set up as docs/operate/proxies.md says: what it passes on, what it makes of paths, whom it names as the client,
//! and what its cache keeps.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZeroU32,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, OriginalUri},
    http::{HeaderMap, Version},
    routing::{any, get},
};
use countersign::{Nonce, Origins};
use countersign_server::{ForwardedFields, Ingress, Proxies, Publishable, Verifier, serve};
use countersign_store::{ClientAddress, Limited, Limits, MemoryBudget, Quota};
use harness::{Answer, Log, NOW, Nginx, Raw, Service, TestClock, exchange, key};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ALL: &str = r#""@method" "@authority" "@path" "@query""#;

/// A server that answers with what reached it, and knows all targets that did.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Verifying = Verifier<countersign_store::MemoryKeys, Limited<countersign_store::MemoryNonces>>;

impl Server {
    /// As docs/operate/proxies.md sets it up.
    async fn start() -> Self {
        Self::start_with(Limits::default(), ingress(ForwardedFields::XForwarded), |verifier| {
            verifier
        })
        .await
    }

    async fn start_with(
        limits: Limits,
        ingress: Ingress,
        change: impl FnOnce(Verifying) -> Verifying,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (targets, clock) = (Arc::clone(&seen), TestClock::default());
        let gate = Limited::new(Service::nonces(), limits).clock(clock.monotonic());
        let verifier = Verifier::new(ingress, Service::keys(), gate).clock(move || clock.now());
        let echo = async move |OriginalUri(uri): OriginalUri,
                               Publishable(caller): Publishable,
                               axum::Extension(client): axum::Extension<ClientAddress>,
                               version: Version,
                               headers: HeaderMap,
                               content: Bytes| {
            targets.lock().unwrap().push(uri.to_string());
            Json(json!({
                "target": uri.to_string(),
                "caller": caller.credential().label.as_str(),
                "client": client.to_string(),
                "version": format!("{version:?}"),
                "host": headers.get("host").and_then(|host| host.to_str().ok()),
                "length": content.len(),
            }))
        };
        let app = Router::new()
            .route("/health", get(async || "well\n"))
            .route("/public", get(async || ([("cache-control", "max-age=60")], "for all\n")))
            .route("/large", get(async |_: Publishable| vec![b'a'; 4 << 20]))
            .fallback(any(echo))
            .layer(DefaultBodyLimit::disable())
            .layer(
                change(verifier)
                    .insecure_open_path("/health")
                    .insecure_open_path("/public")
                    .layer(),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, app, std::future::pending()));
        Self { address, seen, serving }
    }

    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn origins() -> Origins {
    let origins = ["https://api.example.com", "https://b.example.com"];
    Origins::new(origins.map(|origin| origin.parse().unwrap())).unwrap()
}

fn proxies(fields: ForwardedFields) -> Proxies {
    let listed = format!("{}/32", Nginx::FROM).parse().unwrap();
    Proxies::new([listed], fields).unwrap()
}

fn ingress(fields: ForwardedFields) -> Ingress {
    Ingress::from(origins()).proxies(proxies(fields))
}

/// A read with the publishable key of this number.
fn read(number: u8) -> Raw {
    Raw::read().target("/v1/read").add("X-Api-Key", key(number).publishable_key().to_string())
}

async fn send(address: SocketAddr, request: &Raw) -> Answer {
    exchange(address, &request.bytes()).await
}

fn told(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

#[tokio::test]
async fn signed_requests_pass_once_and_unsigned_writes_do_not() {
    let server = Server::start().await;
    let nginx = Nginx::start(server.address);
    let order = Raw::order().signed();
    let answer = send(nginx.address, &order).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        told(&answer),
        json!({
            "target": "/v1/orders?expand=customer",
            "caller": "key 1",
            "client": "127.0.0.1",
            "version": "HTTP/1.1",
            "host": "api.example.com",
            "length": 15,
        })
    );
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    let again = send(nginx.address, &order).await;
    assert_eq!((again.status, again.code().as_str()), (401, "signature-replayed"));
    let refused = [
        (Raw::order(), 401, "signature-required"),
        (Raw::order().signed().body(b"{\"item\":\"none\"}"), 400, "digest-mismatch"),
        (Raw::order().signed().target("/v1/other"), 401, "signature-invalid"),
        (Raw::order().signed().method("PUT"), 401, "signature-invalid"),
    ];
    for (request, status, code) in refused {
        let answer = send(nginx.address, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request:?}");
    }
    assert_eq!(server.seen(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_signature_holds_over_tls_in_http_1_and_http_2() {
    let server = Server::start().await;
    let nginx = Nginx::start(server.address);
    for version in ["--http1.1", "--http2"] {
        let order = Raw::order().signed();
        let url = format!("https://api.example.com:{}{}", nginx.tls.port(), order.target);
        let mut curl = Command::new("curl");
        curl.args(["-sSk", version, &url, "-w", "\n%{http_version}"]);
        curl.args(["--resolve", &format!("api.example.com:{}:127.0.0.1", nginx.tls.port())]);
        for (name, value) in &order.headers {
            curl.args(["-H", &format!("{name}: {}", String::from_utf8_lossy(value))]);
        }
        let curl = curl.arg("--data-binary").arg(String::from_utf8_lossy(&order.body).as_ref());
        let output = tokio::task::block_in_place(|| curl.output().unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, spoken) =
            text.rsplit_once('\n').unwrap_or_else(|| panic!("{:?}", output.stderr));
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer.get("caller"), Some(&json!("key 1")), "{text}");
        assert!(version.contains(spoken), "{spoken} was spoken");
    }
}

/// Spellings that a proxy, a router and a signature can read differently, and a few that all read alike.
fn targets() -> BTreeSet<Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"",
        b"a",
        b"A",
        b"~",
        b"%7e",
        b"%7E",
        b"%61",
        b"%41",
        b"%20",
        b"+",
        b"%2B",
        b"%2b",
        b";a=b",
        b"a;",
        b":",
        b"@",
        b"=",
        b"&",
        b"!$'()*,",
        b"%C3%A9",
        b"%c3%a9",
        b"\xc3\xa9",
        b"%FF",
        b"%25",
        b"%252e",
        b"%252F",
        b"%",
        b"%4",
        b"%zz",
        b"%u0041",
        b"%0a",
        b"%0d%0a",
        b"%00",
        b"%7f",
        b"\x7f",
        b".",
        b"..",
        b"...",
        b"%2e",
        b"%2E%2e",
        b".%2e",
        b"..;",
        b"/",
        b"//",
        b"/.",
        b"/..",
        b"/../",
        b"%2f",
        b"%2F",
        b"..%2f",
        b"\\",
        b"..\\",
        b"%5c",
        b"%5C",
        b"|",
        b"\"",
        b"<>",
        b"[]",
        b"{}",
        b"^",
        b"`",
        b"#",
        b"#a",
        b"%23",
        b"%3f",
        b"%3F",
        b"?",
        b"??",
        b"?a",
        b"?a=/../b",
        b"?a=%2F",
        b"?a#b",
        b" ",
        b"\t",
    ];
    const PLACES: &[(&[u8], &[u8])] = &[
        (b"/", b""),
        (b"/", b"/orders"),
        (b"/v1/", b""),
        (b"/v1/", b"/orders"),
        (b"/v1/orders", b""),
        (b"/v1/ord", b"ers"),
        (b"/v1/orders?q=", b""),
    ];
    let spelled = PLACES.iter().flat_map(|(before, after)| {
        PIECES.iter().map(move |piece| [*before, *piece, *after].concat())
    });
    spelled.collect()
}

/// A read of `signed`, with a nonce of its own, sent with the target `sent`.
fn read_as(signed: &str, sent: &[u8], nonce: u64) -> Vec<u8> {
    let mut bytes = [7; 16];
    bytes.get_mut(..8).unwrap().copy_from_slice(&nonce.to_be_bytes());
    let nonce = Nonce::from_random(bytes);
    let params = format!(
        r#"({ALL});created={};nonce="{nonce}";keyid="KEYID";alg="ed25519";tag="countersign""#,
        NOW.unix()
    );
    let request = Raw::read().target(signed).signed_as(&params).bytes();
    let line_end = request.windows(9).position(|window| window == b" HTTP/1.1").unwrap();
    [b"GET ", sent, request.get(line_end..).unwrap()].concat()
}

/// The spellings of [`targets`] that this server accepts when they were signed so. Whatever was accepted reached the handler
/// byte for byte.
async fn accepted(
    server: &Server,
    address: SocketAddr,
    nonces: &mut std::ops::RangeFrom<u64>,
) -> BTreeSet<Vec<u8>> {
    let mut accepted = BTreeSet::new();
    for sent in targets() {
        // Whoever parses a target drops what is behind a #; no client sends it.
        let path = sent.split(|&byte| byte == b'#').next().unwrap();
        let signable =
            std::str::from_utf8(path).ok().filter(|text| text.parse::<http::Uri>().is_ok());
        // What no client can sign may still be sent.
        for signed in BTreeSet::from([
            signable.unwrap_or("/v1/orders"),
            "/v1/orders",
            "/orders",
            "/v1/a/orders",
        ]) {
            let before = server.seen();
            let nonce = nonces.next().unwrap();
            let answer = exchange(address, &read_as(signed, &sent, nonce)).await;
            let shown = String::from_utf8_lossy(&sent);
            if answer.status != 200 {
                assert!(matches!(answer.status, 400 | 401), "{shown} {answer:?}");
                assert_eq!(server.seen(), before, "{shown} was refused and handled");
                continue;
            }
            let seen = server.seen.lock().unwrap().get(before..).unwrap().to_vec();
            // RFC 9421 §2.2.7: an empty query is signed as none is.
            let meant = signed.split_once('?').filter(|(_, query)| query.is_empty());
            let meant = meant.map_or(signed, |(path, _)| path);
            assert_eq!(seen, [meant], "signed as {signed}, sent as {shown}");
            if signed.as_bytes() == path {
                accepted.insert(sent.clone());
            }
        }
    }
    accepted
}

#[tokio::test]
async fn a_path_reaches_the_handler_as_it_was_signed_or_not_at_all() {
    let server = Server::start().await;
    let nginx = Nginx::start(server.address);
    let mut nonces = 0..;
    let direct = accepted(&server, server.address, &mut nonces).await;
    let through = accepted(&server, nginx.address, &mut nonces).await;
    assert_eq!(direct, through);
    let has = |accepted: &BTreeSet<Vec<u8>>, target: &str| accepted.contains(target.as_bytes());
    for target in ["/v1/orders", "/v1/%61", "/v1/%7e", "/v1/%c3%a9", "/v1/..;"] {
        assert!(has(&through, target), "{target}");
    }
    for target in
        ["/v1/../orders", "/v1/%2E%2e", "/v1//", "/v1/%2F", "/v1/%zz", "/v1/\\", "/v1/orders?"]
    {
        assert!(targets().contains(target.as_bytes()) && !has(&through, target), "{target}");
    }

    // An nginx that puts its own spelling in the place of the client's does not get around that either.
    let rewriting = Nginx::start_with(server.address, |configuration| {
        configuration
            .replace("proxy_pass http://shop;", "proxy_pass http://shop/;")
            .replace("merge_slashes off", "merge_slashes on")
    });
    let rewritten = accepted(&server, rewriting.address, &mut nonces).await;
    assert!(has(&rewritten, "/v1/orders") && !has(&rewritten, "/v1/%61"));
}

#[tokio::test]
async fn the_client_is_whom_nginx_names_whatever_clients_write_themselves() {
    let appending = |configuration: String| {
        configuration.replace("For $remote_addr", "For $proxy_add_x_forwarded_for")
    };
    let server = Server::start().await;
    let setting = Nginx::start(server.address);
    let adding = Nginx::start_with(server.address, appending);
    let forgeries: [&[(&str, &str)]; 6] = [
        &[],
        &[("X-Forwarded-For", "203.0.113.9")],
        &[("X-Forwarded-For", "203.0.113.9"), ("x-forwarded-for", "203.0.113.10, unknown")],
        &[("X-Forwarded-For", "203.0.113.9, 127.0.0.3")],
        &[("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "203.0.113.9")],
        &[("X-Forwarded-Host", "b.example.com"), ("X-Forwarded-Proto", "http")],
    ];
    let forge = |forgery: &[(&str, &str)]| {
        forgery.iter().fold(read(1), |request, (name, value)| request.add(name, value))
    };
    for forgery in forgeries {
        for address in [setting.address, adding.address, server.address] {
            let answer = send(address, &forge(forgery)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let client = told(&answer).get("client").cloned();
            assert_eq!(client, Some(json!("127.0.0.1")), "{forgery:?}");
        }
    }
}

/// One read a minute from one address.
fn one_read() -> Limits {
    Limits::default().unsigned_by_address([Quota::per_minute(NonZeroU32::MIN)])
}

#[tokio::test]
async fn a_limit_by_address_is_not_raised_by_what_a_client_writes() {
    let adding = |configuration: String| {
        configuration.replace("For $remote_addr", "For $proxy_add_x_forwarded_for")
    };
    let guesses = MemoryBudget::new("guesses", [Quota::per_minute(NonZeroU32::MIN)]);
    let guesses = guesses.map(|budget| budget.clock(TestClock::default().monotonic()));
    let server = Server::start_with(one_read(), ingress(ForwardedFields::XForwarded), |verifier| {
        verifier.failure_limit(guesses)
    })
    .await;
    let nginx = Nginx::start_with(server.address, adding);
    assert_eq!(send(nginx.address, &read(1)).await.status, 200);
    for number in 0..50 {
        let forged = read(1).add("X-Forwarded-For", format!("203.0.113.{number}"));
        assert_eq!(send(nginx.address, &forged).await.status, 429);
    }
    let guess = |number: u8| {
        let request = Raw::read().add("X-Api-Key", key(9).publishable_key().to_string());
        request.add("X-Forwarded-For", format!("203.0.113.{number}"))
    };
    assert_eq!(send(nginx.address, &guess(0)).await.status, 401);
    for number in 1..50 {
        assert_eq!(send(nginx.address, &guess(number)).await.status, 429);
    }
    // Who writes such a field without being a proxy is who connects.
    let other = "127.0.0.3".to_owned();
    assert_eq!(send(server.address, &read(1).add("X-Forwarded-For", other)).await.status, 429);
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_told_so_but_may_ask_for_health() {
    let silent = |configuration: String| configuration.replace("For $remote_addr", "For \"\"");
    let server = Server::start().await;
    let nginx = Nginx::start_with(server.address, silent);
    for request in [read(1), Raw::order().signed(), Raw::order()] {
        let answer = send(nginx.address, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
        assert!(answer.body.contains("sent no X-Forwarded-For"), "{answer:?}");
    }
    let health = Raw::read().target("/health");
    assert_eq!(send(nginx.address, &health).await.status, 200);
    let nobody = |configuration: String| configuration.replace("$remote_addr", "unknown");
    let nginx = Nginx::start_with(server.address, nobody);
    let answer = send(nginx.address, &read(1)).await;
    assert!(answer.body.contains("a X-Forwarded-For that cannot be used"), "{answer:?}");
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn the_host_is_the_one_that_the_client_named() {
    let server = Server::start().await;
    let nginx = Nginx::start(server.address);
    let hosts = |hosts: &[&str]| {
        let request = read(1).without("Host");
        hosts.iter().fold(request, |request, host| request.add("Host", host))
    };
    let cases: [(&[&str], u16); 8] = [
        (&["api.example.com"], 200),
        (&["API.example.com:443"], 200),
        (&["b.example.com"], 421),
        (&["api.example.com", "api.example.com"], 400),
        (&["api.example.com", "b.example.com"], 400),
        (&["api.example.com/x"], 400),
        (&["api.example.com,b.example.com"], 421),
        (&[], 400),
    ];
    for (named, status) in cases {
        assert_eq!(send(nginx.address, &hosts(named)).await.status, status, "{named:?}");
    }
    assert_eq!(server.seen(), 2);
}

#[tokio::test]
async fn a_forwarded_host_counts_from_a_listed_proxy_and_from_nobody_else() {
    for (fields, line) in [
        (ForwardedFields::XForwarded, "proxy_set_header X-Forwarded-Host $host"),
        (
            ForwardedFields::Forwarded,
            "proxy_set_header Forwarded \"for=$remote_addr;host=$host;proto=https\"",
        ),
    ] {
        let ingress = Ingress::forwarded(origins(), proxies(fields));
        let server = Server::start_with(Limits::default(), ingress, |verifier| verifier).await;
        let renaming = |configuration: String| {
            configuration.replace(
                "proxy_set_header Host $host",
                &format!("proxy_set_header Host backend;\n{line}"),
            )
        };
        let nginx = Nginx::start_with(server.address, renaming);
        let forged = |request: Raw| {
            request
                .add("X-Forwarded-Host", "b.example.com")
                .add("Forwarded", "for=1.2.3.4;host=b.example.com")
        };
        for request in [Raw::order().signed(), forged(Raw::order().signed())] {
            let answer = send(nginx.address, &request).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(told(&answer).get("host"), Some(&json!("backend")));
        }
        // It is no proxy that writes this, so that Host counts.
        assert_eq!(send(server.address, &forged(Raw::order().signed())).await.status, 200);
        let elsewhere = forged(Raw::order().signed()).set("Host", "backend");
        assert_eq!(send(server.address, &elsewhere).await.code(), "misdirected");
        // A proxy that sends neither is not taken at its word for Host.
        let silent = Nginx::start(server.address);
        assert_eq!(send(silent.address, &read(1)).await.code(), "bad-request");
    }
}

#[tokio::test]
async fn a_server_with_one_origin_can_be_told_to_answer_for_it_whatever_host_says() {
    let renaming = |configuration: String| configuration.replace("Host $host", "Host backend");
    for (origin, status, code) in
        [("https://api.example.com", 200, ""), ("https://b.example.com", 401, "signature-invalid")]
    {
        let ingress = Ingress::fixed(origin.parse().unwrap());
        let server = Server::start_with(Limits::default(), ingress, |verifier| verifier).await;
        let nginx = Nginx::start_with(server.address, renaming);
        for address in [nginx.address, server.address] {
            let answer = send(address, &Raw::order().signed()).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{origin}");
        }
    }
}

#[tokio::test]
async fn where_a_request_ends_is_never_in_doubt() {
    let server = Server::start().await;
    let nginx = Nginx::start(server.address);
    let hidden = Raw::order().signed().bytes();
    let both = Raw::order().add("Content-Length", "4").add("Transfer-Encoding", "chunked");
    let ambiguous = [
        both.clone().body(&[b"0\r\n\r\n", hidden.as_slice()].concat()),
        both.set("Transfer-Encoding", "xchunked"),
        Raw::order().add("Content-Length", "4").add("Content-Length", "5"),
        Raw::order().add("Content-Length", "+4"),
        Raw::order().add("Transfer-Encoding", "chunked, identity"),
    ];
    for request in ambiguous {
        let answer = send(nginx.address, &request).await;
        assert!(matches!(answer.status, 400 | 501), "{answer:?}");
    }
    // What is refused has its content read by nobody, and it is not the next request on that connection.
    let mut refused = Raw::order().body(&hidden);
    for _ in 0..20 {
        assert_eq!(send(nginx.address, &refused).await.code(), "signature-required");
        refused = refused.add("X-Padding", "a");
        assert_eq!(send(nginx.address, &Raw::read().target("/health")).await.status, 200);
    }
    assert_eq!(server.seen(), 0);
    assert_eq!(send(server.address, &Raw::order().signed()).await.status, 200);
}

#[tokio::test]
async fn large_content_passes_in_both_directions_up_to_the_limit() {
    const LARGE: usize = 8 << 20;
    let ingress = ingress(ForwardedFields::XForwarded);
    let server =
        Server::start_with(Limits::default(), ingress, |verifier| verifier.content_limit(LARGE))
            .await;
    let wide = |configuration: String| configuration.replace("size 1m", "size 9m");
    for (nginx, over, refused_by) in [
        (Nginx::start_with(server.address, wide), LARGE + 1, "content-too-large"),
        (
            Nginx::start_with(server.address, |configuration| {
                let streaming = "proxy_request_buffering off; proxy_buffering off; proxy_pass";
                wide(configuration).replacen("proxy_pass", streaming, 1)
            }),
            LARGE + 1,
            "content-too-large",
        ),
        (Nginx::start(server.address), (1 << 20) + 1, ""),
    ] {
        let upload = |length: usize| Raw::order().body(&vec![b'a'; length]).signed();
        let answer = send(nginx.address, &upload(over)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, refused_by));
        let answer = send(nginx.address, &upload(over - 1)).await;
        assert_eq!(told(&answer).get("length"), Some(&json!(over - 1)), "{answer:?}");
        let answer = send(nginx.address, &read(1).target("/large")).await;
        assert_eq!(answer.body.len(), 4 << 20);
    }
}

#[tokio::test]
async fn a_cache_with_a_naive_key_gives_nobody_the_answer_of_another() {
    let caching = |configuration: String| {
        let cache = "proxy_cache naive; proxy_cache_key $uri; proxy_cache_valid any 1h;
            proxy_cache_lock on; add_header X-Cache $upstream_cache_status always; proxy_pass";
        format!("proxy_cache_path cache keys_zone=naive:1m;\n{configuration}").replacen(
            "proxy_pass",
            cache,
            1,
        )
    };
    let server =
        Server::start_with(one_read(), ingress(ForwardedFields::XForwarded), |verifier| verifier)
            .await;
    let nginx = Nginx::start_with(server.address, caching);
    let ask = async |request: Raw| {
        let answer = send(nginx.address, &request).await;
        let caller = told(&answer).get("caller").and_then(Value::as_str).map(str::to_owned);
        (answer.status, caller, answer.get("x-cache").unwrap_or_default().to_owned())
    };
    let caller = |number: u8| Some(format!("key {number}"));
    let miss = || "MISS".to_owned();
    let (bare, signed) =
        (|| Raw::read().target("/v1/read"), || Raw::read().target("/v1/read").signed());
    // A refusal is not what the next caller gets, whatever it was.
    assert_eq!(ask(bare()).await, (401, None, miss()));
    assert_eq!(ask(signed()).await, (200, caller(1), miss()));
    // The answer to a signature is not what a caller without one gets, nor another one.
    assert_eq!(ask(bare()).await, (401, None, miss()));
    assert_eq!(ask(read(1)).await, (200, caller(1), miss()));
    // One key's answer is not another's; and the limit is by address, which both have.
    assert_eq!(ask(read(5)).await, (429, None, miss()));
    assert_eq!(ask(signed()).await, (200, caller(1), miss()));
    let other = || Raw::read().target("/v1/read").signed_by(key(5), NOW);
    assert_eq!(ask(other()).await, (200, caller(5), miss()));
    // The cache works: what a handler gives to all comes from there.
    let public = || Raw::read().target("/public");
    assert_eq!(ask(public()).await, (200, None, miss()));
    assert_eq!(ask(public()).await, (200, None, "HIT".to_owned()));
}

#[tokio::test]
async fn a_line_that_is_missing_is_the_one_that_the_log_says_to_add() {
    for (line, status) in [
        ("proxy_http_version 1.1;", 505),
        ("proxy_set_header X-Forwarded-For $remote_addr;", 400),
        ("proxy_set_header Host $host;", 421),
    ] {
        let (log, _listening) = Log::listen();
        let server = Server::start().await;
        let nginx = Nginx::start_with(server.address, |documented| {
            assert!(documented.contains(line), "{line}");
            documented.replace(line, "")
        });
        let read = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
        for _ in 0..20 {
            let answer = send(nginx.address, &read).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.body.contains("operator"), "{answer:?}");
        }
        assert_eq!(log.lines_with(line).len(), 1, "{line}");
    }
}
