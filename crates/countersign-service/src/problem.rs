use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// Why a request is not served that the verifier has not refused: problem details (RFC 9457) in the form of a refusal. It is none,
/// so it has no `Countersign-Refusal`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) detail: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) retry_after: Option<Duration>,
}

impl Problem {
    /// Makes the response. Its id is also in the log.
    pub(crate) fn to_response(self) -> Response<Bytes> {
        let Self { code, status, title, detail, hint, retry_after } = self;
        let request_id = format!("{:016x}", getrandom::u64().unwrap_or_default());
        match status.is_server_error() {
            true => tracing::warn!(code, request_id, "a request was not served"),
            false => tracing::debug!(code, request_id, "a request was not served"),
        }
        let problem = json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
            "hint": hint,
            "request_id": request_id,
        });
        let mut response = Response::new(Bytes::from(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        let wait = retry_after.map(|wait| HeaderValue::from(wait.as_secs().max(1)));
        headers.extend(wait.map(|wait| (header::RETRY_AFTER, wait)));
        response
    }
}
