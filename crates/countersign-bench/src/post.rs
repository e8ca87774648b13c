use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, body::Body, http::StatusCode, routing::post};
use bytes::Bytes;
use countersign::{Nonce, PrivateKey, Signer, Timestamp};
use countersign_server::Verifier;
use countersign_store::{Gate, MemoryKeys, State};
use http::{HeaderMap, HeaderValue, Request, header};

use crate::order::Order;

/// What is posted: 1 KiB.
pub(crate) const CONTENT: &[u8] = &[b'x'; 1024];

/// Makes signed POSTs of 1 KiB, each with a nonce of its own.
pub(crate) struct Posts {
    order: Order,
    signer: Signer,
    made: AtomicU64,
}

impl Posts {
    pub(crate) fn new(key: PrivateKey) -> Self {
        let mut order = Order::unsigned();
        order.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(CONTENT.len()));
        Self { order, signer: Signer::new(key), made: AtomicU64::new(0) }
    }

    fn sign(&self, now: Timestamp) -> HeaderMap {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let nonce = Nonce::from_random(u128::from(number).to_be_bytes());
        let fields = self.signer.sign(&self.order.head(), CONTENT, now, &nonce).unwrap();
        let mut headers = self.order.headers.clone();
        fields.apply(&mut headers);
        headers
    }

    /// The head of one, for what needs no more.
    pub(crate) fn signed_order(&self, now: Timestamp) -> Order {
        Order { headers: self.sign(now), ..self.order.clone() }
    }

    /// One as a server has it that has read its head.
    pub(crate) fn request(&self, now: Timestamp) -> Request<Body> {
        let mut request = Request::new(Body::from(CONTENT));
        *request.method_mut() = self.order.method.clone();
        *request.uri_mut() = self.order.uri.clone();
        *request.headers_mut() = self.sign(now);
        request
    }

    /// One as it is on the wire.
    pub(crate) fn bytes(&self, now: Timestamp) -> Bytes {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\n", self.order.method, self.order.uri).into_bytes();
        for (name, value) in &self.sign(now) {
            bytes.extend(name.as_str().as_bytes());
            bytes.extend(b": ");
            bytes.extend(value.as_bytes());
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes.extend(CONTENT);
        bytes.into()
    }
}

/// The handler, without anything in front of it.
pub(crate) fn plain() -> Router {
    let accept = async |content: Bytes| match content.len() {
        length if length == CONTENT.len() => StatusCode::CREATED,
        _ => StatusCode::BAD_REQUEST,
    };
    Router::new().route("/v1/orders", post(accept).get(async || StatusCode::OK))
}

/// The same behind a verifier that knows this key, and is changed in some way.
pub(crate) fn verified<G: Gate>(
    key: &PrivateKey,
    gate: G,
    change: impl FnOnce(Verifier<MemoryKeys, G>) -> Verifier<MemoryKeys, G>,
) -> Router {
    verified_by([key], gate, change)
}

/// The same behind a verifier that knows these keys.
pub(crate) fn verified_by<'a, G: Gate>(
    private_keys: impl IntoIterator<Item = &'a PrivateKey>,
    gate: G,
    change: impl FnOnce(Verifier<MemoryKeys, G>) -> Verifier<MemoryKeys, G>,
) -> Router {
    let keys = MemoryKeys::default();
    // The third of the harness has expired.
    for (number, key) in (4..).zip(private_keys) {
        keys.insert(harness::credential(number, key, State::Active)).unwrap();
    }
    let origins = countersign::Origins::new(["https://api.example.com".parse().unwrap()]);
    plain().layer(change(Verifier::new(origins.unwrap(), keys, gate)).layer())
}
