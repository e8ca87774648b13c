use bytes::Bytes;
use countersign::{
    Nonce, Origin, PrivateKey, RequestHead, Scheme, Signer, Target, Timestamp, X_API_KEY,
};
use countersign_store::system_time;
use http::{HeaderValue, Request, header::HOST, request::Parts, uri::PathAndQuery};
use http_body_util::Full;

use crate::{ORIGIN, address, key};

/// Signs a request with [`key`], at the time of the system's clock, for `tower::ServiceExt::oneshot` and its like.
///
/// The content is a `&'static str`, a `String`, a `Vec<u8>` or `Bytes`. A request without `Host` gets the host of its
/// URI, or of [`ORIGIN`]. It comes from [`address`], unless its extensions have another `ClientAddress`.
///
/// Each call uses a new nonce. To test a replay, clone the signed request and send both.
///
/// # Panics
///
/// If the request cannot be signed: servers refuse its URI, or it has a signature already.
pub fn signed<B: Into<Bytes>>(request: Request<B>) -> Request<Full<Bytes>> {
    signed_at(request, system_time())
}

/// Signs a request with [`key`] at this time, and otherwise as [`signed`] does.
///
/// # Panics
///
/// As [`signed`].
pub fn signed_at<B: Into<Bytes>>(request: Request<B>, created: Timestamp) -> Request<Full<Bytes>> {
    signed_by(key(), request, created)
}

/// Signs a request with another key at this time, and otherwise as [`signed`] does.
///
/// ```
/// use countersign::PrivateKey;
/// use countersign_test::{NOW, signed_by};
/// use http::Request;
///
/// let stranger = PrivateKey::ed25519(&[9; 32]);
/// let request = signed_by(stranger, Request::get("/v1/orders").body("").unwrap(), NOW);
/// assert!(request.headers().contains_key("signature"));
/// ```
///
/// # Panics
///
/// As [`signed`].
pub fn signed_by<B: Into<Bytes>>(
    key: PrivateKey,
    request: Request<B>,
    created: Timestamp,
) -> Request<Full<Bytes>> {
    let (mut head, content) = request.into_parts();
    let (origin, content) = (arrive(&mut head), content.into());
    let signed = RequestHead {
        method: &head.method,
        target: Target::origin_form(&head.uri),
        origin: &origin,
        headers: &head.headers,
    };
    let fields = Signer::new(key).sign(&signed, &content, created, &nonce());
    fields.expect("the request can be signed").apply(&mut head.headers);
    Request::from_parts(head, Full::new(content))
}

/// An unsigned request with the publishable key of [`credential`](crate::credential) in `X-Api-Key`. Otherwise as from
/// [`signed`].
///
/// # Panics
///
/// If the `Host` of the request is not a host.
pub fn with_publishable_key<B: Into<Bytes>>(request: Request<B>) -> Request<Full<Bytes>> {
    let (mut head, content) = request.into_parts();
    arrive(&mut head);
    let shown = HeaderValue::try_from(key().publishable_key().to_string());
    head.headers.insert(X_API_KEY, shown.expect("a publishable key is plain text"));
    Request::from_parts(head, Full::new(content.into()))
}

/// Gives the head the form of a received request, and returns the origin of the request.
fn arrive(head: &mut Parts) -> Origin {
    if head.extensions.get::<countersign_store::ClientAddress>().is_none() {
        head.extensions.insert(address());
    }
    let ours: Origin = ORIGIN.parse().expect("the origin is one");
    let scheme = match head.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some(_) | None => Scheme::Https,
    };
    let host = head.headers.get(HOST).cloned();
    let named = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = host
        .and_then(|host| host.to_str().ok().map(str::to_owned))
        .or(named)
        .unwrap_or_else(|| ours.authority().to_owned());
    let field = HeaderValue::try_from(host.as_str());
    head.headers.insert(HOST, field.expect("a host is plain text"));
    // In the form in which HTTP/1.1 sends it.
    let target = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = target.into();
    Origin::new(scheme, &host).expect("the host is one")
}

/// A nonce for a single request.
pub(crate) fn nonce() -> Nonce {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    Nonce::from_random(bytes)
}
