pub(crate) mod forbidden;
pub(crate) mod reason;
pub(crate) mod unaccepted;
#[cfg(feature = "axum")]
pub(crate) mod unchanged;
pub(crate) mod unsignable;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use countersign::{Code, Content, Policy, Problem, REFUSAL, RefusedRequest, Timestamp};
use countersign_store::QuotaLeft;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};

use self::reason::{Reason, Refused};
use crate::telemetry;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The response to a refused request, before it is sent: problem details (RFC 9457) with fields that tell the caller how to fix
/// the request.
///
/// [`Verifier::on_refusal`](crate::Verifier::on_refusal) can change the header fields and the content.
///
/// ```
/// use countersign_server::Verifier;
/// use countersign_test::{guard, keys, origins};
/// use http::{HeaderValue, header::CONTENT_TYPE};
///
/// // Other content for refusals; `Countersign-Refusal` still has the code.
/// let verifier = Verifier::new(origins(), keys(), guard()).on_refusal(|mut refusal| {
///     refusal.content = format!("refused: {}\n", refusal.code()).into();
///     refusal.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
///     refusal
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    code: Code,
    status: StatusCode,
    request_id: Box<str>,
    /// The header fields of the response.
    pub headers: HeaderMap,
    /// The content of the response, `application/problem+json`.
    pub content: Bytes,
}

impl Refusal {
    /// Returns the stable name of the reason.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Returns the status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the name of this response in the server's log.
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

/// The parts of a verifier's refusals that do not depend on the reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusalSettings {
    /// The requirements on signatures. Written out only in refusals that ask for a signature.
    pub(crate) policy: Policy,
    pub(crate) hook: Option<Hook>,
}

/// The verifier that checked a request, as its refusals need it.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// The time that the verifier used for its checks.
    pub(crate) now: Timestamp,
    pub(crate) settings: Arc<RefusalSettings>,
}

/// The facts beside the reason that shape the response to a refused request.
pub(crate) struct Circumstances<'r> {
    pub(crate) method: &'r Method,
    pub(crate) version: Version,
    /// The request's header fields, if still known.
    pub(crate) headers: Option<&'r HeaderMap>,
    pub(crate) content: Content,
    /// The verifier, if the request reached one.
    pub(crate) judge: Option<&'r Judge>,
}

impl<'r> Circumstances<'r> {
    /// Returns the circumstances of a request that reached no verifier.
    pub(crate) const fn unknown(method: &'r Method, version: Version) -> Self {
        Self { method, version, headers: None, content: Content::Present, judge: None }
    }
}

/// Makes the response to a refused request.
///
/// The [`Code`] is in the response's extensions, for layers that log or count.
pub(crate) fn respond<B: From<Bytes>>(
    refused: &Refused,
    circumstances: &Circumstances<'_>,
) -> Response<B> {
    let mut refusal = Refusal::new(refused, circumstances);
    log(&refused.reason, &refusal);
    let (code, status) = (refusal.code, refusal.status);
    if let Some(Hook(change)) = circumstances.judge.and_then(|judge| judge.settings.hook.as_ref()) {
        refusal = change(refusal);
    }
    let Refusal { mut headers, mut content, .. } = refusal;
    if *circumstances.method == Method::HEAD {
        // Not every server removes the content by itself.
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| content.len().into());
        content = Bytes::new();
    }
    headers.insert(REFUSAL, HeaderValue::from_static(code.as_str()));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // The connection must not continue with unread content, which could pass for the next request.
    let unread = circumstances.content == Content::Present
        || matches!(
            code,
            Code::BadRequest | Code::HeaderTooLarge | Code::UriTooLong | Code::MethodNotAllowed
        );
    if unread && circumstances.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = Response::new(B::from(content));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(code);
    response.extensions_mut().insert(Ours(code));
    response
}

/// Marks the response to a request that this crate refused. Kept in the response's extensions.
#[derive(Clone, Copy)]
struct Ours(Code);

/// Returns the code of a response, if it is a refusal of this crate.
pub(crate) fn code_of<B>(response: &Response<B>) -> Option<Code> {
    response.extensions().get::<Ours>().map(|Ours(code)| *code)
}

/// Removes the field by which clients recognise a refusal, if the response is not a refusal of this crate. The service inside can
/// be a proxy, and a refusal of its upstream says nothing about this server.
pub(crate) fn unmark_others<B>(response: &mut Response<B>) {
    let ours = code_of(response);
    let headers = response.headers_mut();
    match ours {
        // Restored even if a layer in between changed the field.
        Some(code) => drop(headers.insert(REFUSAL, HeaderValue::from_static(code.as_str()))),
        None => drop(headers.remove(REFUSAL)),
    }
}

/// Logs refusals at `debug`, so that strangers cannot fill the log; metrics count all of them. Logs mistakes of the service as
/// errors.
fn log(reason: &Reason, refusal: &Refusal) {
    let Refusal { code, request_id, .. } = refusal;
    match reason {
        Reason::ContentUnread => tracing::error!(
            request_id,
            "a handler of a streamed route responded with success and had not read the content to its end; read it until there is no more, or \
             declare the route without `streamed`"
        ),
        Reason::Unsignable(reason) => tracing::error!(
            request_id,
            %reason,
            "a response could not be signed, and was replaced; make it smaller or raise `SignResponses::content_limit`, or take its route \
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

/// Logs why a response was broken off after it had begun.
pub(crate) fn log_broken_off(reason: &Reason) {
    let code = reason.code();
    telemetry::count_failed_stream(code);
    match reason {
        Reason::ContentUnread => tracing::error!(
            "a handler of a streamed route responded with success and had not read the content to its end, so its response was broken off; \
             read it until there is no more, or declare the route without `streamed`"
        ),
        _ => tracing::debug!(%code, detail = reason.detail(), "a response was broken off"),
    }
}

impl Refusal {
    fn new(refused: &Refused, circumstances: &Circumstances<'_>) -> Self {
        let Refused { reason, signature_base } = refused;
        let request_id = format!("{:016x}", getrandom::u64().unwrap_or_default());
        let unknown = HeaderMap::new();
        let request = RefusedRequest {
            method: circumstances.method,
            headers: circumstances.headers.unwrap_or(&unknown),
            content: circumstances.content,
            policy: circumstances.judge.map(|judge| &judge.settings.policy),
            now: circumstances.judge.map(|judge| judge.now),
            request_id: &request_id,
        };
        let violated = reason.excess().map(|excess| excess.left.name());
        let problem = Problem {
            code: reason.code(),
            status: reason.status(),
            detail: reason.detail().into(),
            hint: reason.hint(),
            retry_after: reason.retry_after(),
            violated_policy: violated.as_deref(),
            signature_base: signature_base.as_deref(),
        };
        let (head, content) = problem.to_response(&request).into_parts();
        let mut headers = head.headers;
        #[cfg(feature = "oauth")]
        if let Reason::Token(token) = reason {
            let challenge = token.challenge().and_then(|challenge| challenge.try_into().ok());
            if let Some(challenge) = challenge {
                headers.append(header::WWW_AUTHENTICATE, challenge);
            }
        }
        if let Some(excess) = reason.excess() {
            add_rate_limit(&mut headers, &excess.to_string(), &excess.left);
        }
        let (code, status, content) = (problem.code, head.status, content.into());
        Self { code, status, request_id: request_id.into(), headers, content }
    }
}

/// Adds the remaining quota (draft-ietf-httpapi-ratelimit-headers-10), unless the response already has these fields.
pub(crate) fn add_quota_left(headers: &mut HeaderMap, left: &QuotaLeft) {
    if !headers.contains_key(RATE_LIMIT) && !headers.contains_key(RATE_LIMIT_POLICY) {
        add_rate_limit(headers, &left.to_string(), left);
    }
}

fn add_rate_limit(headers: &mut HeaderMap, rate_limit: &str, left: &QuotaLeft) {
    let values = (HeaderValue::try_from(rate_limit), HeaderValue::try_from(left.policy()));
    if let (Ok(rate_limit), Ok(policy)) = values {
        headers.insert(RATE_LIMIT, rate_limit);
        headers.insert(RATE_LIMIT_POLICY, policy);
    }
}
