use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use crate::{
    accept_signature::ACCEPT_SIGNATURE,
    code::{Code, REFUSAL},
    policy::{Content, Policy},
    rejection::Rejection,
    timestamp::Timestamp,
    want_digest::{WANT_CONTENT_DIGEST, WantDigest},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The facts on which the response to a refused request depends, beside its reason.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'m> {
    /// The request's method.
    pub method: &'m Method,
    /// The request's header fields.
    pub headers: &'m HeaderMap,
    /// Whether it has content.
    pub content: Content,
    /// The policy, for `Accept-Signature`.
    pub policy: &'m Policy,
    /// The time at which the request was checked, for `Date`.
    pub now: Timestamp,
    /// A name for this refusal, to find it in your log: printable ASCII.
    pub request_id: &'m str,
}

impl Rejection {
    /// The response to a rejected request, for servers that use this crate alone (serverless functions, other
    /// frameworks): problem details (RFC 9457) as JSON, and the header fields with the remedy. The server crate responds
    /// in the same way.
    ///
    /// Its content is whole; frame it as your server does. Over HTTP/1.1 close the connection if you have not read the
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
    ///     policy: &policy,
    ///     now,
    ///     request_id: "5d1f0c7e8a9b3c24",
    /// });
    /// assert_eq!(response.status(), 401);
    /// assert!(response.headers().contains_key("accept-signature"));
    /// ```
    pub fn to_response(&self, request: &RefusedRequest<'_>) -> Response<Vec<u8>> {
        let code = self.code();
        let status = code.status();
        let problem = json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": code.title(),
            "status": status.as_u16(),
            "code": code.as_str(),
            "detail": detail(self),
            "hint": self.hint(),
            "request_id": request.request_id,
        });
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
            let challenge = HeaderValue::from_static("Signature realm=\"countersign\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
            let RefusedRequest { method, headers: asked, content, policy, .. } = request;
            let wanted = policy.accept_signature(method, asked, *content).to_header().ok();
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
            _ => {}
        }
        if let Some(wait) = self.retry_after() {
            // Rounded up: an earlier retry is refused again.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// The whole chain of reasons, since a problem has no `source()`.
fn detail(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
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
                policy: &policy,
                now,
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
