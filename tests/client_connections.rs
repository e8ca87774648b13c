//! Signed writes of a client reach a service by every kind of connection: through a proxy, and over HTTP/1.1 and HTTP/2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::http::{StatusCode, Version};
use countersign_client::{Client, Refusal};
use countersign_server::{Listener, Tls, serve};
use harness::{NOW, Service, TestClock, key, router, verifier};
use reqwest::{Certificate, ClientBuilder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// The host of an origin of the service.
const HOST: &str = "api.example.com";

/// A proxy of HTTP that clients are set to. Every request leads to one server.
struct Proxy {
    url: String,
    /// The request lines that it got.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, to, Arc::clone(&kept)));
            }
        });
        Self { url, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Makes a tunnel for `CONNECT` (RFC 9110, section 9.3.6), and writes the target of any other request as a server gets it.
async fn carry(mut client: TcpStream, to: SocketAddr, lines: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    lines.lock().unwrap().push(line.to_owned());
    let mut server = TcpStream::connect(to).await.unwrap();
    if line.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        let line = line.replace(&format!("http://{HOST}"), "");
        server.write_all(format!("{line}\r\n{fields}").as_bytes()).await.unwrap();
    }
    drop(copy_bidirectional(&mut client, &mut server).await);
}

/// A service with TLS, and the certificate that its clients know.
async fn with_tls() -> (SocketAddr, Certificate, Arc<AtomicUsize>) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "req -x509 -nodes -days 2 -subj /CN=api -addext basicConstraints=critical,CA:FALSE \
                     -addext subjectAltName=DNS:api.example.com -newkey ec -pkeyopt ec_paramgen_curve:P-256 -out api.pem \
                     -keyout api.key";
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split_whitespace()).current_dir(&folder).stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
    let file = |name| folder.path().join(name);
    let tls = Tls::from_files(file("api.pem"), file("api.key")).unwrap();
    let certificate = Certificate::from_pem(&fs::read(file("api.pem")).unwrap()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let handled = Arc::<AtomicUsize>::default();
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = router(Arc::clone(&handled)).layer(verifier.layer());
    tokio::spawn(serve(Listener::from(socket).tls(tls), app, std::future::pending()));
    (address, certificate, handled)
}

/// Has two writes accepted, in this version, and one refused.
async fn writes_are_accepted(http: impl Fn() -> ClientBuilder, scheme: &str, version: Version) {
    let url = format!("{scheme}://{HOST}/v1/orders?expand=customer");
    let client = |number| Client::new(key(number)).unwrap().clock(|| NOW).http(http()).unwrap();
    let own = client(1);
    for _ in 0..2 {
        let order = own.post(&url).json(&serde_json::json!({ "item": "book" }));
        let response = Refusal::check(order.send().await.unwrap()).await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::CREATED, version));
        assert_eq!(response.text().await.unwrap(), "key 1: {\"item\":\"book\"}\n");
    }
    // Of a key that nobody has registered.
    let response = client(9).post(&url).json(&serde_json::json!({})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_write_is_accepted_through_a_proxy_that_forwards_it() {
    let service = Service::start().await;
    let proxy = Proxy::start(service.address).await;
    // Each request has its own connection.
    let http = || {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0);
        http.proxy(reqwest::Proxy::http(&proxy.url).unwrap())
    };
    writes_are_accepted(http, "http", Version::HTTP_11).await;
    assert_eq!(service.handled(), 2);
    let line = format!("POST http://{HOST}/v1/orders?expand=customer HTTP/1.1");
    assert_eq!(proxy.lines(), [&*line, &*line, &*line]);
}

#[tokio::test]
async fn a_write_is_accepted_through_a_tunnel_over_either_version() {
    for (version, http1_only) in [(Version::HTTP_2, false), (Version::HTTP_11, true)] {
        let (address, certificate, handled) = with_tls().await;
        let proxy = Proxy::start(address).await;
        let http = || {
            let http = reqwest::Client::builder().tls_certs_only([certificate.clone()]);
            let http = http.proxy(reqwest::Proxy::https(&proxy.url).unwrap());
            if http1_only { http.http1_only() } else { http }
        };
        writes_are_accepted(http, "https", version).await;
        assert_eq!(handled.load(Ordering::SeqCst), 2);
        let lines = proxy.lines();
        assert!(!lines.is_empty(), "{version:?}");
        for line in lines {
            assert_eq!(line, format!("CONNECT {HOST}:443 HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn a_write_is_accepted_over_http2_with_tls_and_without() {
    let (address, certificate, handled) = with_tls().await;
    let http = || {
        let http = reqwest::Client::builder().resolve(HOST, address).no_proxy();
        http.tls_certs_only([certificate.clone()])
    };
    writes_are_accepted(http, "https", Version::HTTP_2).await;
    assert_eq!(handled.load(Ordering::SeqCst), 2);
    let service = Service::start().await;
    let http = || {
        let http = reqwest::Client::builder().resolve(HOST, service.address).no_proxy();
        http.http2_prior_knowledge()
    };
    writes_are_accepted(http, "http", Version::HTTP_2).await;
    assert_eq!(service.handled(), 2);
}
