use http::{HeaderMap, Method, Response};

use crate::{
    content::Content, policy::Policy, problem::Problem, rejection::Rejection, timestamp::Timestamp,
};

/// The facts on which the response to a refused request depends, beside its reason.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'m> {
    /// The request's method.
    pub method: &'m Method,
    /// The request's header fields.
    pub headers: &'m HeaderMap,
    /// Whether it has content.
    pub content: Content,
    /// What a signature has to prove, for `Accept-Signature`.
    pub policy: &'m Policy,
    /// The time by which the request was judged, for `Date`.
    pub now: Timestamp,
    /// A name for this refusal, to find it in your log: printable ASCII.
    pub request_id: &'m str,
}

impl Rejection {
    /// The response to a request that was rejected, for servers that use this crate alone (serverless functions, other
    /// frameworks): problem details (RFC 9457) as JSON, and the fields that say what to do. The server crate answers with
    /// the same.
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
        let problem = Problem {
            code: self.code(),
            status: self.code().status(),
            detail: detail(self).into(),
            hint: self.hint().into(),
            retry_after: self.retry_after(),
            violated_policy: None,
            signature_base: None,
        };
        problem.to_response(request)
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

    use http::{HeaderName, header};

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
