use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    ACCEPT_SIGNATURE, BadDigest, BadPresented, Code, Content, Policy, Rejection, Timestamp,
    WANT_CONTENT_DIGEST, WantDigest,
};
use countersign_store::{Excess, Level};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use time::{OffsetDateTime, macros::format_description};

use crate::proxies::BadForwarded;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Methods that are served. Others are refused: `get` is not `GET`, and CONNECT and TRACE are for no handler.
pub(crate) const METHODS: [http::Method; 7] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::OPTIONS,
    http::Method::POST,
    http::Method::PUT,
    http::Method::PATCH,
    http::Method::DELETE,
];

/// Why a request does not reach its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected(Rejection),
    /// What the proxies in front say of the request cannot be used.
    Forwarded(BadForwarded),
    Method,
    HttpVersion,
    SignatureRequired,
    KeyRequired,
    UnknownPublishable,
    Presented(BadPresented),
    Revoked,
    Expired,
    Quarantined,
    ContentTooLarge {
        limit: usize,
    },
    ContentTimeout,
    ContentBroken,
    SignedTrailer,
    /// The caller, who is known, is over a limit.
    RateLimited(Excess),
    TooManyFailures(Excess),
    RegistryUnavailable,
    ReplayStoreUnavailable,
    /// A limit by client address, and nobody says what that is: our own mistake.
    NoClientAddress,
    /// A route without the layer: our own mistake.
    NoLayer,
}

/// Whether a refusal is a failure of its caller, which is charged to their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Caller,
    Nobody,
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<BadPresented> for Reason {
    fn from(presented: BadPresented) -> Self {
        Self::Presented(presented)
    }
}

impl From<BadForwarded> for Reason {
    fn from(forwarded: BadForwarded) -> Self {
        Self::Forwarded(forwarded)
    }
}

impl Reason {
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::Forwarded(forwarded) => forwarded.code(),
            Self::Method => Code::MethodNotAllowed,
            Self::HttpVersion | Self::ContentBroken | Self::SignedTrailer => Code::BadRequest,
            Self::SignatureRequired => Code::SignatureRequired,
            Self::Presented(presented) => presented.code(),
            Self::KeyRequired => Code::KeyRequired,
            Self::UnknownPublishable => Code::KeyUnknown,
            Self::Revoked => Code::KeyRevoked,
            Self::Expired => Code::KeyExpired,
            Self::Quarantined => Code::KeyQuarantined,
            Self::ContentTooLarge { .. } => Code::ContentTooLarge,
            Self::ContentTimeout => Code::RequestTimeout,
            Self::RateLimited(_) | Self::TooManyFailures(_) => Code::RateLimited,
            Self::RegistryUnavailable => Code::RegistryUnavailable,
            Self::ReplayStoreUnavailable => Code::ReplayStoreUnavailable,
            Self::NoClientAddress | Self::NoLayer => Code::Misconfigured,
        }
    }

    /// What is forged, guessed or malformed is its caller's failure: a client that works never sends it.
    ///
    /// Nobody is to blame where an honest client is told how to do better (what to sign or to cover, what time it is), where
    /// the signature held, and where it is our own trouble. What is refused before failures are looked at costs no more than
    /// looking at them.
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::Rejected(rejection) => match rejection {
                Rejection::Malformed(_)
                | Rejection::Digest(BadDigest::Malformed)
                | Rejection::Invalid => Blame::Caller,
                // Of what a later version adds nobody is blamed before somebody thought about it.
                _ => Blame::Nobody,
            },
            Self::Presented(BadPresented::NotAKey | BadPresented::Ambiguous)
            | Self::UnknownPublishable => Blame::Caller,
            Self::Presented(_)
            | Self::Forwarded(_)
            | Self::Method
            | Self::HttpVersion
            | Self::SignatureRequired
            | Self::KeyRequired
            | Self::Revoked
            | Self::Expired
            | Self::Quarantined
            | Self::ContentTooLarge { .. }
            | Self::ContentTimeout
            | Self::ContentBroken
            | Self::SignedTrailer
            | Self::RateLimited(_)
            | Self::TooManyFailures(_)
            | Self::RegistryUnavailable
            | Self::ReplayStoreUnavailable
            | Self::NoClientAddress
            | Self::NoLayer => Blame::Nobody,
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            reason => reason.code().status(),
        }
    }

    /// What is wrong with this request: its form, never the values it holds, and never a fact about a key that the
    /// caller has not proven to have.
    fn detail(&self) -> String {
        let text = match self {
            Self::Rejected(rejection) => return with_source(rejection),
            Self::Presented(presented) => return presented.to_string(),
            Self::Forwarded(forwarded) => return forwarded.to_string(),
            Self::ContentTooLarge { limit } => {
                return format!("the content is larger than {limit} bytes");
            }
            Self::RateLimited(Excess { level, .. }) => {
                return format!("this is more than the quota {} allows", level.name());
            }
            Self::Method => "the method is none that is served here",
            Self::HttpVersion => "HTTP/1.1 or HTTP/2 is needed",
            Self::SignatureRequired => "this request has to be signed",
            Self::KeyRequired => "this request has to carry a publishable key, or to be signed",
            Self::UnknownPublishable => "the publishable key is not known here",
            Self::Revoked => "the key was revoked",
            Self::Expired => "the key has expired",
            Self::Quarantined => "the key is quarantined: it reads, and does not write",
            Self::ContentTimeout => "the content did not arrive in time",
            Self::ContentBroken => "the content broke off or is malformed",
            Self::SignedTrailer => "signature and digest fields do not belong in trailers",
            Self::TooManyFailures(_) => {
                "too many requests from this address were forged, guessed or malformed"
            }
            Self::RegistryUnavailable => "the key registry cannot be asked",
            Self::ReplayStoreUnavailable => "the replay guard cannot be asked",
            Self::NoClientAddress => "what is asked depends on an address, and none is known",
            Self::NoLayer => "this route is not behind the verifier",
        };
        text.to_owned()
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after(),
            Self::RateLimited(excess) | Self::TooManyFailures(excess) => Some(excess.retry_after),
            Self::RegistryUnavailable | Self::ReplayStoreUnavailable => {
                Some(Duration::from_secs(5))
            }
            _ => None,
        }
    }

    const fn excess(&self) -> Option<&Excess> {
        match self {
            Self::RateLimited(excess) | Self::TooManyFailures(excess) => Some(excess),
            _ => None,
        }
    }
}

/// The whole chain of reasons, since a problem has no `source()`.
fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What an answer to a refused request depends on besides the reason.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) version: Version,
    pub(crate) content: Content,
    pub(crate) now: Timestamp,
    /// What a signature has to prove; written out only for those who are told.
    pub(crate) policy: Option<Arc<Policy>>,
}

impl Circumstances {
    /// For a route that is not behind the layer.
    pub(crate) const fn unknown(version: Version) -> Self {
        let now = Timestamp::from_unix(0);
        Self { version, content: Content::Present, now, policy: None }
    }
}

/// The answer to a refused request, which had these fields: problem details (RFC 9457) with the headers that say what
/// to do.
///
/// The [`Code`] is in the response's extensions, for layers that log or count.
pub(crate) fn answer<B: From<Bytes>>(
    reason: &Reason,
    circumstances: &Circumstances,
    asked: &HeaderMap,
) -> Response<B> {
    let (code, status) = (reason.code(), reason.status());
    let request_id = format!("{:016x}", getrandom::u64().unwrap_or_default());
    match reason {
        // Only the holder of the key can bring this about, so that no stranger fills the log.
        Reason::Revoked
        | Reason::Expired
        | Reason::Quarantined
        | Reason::Rejected(Rejection::Replayed) => tracing::info!(%code, request_id, "refused"),
        Reason::Presented(BadPresented::PrivateKey) => {
            tracing::warn!(request_id, "a private key was sent in the place of a publishable one");
        }
        Reason::NoClientAddress => tracing::error!(
            "a limit by client address or a list of proxies is set and no address is known; serve with `countersign_server::serve`, or add a layer \
             around the verifier that puts a `countersign_store::ClientAddress` into the request's extensions"
        ),
        _ => tracing::debug!(%code, request_id, detail = reason.detail(), "refused"),
    }
    let mut problem = serde_json::json!({
        "type": format!("urn:countersign:problem:{code}"),
        "title": code.title(),
        "status": status.as_u16(),
        "code": code.as_str(),
        "detail": reason.detail(),
        "hint": code.hint(),
        "request_id": request_id,
    });
    if let (Some(excess), Some(problem)) = (reason.excess(), problem.as_object_mut()) {
        problem.insert("violated-policies".into(), vec![excess.level.name()].into());
    }
    let mut response = Response::new(B::from(Bytes::from(problem.to_string())));
    *response.status_mut() = status;
    response.extensions_mut().insert(code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(request_id) = HeaderValue::try_from(request_id) {
        headers.insert(X_REQUEST_ID, request_id);
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §11.6.1 asks for a challenge. RFC 9421 registers no scheme; this name is the customary one.
        let challenge = HeaderValue::from_static("Signature realm=\"countersign\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        let policy = circumstances.policy.as_deref();
        let wanted = policy.map(|policy| policy.accept_signature(asked, circumstances.content));
        let wanted = wanted.and_then(|wanted| wanted.to_header().ok());
        headers.extend(wanted.map(|wanted| (ACCEPT_SIGNATURE, wanted)));
    }
    match code {
        Code::SignatureStale => {
            headers.extend(http_date(circumstances.now).map(|date| (header::DATE, date)));
        }
        Code::DigestUnsupported => {
            let wanted = WantDigest::accepted().to_header().ok();
            headers.extend(wanted.map(|wanted| (WANT_CONTENT_DIGEST, wanted)));
        }
        Code::MethodNotAllowed => {
            let methods = METHODS.map(|method| method.to_string()).join(", ");
            headers.extend(
                HeaderValue::try_from(methods).ok().map(|methods| (header::ALLOW, methods)),
            );
        }
        _ => {}
    }
    if let Some(wait) = reason.retry_after() {
        // Rounded up: who waits less comes too early.
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if let Some(excess) = reason.excess() {
        tell_limits(headers, &excess.to_string(), &excess.level);
    }
    // Content that nobody reads must not be taken for the next request.
    let unread = circumstances.content == Content::Present
        || matches!(
            code,
            Code::BadRequest | Code::HeaderTooLarge | Code::UriTooLong | Code::MethodNotAllowed
        );
    if unread && circumstances.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Tells how much is left of a limit (draft-ietf-httpapi-ratelimit-headers-10), unless that was told already.
pub(crate) fn tell_level(headers: &mut HeaderMap, level: &Level) {
    if !headers.contains_key(RATE_LIMIT) && !headers.contains_key(RATE_LIMIT_POLICY) {
        tell_limits(headers, &level.to_string(), level);
    }
}

fn tell_limits(headers: &mut HeaderMap, rate_limit: &str, level: &Level) {
    let values = (HeaderValue::try_from(rate_limit), HeaderValue::try_from(level.policy()));
    if let (Ok(rate_limit), Ok(policy)) = values {
        headers.insert(RATE_LIMIT, rate_limit);
        headers.insert(RATE_LIMIT_POLICY, policy);
    }
}

/// RFC 9110 §5.6.7.
fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(at.unix()).ok()?).ok()?;
    HeaderValue::try_from(at.format(&format).ok()?).ok()
}
