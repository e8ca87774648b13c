use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign::{KeyId, PrivateKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

use crate::NOW;

/// A key that an issuer signs tokens with.
#[derive(Clone)]
pub struct IssuerKey {
    kid: Option<&'static str>,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl std::fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("IssuerKey").field(&self.kid).field(&self.algorithm).finish()
    }
}

impl IssuerKey {
    /// An Ed25519 key, under this `kid`.
    pub fn ed25519(kid: &'static str, seed: u8) -> Self {
        let pem = PrivateKey::ed25519(&[seed; 32]).expose_pkcs8_pem().unwrap();
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
        Self { kid: Some(kid), algorithm: Algorithm::EdDSA, key }
    }

    /// A key from a PEM file, whose `kid` is the algorithm.
    pub fn of(algorithm: Algorithm) -> Self {
        let rsa = include_bytes!("../../crates/countersign/tests/keys/rsa_pkcs1.pem");
        let p256 = include_bytes!("../../crates/countersign/tests/keys/ec.pem");
        let p384 = include_bytes!("../../crates/countersign/tests/keys/ec_p384.pem");
        let (kid, key) = match algorithm {
            Algorithm::RS256 => ("RS256", EncodingKey::from_rsa_pem(rsa)),
            Algorithm::PS512 => ("PS512", EncodingKey::from_rsa_pem(rsa)),
            Algorithm::ES256 => ("ES256", EncodingKey::from_ec_pem(p256)),
            Algorithm::ES384 => ("ES384", EncodingKey::from_ec_pem(p384)),
            other => panic!("no key for {other:?}"),
        };
        Self { kid: Some(kid), algorithm, key: key.unwrap() }
    }

    /// Without a name, or with another one.
    pub fn named(self, kid: Option<&'static str>) -> Self {
        Self { kid, ..self }
    }

    /// Its public half, for a JWKS.
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = self.kid.map(Into::into);
        serde_json::to_value(jwk).unwrap()
    }

    /// A JWKS of this key alone.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// The header of its tokens.
    pub fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.typ = Some("at+jwt".into());
        header.kid = self.kid.map(Into::into);
        header
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// A token with this header and these claims.
    pub fn token_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

/// The issuer's name.
pub const ISSUER: &str = "https://login.example.com";

/// What a token says that is in order, for five minutes.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "https://api.example.com",
        "sub": "customer-7",
        "client_id": "shop-web",
        "iat": NOW.unix(),
        "exp": NOW.plus(Duration::from_secs(300)).unix(),
        "jti": "1",
        "scope": "orders:write orders:read",
        "tenant": 42,
    })
}

/// The same with some of it changed; `null` takes a claim away.
pub fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (claim, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value.clone();
        }
    }
    claims
}

/// The `jkt` of a key.
pub fn thumbprint(key: &PrivateKey) -> String {
    KeyId::Thumbprint(key.publishable_key().thumbprint().unwrap()).to_string()
}

/// What no library makes: a token of any header and claims with any signature.
pub fn token_of(header: &str, claims: &str, signature: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Serves a JWKS on a free port, or whatever else it is told to answer.
#[derive(Debug)]
pub struct JwksServer {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl JwksServer {
    /// Closes connections without an answer, until it is told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::<Mutex<Vec<u8>>>::default();
        let asked = Arc::<AtomicUsize>::default();
        let gate = Arc::new(Semaphore::new(1));
        let (told, count, open) = (answer.clone(), asked.clone(), gate.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let _open = open.acquire().await.unwrap();
                let answer = told.lock().unwrap().clone();
                drop(stream.write_all(&answer).await);
            }
        });
        Self { address, answer, asked, gate, serving }
    }

    /// Where its keys are.
    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// Answers with these bytes from now on; with none it closes connections.
    pub fn answer(&self, bytes: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = bytes.into();
    }

    /// Answers with this content from now on.
    pub fn serve(&self, content: &str) {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/jwk-set+json";
        self.answer(format!("{head}\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
    }

    /// Answers nobody until what this returns is dropped.
    pub async fn hold(&self) -> impl Drop + use<> {
        self.gate.clone().acquire_owned().await.unwrap()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
