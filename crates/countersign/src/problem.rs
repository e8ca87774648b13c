use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{
    accept_signature::ACCEPT_SIGNATURE,
    code::Code,
    field_name::REFUSAL,
    refused_request::RefusedRequest,
    served::METHODS,
    want_digest::{WANT_CONTENT_DIGEST, WantDigest},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the response to a refused request says, for servers that refuse for reasons of their own beside a
/// [`Rejection`](crate::Rejection): all refusals then have the same form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<'p> {
    /// The stable name of the reason.
    pub code: Code,
    /// The status, usually that of the code.
    pub status: StatusCode,
    /// What is wrong with this request.
    pub detail: Cow<'p, str>,
    /// What the caller can do about it.
    pub hint: Cow<'p, str>,
    /// When a retry can succeed.
    pub retry_after: Option<Duration>,
    /// The name of the quota that is used up.
    pub violated_policy: Option<&'p str>,
    /// The signature base as the server rebuilt it.
    pub signature_base: Option<&'p str>,
}

impl Problem<'_> {
    /// The response: problem details (RFC 9457) as JSON, and the header fields that say what to do.
    pub fn to_response(&self, request: &RefusedRequest<'_>) -> Response<Vec<u8>> {
        let Self { code, status, .. } = *self;
        let mut problem = json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": code.title(),
            "status": status.as_u16(),
            "code": code.as_str(),
            "detail": self.detail,
            "hint": self.hint,
            "request_id": request.request_id,
        });
        if let Some(problem) = problem.as_object_mut() {
            if let Some(name) = self.violated_policy {
                problem.insert("violated-policies".into(), vec![name].into());
            }
            if let Some(base) = self.signature_base {
                problem.insert("signature_base".into(), base.into());
            }
        }
        let mut response = Response::new(problem.to_string().into_bytes());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(REFUSAL, HeaderValue::from_static(code.as_str()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(request_id) = HeaderValue::try_from(request.request_id) {
            headers.insert(X_REQUEST_ID, request_id);
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1 asks for a challenge. RFC 9421 registers no scheme; this name is the customary one.
            let challenge = HeaderValue::from_static("Signature realm=\"countersign\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
            let RefusedRequest { method, headers: sent, content, policy, .. } = request;
            let wanted = policy.accept_signature(method, sent, *content).to_header().ok();
            headers.extend(wanted.map(|wanted| (ACCEPT_SIGNATURE, wanted)));
        }
        match code {
            Code::SignatureStale => {
                headers.extend(request.now.http_date().map(|date| (header::DATE, date)));
            }
            Code::DigestUnsupported => {
                let wanted = WantDigest::accepted().to_header().ok();
                headers.extend(wanted.map(|wanted| (WANT_CONTENT_DIGEST, wanted)));
            }
            Code::MethodNotAllowed => {
                let methods = METHODS.map(|method| method.to_string()).join(", ");
                let methods = HeaderValue::try_from(methods).ok();
                headers.extend(methods.map(|methods| (header::ALLOW, methods)));
            }
            _ => {}
        }
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that waits less comes too early.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
