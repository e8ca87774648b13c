use std::time::Duration;

use bytes::Bytes;
use countersign::REFUSAL;
use http::{HeaderName, HeaderValue, Response, header};
use serde_json::json;

use crate::service_code::ServiceCode;

/// Why a request is not served that the verifier has not refused: problem details (RFC 9457) in the form of a refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) code: ServiceCode,
    pub(crate) detail: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) retry_after: Option<Duration>,
}

impl Problem {
    /// Makes the response. Its id is also in the log, and its code in its extensions.
    pub(crate) fn to_response(self) -> Response<Bytes> {
        let Self { code, detail, hint, retry_after } = self;
        let status = code.status();
        let request_id = request_id();
        match status.is_server_error() {
            true => tracing::warn!(%code, request_id, "a request was not served"),
            false => tracing::debug!(%code, request_id, "a request was not served"),
        }
        let problem = json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": code.title(),
            "status": status.as_u16(),
            "code": code.as_str(),
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
        response.extensions_mut().insert(code);
        mark(&mut response);
        response
    }
}

/// Makes the name of a response in the log.
pub(crate) fn request_id() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_default())
}

/// Names the code of a problem in `Countersign-Refusal`, which a verifier takes from all responses but its own.
pub(crate) fn mark<B>(response: &mut Response<B>) {
    if let Some(code) = response.extensions().get::<ServiceCode>().copied() {
        response.headers_mut().insert(REFUSAL, HeaderValue::from_static(code.as_str()));
    }
}
