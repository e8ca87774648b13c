use std::{fmt, sync::Arc};

use bytes::Bytes;
use countersign::{
    ACCEPT_SIGNATURE, Code, Content, Policy, REFUSAL, Timestamp, WANT_CONTENT_DIGEST, WantDigest,
};
use countersign_store::QuotaLeft;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    reason::{Reason, Refused},
    telemetry,
};

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

/// The answer to a refused request, on its way out: problem details (RFC 9457) with the headers that say what to do.
///
/// [`Verifier::on_refusal`](crate::Verifier::on_refusal) can change its headers and its content; it stays a refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: Code,
    status: StatusCode,
    request_id: Box<str>,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its content, `application/problem+json`.
    pub content: Bytes,
}

impl Refusal {
    /// The stable name of its reason.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Its status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What names this answer in our logs.
    pub const fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// Changes refusals before they are sent.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(Refusal) -> Refusal + Send + Sync>);

impl Hook {
    pub(crate) fn new(change: impl Fn(Refusal) -> Refusal + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

/// What an answer to a refused request depends on besides the reason.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) content: Content,
    pub(crate) now: Timestamp,
    /// What a signature has to prove; written out only for those who are told.
    pub(crate) policy: Option<Arc<Policy>>,
    pub(crate) hook: Option<Hook>,
}

impl Circumstances {
    /// Where no verifier has looked at the request, as on a route that is not behind one.
    pub(crate) const fn unknown(version: Version) -> Self {
        let (method, now) = (Method::GET, Timestamp::from_unix(0));
        Self { method, version, content: Content::Present, now, policy: None, hook: None }
    }
}

/// The answer to a refused request, which had these fields.
///
/// The [`Code`] is in the response's extensions, for layers that log or count.
pub(crate) fn answer<B: From<Bytes>>(
    refused: &Refused,
    circumstances: &Circumstances,
    asked: &HeaderMap,
) -> Response<B> {
    let mut refusal = Refusal::new(refused, circumstances, asked);
    tell(&refused.reason, &refusal);
    let (code, status) = (refusal.code, refusal.status);
    if let Some(Hook(change)) = &circumstances.hook {
        refusal = change(refusal);
    }
    let mut response = Response::new(B::from(refusal.content));
    *response.status_mut() = status;
    response.extensions_mut().insert(code);
    let mut headers = refusal.headers;
    // A client knows a refusal by it, also where the content is the operator's own.
    headers.insert(REFUSAL, HeaderValue::from_static(code.as_str()));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // Content that nobody reads must not be taken for the next request.
    let unread = circumstances.content == Content::Present
        || matches!(
            code,
            Code::BadRequest | Code::HeaderTooLarge | Code::UriTooLong | Code::MethodNotAllowed
        );
    if unread && circumstances.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *response.headers_mut() = headers;
    response
}

/// No stranger fills the log: what they can bring about is told to those who look for it, and counted for the rest.
fn tell(reason: &Reason, refusal: &Refusal) {
    let Refusal { code, request_id, .. } = refusal;
    match reason {
        Reason::ContentUnread => tracing::error!(
            request_id,
            "a handler of a streamed route answered well and had not read the content to its end; read it until there is no more, or \
             declare the route without `streamed`"
        ),
        Reason::Unsignable(reason) => tracing::error!(
            request_id,
            %reason,
            "an answer could not be signed, and was replaced; make it smaller or raise `SignResponses::content_limit`, or take its route \
             out from behind `SignResponses`"
        ),
        #[cfg(all(feature = "oauth", feature = "axum"))]
        Reason::NoTokenLayer => tracing::error!(
            request_id,
            "a handler takes `Bearer` and its route has no `RequireBearer`; add it with `route_layer`"
        ),
        _ => tracing::debug!(%code, request_id, detail = reason.for_log(), "refused"),
    }
}

/// Says of a response that had begun why it was broken off.
pub(crate) fn tell_broken_off(reason: &Reason) {
    let code = reason.code();
    telemetry::count_failed_stream(code);
    match reason {
        Reason::ContentUnread => tracing::error!(
            "a handler of a streamed route answered well and had not read the content to its end, so its response was broken off; \
             read it until there is no more, or declare the route without `streamed`"
        ),
        _ => tracing::debug!(%code, detail = reason.detail(), "a response was broken off"),
    }
}

impl Refusal {
    fn new(refused: &Refused, circumstances: &Circumstances, asked: &HeaderMap) -> Self {
        let Refused { reason, signature_base } = refused;
        let (code, status) = (reason.code(), reason.status());
        let request_id = format!("{:016x}", getrandom::u64().unwrap_or_default());
        let mut problem = serde_json::json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": code.title(),
            "status": status.as_u16(),
            "code": code.as_str(),
            "detail": reason.detail(),
            "hint": reason.hint(),
            "request_id": request_id,
        });
        if let Some(problem) = problem.as_object_mut() {
            if let Some(excess) = reason.excess() {
                problem.insert("violated-policies".into(), vec![excess.left.name()].into());
            }
            if let Some(base) = signature_base {
                problem.insert("signature_base".into(), (&**base).into());
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(request_id) = HeaderValue::try_from(&request_id) {
            headers.insert(X_REQUEST_ID, request_id);
        }
        tell_what_to_do(&mut headers, reason, circumstances, asked);
        let content = Bytes::from(problem.to_string());
        Self { code, status, request_id: request_id.into(), headers, content }
    }
}

fn tell_what_to_do(
    headers: &mut HeaderMap,
    reason: &Reason,
    circumstances: &Circumstances,
    asked: &HeaderMap,
) {
    if reason.status() == StatusCode::UNAUTHORIZED {
        // RFC 9110 §11.6.1 asks for a challenge. RFC 9421 registers no scheme; this name is the customary one.
        let challenge = HeaderValue::from_static("Signature realm=\"countersign\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        let policy = circumstances.policy.as_deref();
        let Circumstances { method, content, .. } = circumstances;
        let wanted = policy.map(|policy| policy.accept_signature(method, asked, *content));
        let wanted = wanted.and_then(|wanted| wanted.to_header().ok());
        headers.extend(wanted.map(|wanted| (ACCEPT_SIGNATURE, wanted)));
    }
    #[cfg(feature = "oauth")]
    if let Reason::Token(token) = reason {
        let challenge = token.challenge().and_then(|challenge| challenge.try_into().ok());
        if let Some(challenge) = challenge {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
    }
    match reason.code() {
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
        tell_limits(headers, &excess.to_string(), &excess.left);
    }
}

/// Tells how much is left of a limit (draft-ietf-httpapi-ratelimit-headers-10), unless that was told already.
pub(crate) fn tell_level(headers: &mut HeaderMap, level: &QuotaLeft) {
    if !headers.contains_key(RATE_LIMIT) && !headers.contains_key(RATE_LIMIT_POLICY) {
        tell_limits(headers, &level.to_string(), level);
    }
}

fn tell_limits(headers: &mut HeaderMap, rate_limit: &str, level: &QuotaLeft) {
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
