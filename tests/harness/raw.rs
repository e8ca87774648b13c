use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::{
    Candidate, ContentDigest, Nonce, Origin, PrivateKey, RequestHead, Signer, Target, Timestamp,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{Answer, Http2, NOW, Outcome, answer::PATIENCE, key};

/// The parameters of [`Raw::order`]'s signature, behind its list of components. `KEYID` stands for the key.
pub const PARAMS: &str = r#";created=1763900000;nonce="CQkJCQkJCQkJCQkJCQkJCQ";keyid="KEYID";alg="ed25519";tag="countersign""#;

/// A request as the bytes on the wire, so that it can be wrong in any way.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: &'static str,
    /// The header lines, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Raw {
    /// An unsigned order: a POST with JSON.
    pub fn order() -> Self {
        Self {
            method: "POST".into(),
            target: "/v1/orders?expand=customer".into(),
            version: "HTTP/1.1",
            headers: vec![
                ("Host".into(), b"api.example.com".to_vec()),
                ("Content-Type".into(), b"application/json".to_vec()),
            ],
            body: br#"{"item":"book"}"#.to_vec(),
        }
    }

    /// An unsigned read without any credential.
    pub fn read() -> Self {
        let headers = vec![("Host".into(), b"api.example.com".to_vec())];
        let (method, target) = ("GET".into(), "/v1/orders".into());
        Self { method, target, version: "HTTP/1.1", headers, body: Vec::new() }
    }

    /// With another method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// With another target.
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// With other content.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// With one more header line.
    pub fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Without the header lines of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// With one header line in place of those of this name.
    pub fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).add(name, value)
    }

    /// With the value of a header changed.
    pub fn change(self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let value = change(&self.get(name));
        self.set(name, value)
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        String::from_utf8(found.unwrap().1.clone()).unwrap()
    }

    /// Properly signed by the first key, at [`NOW`], with a nonce of its own.
    pub fn signed(self) -> Self {
        self.signed_by(key(1), NOW)
    }

    /// Properly signed, with a nonce of its own.
    pub fn signed_by(self, key: PrivateKey, created: Timestamp) -> Self {
        static SIGNED: AtomicU64 = AtomicU64::new(0);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&SIGNED.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        self.signed_with(key, created, &Nonce::from_random(nonce))
    }

    /// Properly signed, with this nonce.
    pub fn signed_with(mut self, key: PrivateKey, created: Timestamp, nonce: &Nonce) -> Self {
        let fields =
            self.with_head(|head, body| Signer::new(key).sign(head, body, created, nonce).unwrap());
        let mut added = HeaderMap::new();
        fields.apply(&mut added);
        for (name, value) in &added {
            self = self.add(name.as_str(), value);
        }
        self
    }

    /// Signed by a key that is nobody's under the key id of a victim, with a nonce of its own.
    pub fn forged(self, victim: &PrivateKey) -> Self {
        let (ours, theirs) = (key(9).publishable_key(), victim.publishable_key());
        let signed = self.signed_by(key(9), NOW);
        signed.change("Signature-Input", |input| {
            input.replace(&ours.to_string(), &theirs.to_string())
        })
    }

    /// As one that is properly signed, with this key id in it, and as its signature what `sign` makes of its base.
    pub fn signed_under(self, key_id: &str, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let ours = key(1).publishable_key().to_string();
        let named = self.signed().change("Signature-Input", |input| input.replace(&ours, key_id));
        let signature = named.with_head(|head, _| {
            let candidate = Candidate::select(&(*head).into(), None).unwrap();
            sign(candidate.signature_base().as_bytes())
        });
        named.set("Signature", format!("sig=:{}:", STANDARD.encode(signature)))
    }

    /// Signed by the first key over the base that these components and parameters make, with a digest.
    pub fn signed_as(self, input: &str) -> Self {
        let key = key(1);
        let input = input.replace("KEYID", &key.publishable_key().to_string());
        let unsigned = match self.has("content-digest") || self.body.is_empty() {
            true => self,
            false => {
                let digest = ContentDigest::sha256(&self.body).to_string();
                self.add("Content-Digest", digest)
            }
        };
        let labelled =
            unsigned.set("Signature-Input", format!("sig={input}")).set("Signature", "sig=:AAAA:");
        let signature = labelled.with_head(|head, _| {
            let candidate = Candidate::select(&(*head).into(), None);
            candidate.map(|one| key.sign(one.signature_base().as_bytes()))
        });
        let signature = signature.unwrap_or_else(|_| vec![0; 64]);
        labelled.set("Signature", format!("sig=:{}:", STANDARD.encode(signature)))
    }

    /// The same request in HTTP/2, whose authority is that of the first `Host`.
    pub fn http2(&self) -> Http2 {
        let mut request = Http2 { body: self.body.clone(), ..Http2::default() };
        let host = |(name, _): &&(String, _)| name.eq_ignore_ascii_case("host");
        let hosts: Vec<_> = self.headers.iter().filter(host).collect();
        request.add(":method", &self.method);
        request.add(":scheme", "https");
        for (_, host) in hosts.iter().take(1) {
            request.add(":authority", host);
        }
        request.add(":path", &self.target);
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("host") {
                request.add(&name.to_ascii_lowercase(), value);
            }
        }
        for (_, host) in hosts.iter().skip(1) {
            request.add("host", host);
        }
        request
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// What `then` makes of its head, as a request to `https://api.example.com`, and of its content.
    pub fn with_head<T>(&self, then: impl FnOnce(&RequestHead<'_>, &[u8]) -> T) -> T {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), value);
        }
        let method: Method = self.method.parse().unwrap();
        let uri: Uri = self.target.parse().unwrap();
        let origin: Origin = "https://api.example.com".parse().unwrap();
        let target = Target::origin_form(&uri);
        then(
            &RequestHead { method: &method, target, origin: &origin, headers: &headers },
            &self.body,
        )
    }

    /// The request for a service that is called without a socket.
    pub fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }

    /// The bytes, with a Content-Length where there is content.
    pub fn bytes(&self) -> Vec<u8> {
        let framed = self.has("content-length") || self.has("transfer-encoding");
        let mut bytes = self.head_bytes();
        if !self.body.is_empty() && !framed {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// The request line and the header lines, without the empty line.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        bytes
    }
}

/// Sends bytes on a new connection and reads one answer.
///
/// # Panics
///
/// If there is none.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    exchange_http1(address, bytes).await.answer()
}

/// Sends bytes on a new HTTP/1.1 connection and reads what becomes of them.
pub async fn exchange_http1(address: SocketAddr, bytes: &[u8]) -> Outcome {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has enough closes the connection; what it said before can still be read.
    drop(stream.write_all(bytes).await);
    let content = !bytes.starts_with(b"HEAD ");
    let reading = read_answer(&mut stream, content);
    timeout(PATIENCE, reading).await.unwrap_or(Outcome::Nothing)
}

/// An answer, with the content that its head announces or, as to HEAD, without.
async fn read_answer(stream: &mut TcpStream, content: bool) -> Outcome {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse(&bytes, content) {
            return Outcome::Answer(answer);
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend(&piece[..length]),
            _ => return Outcome::Closed,
        }
    }
}

fn parse(bytes: &[u8], content: bool) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let answer = Answer { status, headers, body: body.to_owned() };
    let length: usize =
        answer.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let content = content && ![204, 304].contains(&answer.status);
    (!content || body.len() >= length).then_some(answer)
}
