//! `countersign serve` with TLS on both of its sides: clients by curl and `openssl s_client`, services by the server crate.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use axum::{Router, http::HeaderMap, routing::any};
use countersign_server::{Listener, Tls, serve};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, signed_order},
    upstream::Upstream,
};

/// Makes `NAME.pem`, a certificate that is its own root, and `NAME.key`.
fn make_certificate(desk: &Desk, name: &str, host: &str) {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let names = format!("subjectAltName={host}");
    let mut openssl = desk.command("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", &names]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-out", &certificate, "-keyout", &key]).stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
}

/// The status and the content that curl gets from `https://api.example.com` at this address, or the number of its error.
fn curl(desk: &Desk, to: SocketAddr, root: &str, arguments: &[&str]) -> Result<String, i32> {
    let mut curl = desk.command("curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert", root, "-w", " %{http_version} %{http_code}"]);
    curl.args(["--connect-to", &format!("api.example.com:443:127.0.0.1:{}", to.port())]);
    let output = curl.args(arguments).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        code => Err(code.unwrap()),
    }
}

/// curl does not trust the certificate.
const UNTRUSTED: i32 = 60;

/// One connection of a client with TLS.
struct Open {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Open {
    fn to(desk: &Desk, address: SocketAddr) -> Self {
        let mut openssl: Command = desk.command("openssl");
        openssl.args(["s_client", "-quiet", "-ign_eof", "-connect", &address.to_string()]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Sends a read, and returns the line of the status once the content `well` has come.
    fn read(&mut self, key: &str) -> String {
        let request =
            format!("GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\n\r\n");
        self.stdin.write_all(request.as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it was closed: {lines:?}");
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut content = [0; 4];
        std::io::Read::read_exact(&mut self.stdout, &mut content).unwrap();
        assert_eq!(&content, b"well");
        lines.swap_remove(0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_certificate_changes_without_dropping_a_connection_and_a_wrong_one_is_not_taken() {
    let (desk, key) = desk_with_shop();
    for name in ["old", "new"] {
        make_certificate(&desk, name, "DNS:api.example.com");
    }
    let show = |certificate: &str, key: &str| {
        for (from, to) in [(certificate, "shown.pem"), (key, "shown.key")] {
            desk.write(to, desk.read(from), 0o600);
        }
    };
    show("old.pem", "old.key");
    let upstream = Upstream::well();
    let url = upstream.url();
    let tls = ["--tls-certificate", "shown.pem", "--tls-key", "shown.key"];
    let start = ["--upstream", &url, "--origin", ORIGIN];
    let served = Served::with(&desk, &[&start[..], &tls].concat());
    let read = |root: &str| {
        let field = format!("X-Api-Key: {key}");
        curl(&desk, served.address, root, &["-H", &field, &format!("{ORIGIN}/v1/orders")])
    };
    let reload = || {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        let reload = ["serve", "reload"].into_iter();
        desk.run(reload.chain(start).chain(tls).chain(ports))
    };
    let mut open = Open::to(&desk, served.address);
    assert_eq!(open.read(&key), "HTTP/1.1 200 OK");
    assert_eq!(read("old.pem").as_deref(), Ok("well 2 200"));
    assert_eq!(read("new.pem"), Err(UNTRUSTED));

    show("new.pem", "new.key");
    reload().done();
    assert_eq!(open.read(&key), "HTTP/1.1 200 OK");
    assert_eq!(read("new.pem").as_deref(), Ok("well 2 200"));
    assert_eq!(read("old.pem"), Err(UNTRUSTED));

    show("old.pem", "new.key");
    reload().failed(1, "is not that of the first certificate", "correct the configuration");
    assert_eq!(open.read(&key), "HTTP/1.1 200 OK");
    assert_eq!(read("new.pem").as_deref(), Ok("well 2 200"));
}

#[test]
fn a_signed_write_over_http2_reaches_a_service_that_speaks_http1() {
    let (desk, key) = desk_with_shop();
    make_certificate(&desk, "tls", "DNS:api.example.com");
    let upstream = Upstream::well();
    let url = upstream.url();
    let start = ["--upstream", &url, "--origin", ORIGIN];
    let tls = ["--tls-certificate", "tls.pem", "--tls-key", "tls.key"];
    let served = Served::with(&desk, &[&start[..], &tls].concat());
    let to = format!("api.example.com:443:127.0.0.1:{}", served.address.port());
    let order = format!("{ORIGIN}/v1/orders?expand=customer");
    let curl = ["curl", "--key", "id.key", "-sS", "--noproxy", "*", "--http2"];
    let arguments = ["--cacert", "tls.pem", "--connect-to", &to, "-d", "a book", &order];
    assert_eq!(desk.run(curl.into_iter().chain(arguments)).done(), "well");
    let received = upstream.next();
    assert_eq!(received.line(), "POST /v1/orders?expand=customer HTTP/1.1");
    assert_eq!((received.content.as_slice(), received.whole), (&b"a book"[..], true));
    assert_eq!(received.values("via"), ["2 countersign"]);
    assert_eq!(received.values("host"), ["api.example.com"]);
    assert_eq!(received.values("countersign-credential"), [&key]);
    assert_eq!(received.values("countersign-access"), ["signed"]);
}

/// A service with TLS that says in which `Host` it was called.
struct Service {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Service {
    fn start(certificate: PathBuf, key: PathBuf) -> Self {
        let runtime = Runtime::new().unwrap();
        let address = runtime.block_on(async {
            let host = async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned();
            let app = Router::new().fallback(any(host));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let listener = Listener::from(listener).tls(Tls::from_files(certificate, key).unwrap());
            tokio::spawn(serve(listener, app, std::future::pending()));
            address
        });
        Self { address, _runtime: runtime }
    }
}

#[test]
fn a_service_with_tls_is_reached_if_its_certificate_is_valid() {
    let (desk, key) = desk_with_shop();
    for (name, host) in [("right", "IP:127.0.0.1"), ("other", "DNS:other.example")] {
        make_certificate(&desk, name, host);
    }
    let right = Service::start(desk.path("right.pem"), desk.path("right.key"));
    let other = Service::start(desk.path("other.pem"), desk.path("other.key"));
    let configure = |to: SocketAddr, ca: &str| {
        let text =
            format!("origins = [\"{ORIGIN}\"]\n[upstream]\nservers = [\"https://{to}\"]\n{ca}\n");
        desk.write("serve.toml", text, 0o600);
    };
    configure(right.address, "ca = \"right.pem\"");
    let served = Served::with(&desk, &["--config", "serve.toml"]);
    let reload = || {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        desk.run(["serve", "reload", "--config", "serve.toml"].into_iter().chain(ports))
    };
    for _ in 0..3 {
        let response = served.read(&key, "");
        assert_eq!((response.status, response.content()), (200, "api.example.com"), "{response:?}");
    }
    let response = served.send(signed_order(&desk, "a book", ""));
    assert_eq!(response.status, 200, "{response:?}");

    // Another root, another name, and the roots of the system, which do not have it.
    let untrusted = [
        (right.address, "ca = \"other.pem\""),
        (other.address, "ca = \"other.pem\""),
        (right.address, ""),
    ];
    for (to, ca) in untrusted {
        configure(to, ca);
        reload().done();
        let response = served.read(&key, "");
        let got = (response.status, response.code());
        assert_eq!(got, (502, "upstream-unreachable"), "{to} {ca}: {response:?}");
    }
    // A server that speaks no TLS.
    let plain = Upstream::well();
    configure(plain.address, "ca = \"right.pem\"");
    reload().done();
    assert_eq!(served.read(&key, "").code(), "upstream-unreachable");

    configure(right.address, "ca = \"right.pem\"");
    reload().done();
    assert_eq!(served.read(&key, "").status, 200);
    for (ca, error) in [("none.pem", "No such file"), ("right.key", "it has no certificates")] {
        configure(right.address, &format!("ca = \"{ca}\""));
        reload().failed(1, error, "correct the configuration");
        assert_eq!(served.read(&key, "").status, 200);
    }
}
