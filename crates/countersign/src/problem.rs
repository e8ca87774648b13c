use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use crate::{
    accept_signature::ACCEPT_SIGNATURE,
    code::Code,
    content::Content,
    field_name::REFUSAL,
    policy::Policy,
    reasons::with_reasons,
    rejection::Rejection,
    served::METHODS,
    timestamp::Timestamp,
    want_digest::{WANT_CONTENT_DIGEST, WantDigest},
    whole_seconds::whole_seconds,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The content of the response to a refused request, for servers with reasons of their own beside a [`Rejection`]: all
/// refusals then have the same form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<'p> {
    /// The stable name of the reason.
    pub code: Code,
    /// The status, usually that of the code.
    pub status: StatusCode,
    /// The fault of this request.
    pub detail: Cow<'p, str>,
    /// The remedy for the caller.
    pub hint: Cow<'p, str>,
    /// The time after which a retry can succeed.
    pub retry_after: Option<Duration>,
    /// The name of the quota that is used up.
    pub violated_policy: Option<&'p str>,
    /// The signature base as the server rebuilt it.
    pub signature_base: Option<&'p str>,
}

/// The facts beside the reason that shape the response to a refused request.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'m> {
    /// The request's method.
    pub method: &'m Method,
    /// The request's header fields.
    pub headers: &'m HeaderMap,
    /// Whether the request has content.
    pub content: Content,
    /// The requirements on signatures, which a response with 401 states in `Accept-Signature`. `None` for a request that
    /// reached no policy: its response asks for no signature.
    pub policy: Option<&'m Policy>,
    /// The time of the checks, which the response to a stale signature states in `Date`. `None` for a request that was not
    /// checked.
    pub now: Option<Timestamp>,
    /// The name of this refusal in your log: printable ASCII.
    pub request_id: &'m str,
}

impl Problem<'_> {
    /// Makes the response: problem details (RFC 9457) as JSON, with header fields such as `Accept-Signature` and
    /// `Retry-After`.
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
            let wanted = policy.and_then(|policy| {
                policy.accept_signature(method, sent, *content).to_header().ok()
            });
            headers.extend(wanted.map(|wanted| (ACCEPT_SIGNATURE, wanted)));
        }
        match code {
            Code::SignatureStale => {
                headers.extend(
                    request.now.and_then(Timestamp::http_date).map(|date| (header::DATE, date)),
                );
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
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
        }
        response
    }
}

impl Rejection {
    /// Makes the response to a rejected request, for servers that use this crate alone (serverless functions, other
    /// frameworks): problem details (RFC 9457) as JSON, with header fields such as `Accept-Signature`. The server crate
    /// sends the same response.
    ///
    /// The content is complete; frame it as your server does. Over HTTP/1.1 close the connection if you have not read the
    /// request's content.
    ///
    /// ```
    /// # use countersign::{Content, Policy, RefusedRequest, Rejection, Timestamp};
    /// # use http::{HeaderMap, Method};
    /// # let (method, headers, policy) = (Method::POST, HeaderMap::new(), Policy::default());
    /// # let now = Timestamp::from_unix(1_763_900_000);
    /// # let rejection = Rejection::Required;
    /// let response = rejection.to_response(&RefusedRequest {
    ///     method: &method,
    ///     headers: &headers,
    ///     content: Content::Absent,
    ///     policy: Some(&policy),
    ///     now: Some(now),
    ///     request_id: "5d1f0c7e8a9b3c24",
    /// });
    /// assert_eq!(response.status(), 401);
    /// assert!(response.headers().contains_key("accept-signature"));
    /// ```
    pub fn to_response(&self, request: &RefusedRequest<'_>) -> Response<Vec<u8>> {
        let problem = Problem {
            code: self.code(),
            status: self.code().status(),
            detail: with_reasons(self).into(),
            hint: self.hint().into(),
            retry_after: self.retry_after(),
            violated_policy: None,
            signature_base: None,
        };
        problem.to_response(request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{digest::BadDigest, malformed::Malformed, origin::Misdirected, rejection::Stale};

    #[test]
    fn a_response_says_what_is_wrong_and_what_to_do() {
        let (method, policy, now) =
            (Method::GET, Policy::default(), Timestamp::from_unix(1_763_900_000));
        let asked = HeaderMap::new();
        let respond = |rejection: Rejection| {
            rejection.to_response(&RefusedRequest {
                method: &method,
                headers: &asked,
                content: Content::Absent,
                policy: Some(&policy),
                now: Some(now),
                request_id: "5d1f0c7e8a9b3c24",
            })
        };
        let retry_after = Duration::from_millis(1_500);
        let table = [
            (Rejection::Required, 401, &["www-authenticate", "accept-signature"][..]),
            (Rejection::Invalid, 401, &["www-authenticate", "accept-signature"]),
            (
                Stale::BelowMark { retry_after }.into(),
                401,
                &["www-authenticate", "accept-signature", "date", "retry-after"],
            ),
            (Rejection::ShareUsedUp { retry_after }, 429, &["retry-after"]),
            (BadDigest::Unsupported.into(), 400, &["want-content-digest"]),
            (Malformed::Nonce.into(), 400, &[]),
            (Misdirected::NotOurs.into(), 421, &[]),
        ];
        for (rejection, status, names) in table {
            let response = respond(rejection.clone());
            assert_eq!(response.status().as_u16(), status, "{rejection}");
            let fixed = ["content-type", "cache-control", "countersign-refusal", "x-request-id"];
            let mut expected: Vec<_> = fixed.iter().chain(names).copied().collect();
            let mut found: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{rejection}");
            assert_eq!(response.headers()["countersign-refusal"], rejection.code().as_str());
            let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(problem["code"], rejection.code().as_str());
            assert_eq!(problem["hint"], rejection.hint());
            assert!(problem["detail"].as_str().unwrap().starts_with(&rejection.to_string()));
        }
        let response = respond(Rejection::ShareUsedUp { retry_after });
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
