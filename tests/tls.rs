//! `serve` with TLS, against curl, which speaks it by OpenSSL.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, Version},
    response::{IntoResponse, Response},
    routing::get,
};
use countersign::{PrivateKey, Timestamp};
use countersign_client::Client;
use countersign_server::{BadTls, Listener, Tls, serve};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Certificates for `localhost`, each for a key of its own and its own root.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut openssl = Command::new("openssl");
        let made = openssl.args(arguments).current_dir(&self.0).stderr(Stdio::null()).status();
        assert!(made.unwrap().success(), "{arguments:?}");
    }

    /// Makes `NAME.pem` and `NAME.key`.
    fn make(&self, name: &str, algorithm: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let request = ["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
        let names = ["-addext", "subjectAltName=DNS:localhost"];
        let files = ["-out", &certificate, "-keyout", &key];
        self.openssl(&[&request[..], &names, &files, algorithm].concat());
        (self.path(&certificate), self.path(&key))
    }
}

/// What `openssl ca` wants to be told before it signs with dates of one's own.
const CA: &str = "[ca]\ndefault_ca = c\n[c]\ndatabase = index.txt\nnew_certs_dir = .\npolicy = p\n\
    default_md = sha256\nrand_serial = yes\nunique_subject = no\n[p]\ncommonName = supplied\n[v3]\nbasicConstraints = CA:FALSE\n";

const ECDSA: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Tells the version it was asked in.
async fn start(tls: Tls) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = Router::new().route("/", get(async |version: Version| format!("{version:?}")));
    let listener = Listener::from(socket).tls(tls);
    tokio::spawn(serve(listener, app, std::future::pending()));
    address
}

/// What curl gets, or the number of its error.
async fn curl(address: SocketAddr, root: &Path, arguments: &[&str]) -> Result<String, i32> {
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert"]).arg(root).args(arguments);
    curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", address.port())]);
    let output = curl.arg(format!("https://localhost:{}/", address.port())).output().await.unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        code => Err(code.unwrap()),
    }
}

/// It cannot agree on how to speak TLS.
const NO_AGREEMENT: i32 = 35;
/// It does not know the certificate.
const UNKNOWN: i32 = 60;

#[tokio::test]
async fn clients_choose_http2_or_http1_and_tls_1_2_or_1_3() {
    let files = Files::new();
    for algorithm in [&ECDSA[..], &["-newkey", "rsa:2048"], &["-newkey", "ed25519"]] {
        let (certificate, key) = files.make("server", algorithm);
        let address = start(Tls::from_files(&certificate, key).unwrap()).await;
        let cases: [(&[&str], Result<&str, i32>); 6] = [
            (&["--http2"], Ok("HTTP/2.0")),
            (&["--http1.1"], Ok("HTTP/1.1")),
            (&["--no-alpn"], Ok("HTTP/1.1")),
            (&["--tls-max", "1.2"], Ok("HTTP/2.0")),
            (&["--tlsv1.3"], Ok("HTTP/2.0")),
            (&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"], Err(NO_AGREEMENT)),
        ];
        for (arguments, expected) in cases {
            let answer = curl(address, &certificate, arguments).await;
            assert_eq!(answer.as_deref().map_err(|&code| code), expected, "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_never() {
    let files = Files::new();
    let (certificate, key) = files.make("server", &ECDSA);
    let old = files.path("old.pem");
    fs::copy(&certificate, &old).unwrap();
    let tls = Tls::from_files(&certificate, &key).unwrap();
    let address = start(tls.clone()).await;
    assert!(curl(address, &old, &[]).await.is_ok());
    let (renewed, renewed_key) = files.make("renewed", &ECDSA);
    fs::copy(&renewed, &certificate).unwrap();
    assert!(curl(address, &old, &[]).await.is_ok(), "nobody has read it yet");
    assert!(matches!(tls.reload(), Err(BadTls::Mismatch { .. })), "its key is not there yet");
    assert!(curl(address, &old, &[]).await.is_ok());
    fs::copy(renewed_key, key).unwrap();
    tls.reload().unwrap();
    assert!(curl(address, &renewed, &[]).await.is_ok());
    assert_eq!(curl(address, &old, &[]).await, Err(UNKNOWN));
}

/// Refuses what is signed by a clock that is not eight minutes behind, and tells that time; `/old` has moved.
async fn behind(request: Request) -> Response {
    let input = request.headers()["signature-input"].to_str().unwrap();
    let refused = r#"{"code":"signature-stale"}"#;
    let problem = [
        ("content-type", "application/problem+json"),
        ("countersign-refusal", "signature-stale"),
        ("date", BEHIND_DATE),
    ];
    match (input.contains(&format!(";created={BEHIND};")), request.uri().path()) {
        (false, _) => (StatusCode::UNAUTHORIZED, problem, refused).into_response(),
        (true, "/old") => (StatusCode::FOUND, [("location", "/new")]).into_response(),
        (true, _) => StatusCode::CREATED.into_response(),
    }
}

const BEHIND: u64 = 1_763_899_520;
const BEHIND_DATE: &str = "Sun, 23 Nov 2025 12:05:20 GMT";

#[tokio::test]
async fn a_client_heeds_what_is_answered_over_tls_and_not_over_plain_http() {
    const HOST: &str = "api.example.com";
    let files = Files::new();
    let names = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext"];
    let name = format!("subjectAltName=DNS:{HOST}");
    let request = ["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=api"];
    let output = ["-out", "api.pem", "-keyout", "api.key"];
    files.openssl(&[&request[..], &names, &[&name], &output, &ECDSA].concat());
    let tls = Tls::from_files(files.path("api.pem"), files.path("api.key")).unwrap();
    let certificate = fs::read(files.path("api.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&certificate).unwrap();
    for (scheme, tls, status) in [("https", Some(tls), 201), ("http", None, 401)] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::from(socket);
        let listener = if let Some(tls) = tls { listener.tls(tls) } else { listener };
        let app = Router::new().fallback(behind);
        tokio::spawn(serve(listener, app, std::future::pending()));
        let http = reqwest::Client::builder().resolve(HOST, address).no_proxy();
        let http = http.tls_certs_only([certificate.clone()]);
        let client = Client::new(PrivateKey::ed25519(&[7; 32])).unwrap().http(http).unwrap();
        let client = client.clock(|| Timestamp::from_unix(BEHIND + 480));
        let url = format!("{scheme}://{HOST}:{}/old", address.port());
        let response = client.get(url).send().await.unwrap();
        assert_eq!(response.status(), status, "{scheme}");
    }
}

#[tokio::test]
async fn whoever_speaks_no_tls_gets_nothing() {
    let files = Files::new();
    let (certificate, key) = files.make("server", &ECDSA);
    let address = start(Tls::from_files(&certificate, key).unwrap()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(curl(address, &certificate, &[]).await.is_ok(), "others are served");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_not_waited_for() {
    let files = Files::new();
    let (certificate, key) = files.make("server", &ECDSA);
    let address = start(Tls::from_files(&certificate, key).unwrap()).await;
    // The head of a record of 512 bytes, with the beginning of a ClientHello.
    for beginning in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
        assert!(started.elapsed() <= Duration::from_secs(11), "{:?}", started.elapsed());
    }
}

#[test]
fn what_cannot_be_used_is_told_with_the_file_and_what_to_do() {
    let files = Files::new();
    let (certificate, key) = files.make("server", &ECDSA);
    let (_, other) = files.make("other", &ECDSA);
    let (none, empty) = (files.path("none.pem"), files.path("empty.pem"));
    fs::write(&empty, "").unwrap();
    let cut = files.path("cut.pem");
    let text = fs::read_to_string(&certificate).unwrap();
    fs::write(&cut, text.get(..200).unwrap()).unwrap();
    let encrypted = files.path("encrypted.key");
    files.openssl(&[
        "pkey",
        "-in",
        "server.key",
        "-out",
        "encrypted.key",
        "-aes256",
        "-passout",
        "pass:a",
    ]);
    fs::write(files.path("ca.cnf"), CA).unwrap();
    fs::write(files.path("index.txt"), "").unwrap();
    files.openssl(&["req", "-new", "-key", "server.key", "-subj", "/CN=localhost", "-out", "csr"]);
    let dated = |name: &str, from: &str, to: &str| {
        let sign = [
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-selfsign",
            "-in",
            "csr",
            "-extensions",
            "v3",
        ];
        let dates = ["-keyfile", "server.key", "-startdate", from, "-enddate", to, "-out", name];
        files.openssl(&[&sign[..], &dates].concat());
        files.path(name)
    };
    let expired = dated("expired.pem", "20200101000000Z", "20200201000000Z");
    let early = dated("early.pem", "21200101000000Z", "21200201000000Z");
    files.openssl(&["x509", "-req", "-in", "csr", "-signkey", "server.key", "-out", "v1.pem"]);
    let first_version = files.path("v1.pem");
    let certificates = "name a PEM file of CERTIFICATE blocks";
    let keys = "name a PEM file of a PRIVATE KEY";
    let cases = [
        (&none, &key, &none, certificates),
        (&empty, &key, &empty, certificates),
        (&cut, &key, &cut, certificates),
        (&key, &key, &key, certificates),
        (&certificate, &none, &none, keys),
        (&certificate, &empty, &empty, keys),
        (&certificate, &certificate, &certificate, keys),
        (&certificate, &encrypted, &encrypted, keys),
        (&expired, &key, &expired, "renew it, or set the clock"),
        (&first_version, &key, &first_version, "X.509 version 3"),
        (&early, &key, &early, "renew it, or set the clock"),
        (&certificate, &other, &other, "name the key and the certificate that belong together"),
    ];
    for (certificate, key, named, hint) in cases {
        let told = Tls::from_files(certificate, key).unwrap_err().to_string();
        assert!(told.contains(&named.display().to_string()) && told.contains(hint), "{told}");
    }
    assert!(Tls::from_files(&certificate, &key).is_ok());
}
