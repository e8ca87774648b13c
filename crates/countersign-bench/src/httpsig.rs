//! The same request signed and verified by httpsig-hyper.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use httpsig_hyper::{MessageSignatureReqSync as _, prelude::*};

use crate::order::{NOW, Order, SECRET, SEED};

const COVERED: [&str; 6] =
    ["@method", "@authority", "@path", "@query", "content-digest", "content-type"];

/// The order, with the digest that signing makes; its URI is absolute, since the authority is taken from there.
pub(crate) fn request(order: &Order) -> Request<Full<Bytes>> {
    let uri = format!("{}{}", order.origin, order.uri);
    let mut request = Request::builder().method(order.method.clone()).uri(uri);
    *request.headers_mut().unwrap() = order.headers.clone();
    request.body(Full::new(Bytes::from_static(crate::order::CONTENT))).unwrap()
}

/// What signs.
pub(crate) fn ed25519() -> SecretKey {
    SecretKey::from_bytes(&AlgorithmName::Ed25519, &SEED).unwrap()
}

/// What signs and verifies.
pub(crate) fn hmac() -> SharedKey {
    use base64::{Engine, engine::general_purpose::STANDARD};
    SharedKey::from_base64(&AlgorithmName::HmacSha256, &STANDARD.encode(SECRET)).unwrap()
}

/// The parameters of our signatures.
pub(crate) fn params(key: &impl SigningKey) -> HttpSignatureParams {
    let covered: Vec<_> = COVERED
        .iter()
        .map(|name| message_component::HttpMessageComponentId::try_from(*name).unwrap())
        .collect();
    let mut params = HttpSignatureParams::try_new(&covered).unwrap();
    params.set_key_info(key);
    params.set_created(NOW.unix()).set_nonce("CQkJCQkJCQkJCQkJCQkJCQ").set_tag("countersign");
    params
}

/// Signs a request in place.
pub(crate) fn sign(
    request: &mut Request<Full<Bytes>>,
    params: &HttpSignatureParams,
    key: &(impl SigningKey + Sync),
) {
    request.set_message_signature_sync(params, key, Some("sig")).unwrap();
}

/// Verifies a request.
pub(crate) fn verify(request: &Request<Full<Bytes>>, key: &(impl VerifyingKey + Sync)) {
    request.verify_message_signature_sync(key, None).unwrap();
}
