//! A `countersign serve` that runs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, ExitStatus, Stdio},
};

use crate::{
    desk::Desk,
    upstream::{PATIENCE, Upstream},
};

pub(crate) const ORIGIN: &str = "https://api.example.com";

/// A desk with the key `id.key`, whose publishable key is given back. Its registry is made by the first service there, since only a
/// service that makes its registry accepts signatures at once.
pub(crate) fn desk_with_shop() -> (Desk, String) {
    let desk = Desk::new().variable("COUNTERSIGN_DB", "sqlite:registry.db");
    let key = desk.run(["keygen", "--out", "id.key"]).done();
    (desk, key.trim().to_owned())
}

/// Registers the key for the application `shop`.
pub(crate) fn register(desk: &Desk) {
    desk.run(["app", "add", "shop"]).done();
    let scopes = ["--scope", "orders:write", "--scope", "orders:read"];
    let add = ["key", "add", "--app", "shop", "--public-key", "id.key.pub"];
    desk.run(add.into_iter().chain(scopes)).done();
}

pub(crate) struct Served {
    child: Child,
    stderr: Option<ChildStderr>,
    pub(crate) address: SocketAddr,
    pub(crate) operations: SocketAddr,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Response {
    /// The code of a problem; empty if there is none.
    pub(crate) fn code(&self) -> &str {
        let code = self.text.split_once("\"code\":\"").map_or("", |(_, rest)| rest);
        code.split('"').next().unwrap()
    }

    /// Whether its field names the same code as its content.
    pub(crate) fn is_refusal(&self) -> bool {
        let field = format!("\r\ncountersign-refusal: {}\r\n", self.code());
        self.text.to_ascii_lowercase().contains(&field)
    }

    pub(crate) fn content(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, content)| content)
    }
}

impl Served {
    /// In front of this upstream, with free ports.
    pub(crate) fn start(desk: &Desk, upstream: &Upstream) -> Self {
        Self::with(desk, &["--upstream", &upstream.url(), "--origin", ORIGIN])
    }

    /// With these arguments, and free ports.
    pub(crate) fn with(desk: &Desk, arguments: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        Self::with_ports(desk, &[arguments, &ports[..]].concat())
    }

    /// With the ports that the arguments or the configuration have.
    pub(crate) fn with_ports(desk: &Desk, arguments: &[&str]) -> Self {
        let is_first = !desk.path("registered").exists();
        let mut command = desk.command(env!("CARGO_BIN_EXE_countersign"));
        command.arg("serve").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take();
        let mut address = |name: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            if line.is_empty() {
                let mut text = String::new();
                stderr.take().unwrap().read_to_string(&mut text).unwrap();
                panic!("it did not start: {text}");
            }
            assert!(line.starts_with(name), "{line}");
            line.trim().rsplit_once("://").unwrap().1.parse().unwrap()
        };
        let (address, operations) = (address("service:"), address("operations:"));
        if is_first {
            register(desk);
            desk.write("registered", "", 0o600);
        }
        Self { child, stderr, address, operations }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends these bytes on a new connection, and reads until it is closed.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Response {
        exchange(self.address, bytes)
    }

    /// Sends a read with this key, and more fields, each with its line end.
    pub(crate) fn read(&self, key: &str, fields: &str) -> Response {
        self.send(format!(
            "GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n{fields}\r\n"
        ))
    }

    /// What the operations listener says about a path.
    pub(crate) fn ask(&self, path: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        exchange(self.operations, request)
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended, and returns what it wrote to stderr.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut stream = connect(address);
    // A server that has enough closes the connection; what it said before can still be read.
    drop(stream.write_all(bytes.as_ref()));
    response(&mut stream)
}

/// Reads until the connection is closed.
pub(crate) fn response(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Response { status: status.and_then(|status| status.parse().ok()).unwrap_or(0), text }
}

/// An order that the key of the desk signs, with `Connection: close`, and more fields, each with its line end.
pub(crate) fn signed_order(desk: &Desk, content: &str, fields: &str) -> String {
    let url = format!("{ORIGIN}/v1/orders?expand=customer");
    let signed = desk.run([
        "sign",
        "--key",
        "id.key",
        "-H",
        "Content-Type: text/plain",
        "-d",
        content,
        "--format",
        "http",
        &url,
    ]);
    let signed = signed.done();
    let (head, content) = signed.split_once("\r\n\r\n").unwrap();
    format!("{head}\r\nConnection: close\r\n{fields}\r\n{content}")
}
