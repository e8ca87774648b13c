use std::{fmt, time::Duration};

use countersign::{Code, Timestamp, UnknownCode};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::{
    clock_drift::{ClockDrift, SignedAt},
    explanation::{Explanation, SignedBase},
    quota_left::QuotaLeft,
    reread::{Reread, take_apart},
};

/// How many bytes of a response are read in search of problem details, which may hold a signature base.
const MOST: usize = 64 * 1024;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal by a Countersign server.
///
/// The client knows it by the field `Countersign-Refusal`, whatever status and content the service gives its refusals
/// (`Verifier::on_refusal`). Without the field, problem details (RFC 9457) with a known code and a status from 400 on are
/// a refusal, as older servers send them.
///
/// ```no_run
/// use countersign::Code;
/// use countersign_client::{Client, Error, Refusal};
///
/// # async fn call(client: Client) -> Result<(), Error> {
/// let response = client.post("https://api.example.com/v1/orders").body("{}").send().await?;
/// match Refusal::check(response).await {
///     Ok(response) => println!("accepted: {}", response.status()),
///     Err(refusal) if refusal.code == Code::KeyForbidden => println!("ask for a scope"),
///     Err(refusal) => return Err(refusal.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}; {}{}{}", printable(detail), printable(hint), drifted(*clock_drift), explained(explanation.as_ref()))]
#[non_exhaustive]
pub struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// Why, as a stable code.
    pub code: Code,
    /// The fault of this request. Without problem details in the response, the meaning of the code.
    pub detail: String,
    /// The remedy. Without problem details in the response, the advice of the code.
    pub hint: String,
    /// The request's id in the server's log; empty if the response does not tell it.
    pub request_id: String,
    /// How long to wait before signing and sending again, from `Retry-After`. `None` if waiting does not help.
    pub retry_after: Option<Duration>,
    /// The names of the exceeded quotas, in a `rate-limited` refusal.
    pub violated_policies: Vec<String>,
    /// The remainder of the quota that is nearest to its end, if the response tells it.
    pub quota_left: Option<QuotaLeft>,
    /// The first difference between the signed request and the received one. Present if the server is in explain mode and
    /// the response is from [`RequestBuilder::send`](crate::RequestBuilder::send).
    pub explanation: Option<Explanation>,
    /// How far the clock here is off, in a `signature-stale` refusal without `Retry-After`. Present if the response has a
    /// `Date` and is from [`RequestBuilder::send`](crate::RequestBuilder::send).
    pub clock_drift: Option<ClockDrift>,
    /// All fields of the response, such as `Accept-Signature`, `WWW-Authenticate` and `Allow`.
    pub headers: HeaderMap,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    request_id: String,
    #[serde(default, rename = "violated-policies")]
    violated_policies: Vec<String>,
    signature_base: Option<String>,
}

impl Refusal {
    /// Gives a response back as it is, unless it is a refusal.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn check(response: reqwest::Response) -> Result<reqwest::Response, Self> {
        let signed_at = response.extensions().get().map(|&SignedAt(time)| time);
        match peek(response).await {
            (Some(refusal), _) => Err(refusal.signed_at(signed_at)),
            (None, response) => Ok(response),
        }
    }

    /// The refusal in the head of a response, by its field `Countersign-Refusal`. It reads no content: for services whose
    /// refusals have content of their own.
    pub fn of_head(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let code = Code::of_refusal(headers)?.ok()?;
        Some(Self::new(status, headers, code))
    }

    fn new(status: StatusCode, headers: &HeaderMap, code: Code) -> Self {
        let request_id = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
        Self {
            status,
            code,
            detail: code.title().to_owned(),
            hint: code.hint().to_owned(),
            request_id: request_id.unwrap_or_default().to_owned(),
            retry_after: retry_after(headers),
            violated_policies: Vec::new(),
            quota_left: QuotaLeft::of(headers),
            explanation: None,
            clock_drift: None,
            headers: headers.clone(),
        }
    }

    /// Adds how far the clock is off that the request was signed by.
    fn signed_at(self, local: Option<Timestamp>) -> Self {
        if self.code != Code::SignatureStale || self.headers.contains_key(header::RETRY_AFTER) {
            return self;
        }
        let clock_drift = local.and_then(|local| ClockDrift::of(&self.headers, local));
        Self { clock_drift, ..self }
    }

    /// Adds the problem details.
    fn detailed(self, problem: Problem, signed: Option<&SignedBase>) -> Self {
        let Problem { detail, hint, request_id, violated_policies, signature_base, .. } = problem;
        let explanation = signed.zip(signature_base).map(|(signed, seen)| signed.explain(&seen));
        let request_id = if request_id.is_empty() { self.request_id } else { request_id };
        Self { detail, hint, request_id, violated_policies, explanation, ..self }
    }
}

/// RFC 9110 §10.2.3. A date counts from the response's own `Date`, so that no clock here has to be right.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?;
    let text = value.to_str().ok()?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = Timestamp::from_http_date(headers.get(header::DATE)?)?;
    Timestamp::from_http_date(value)?.since(date)
}

/// Without the values of fields: a refusal ends up in logs, and cookies do not belong there.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("detail", &self.detail)
            .field("hint", &self.hint)
            .field("request_id", &self.request_id)
            .field("retry_after", &self.retry_after)
            .field("violated_policies", &self.violated_policies)
            .field("quota_left", &self.quota_left)
            .field("explanation", &self.explanation)
            .field("clock_drift", &self.clock_drift)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn drifted(drift: Option<ClockDrift>) -> String {
    drift.map_or_else(String::new, |drift| format!("; {drift}"))
}

fn explained(explanation: Option<&Explanation>) -> String {
    explanation.map_or_else(String::new, |explanation| format!("; {explanation}"))
}

/// A server's text as one plain line for a terminal, without control characters and changes of direction.
fn printable(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().filter(|&character| !steers(character)).collect()
}

/// Looks for a refusal, and gives the response back whole.
pub(crate) async fn peek(response: reqwest::Response) -> (Option<Refusal>, reqwest::Response) {
    let status = response.status();
    let named = Code::of_refusal(response.headers());
    let failed = status.is_client_error() || status.is_server_error();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(is_problem);
    let of_head = Refusal::of_head(status, response.headers());
    if !is_problem || named == Some(Err(UnknownCode)) || (named.is_none() && !failed) {
        return (of_head, response);
    }
    let (head, body) = take_apart(response);
    let body = Reread::begin(body, MOST).await;
    let refusal = body.content().and_then(|content| {
        let problem: Problem = serde_json::from_slice(&content).ok()?;
        let code = problem.code.parse().ok()?;
        // Content with another code than the field is not the server's.
        let refusal = match &of_head {
            Some(refusal) => Some(refusal.clone()).filter(|refusal| refusal.code == code)?,
            None => Refusal::new(status, &head.headers, code),
        };
        Some(refusal.detailed(problem, head.extensions.get()))
    });
    let response = http::Response::from_parts(head, reqwest::Body::wrap(body)).into();
    (refusal.or(of_head), response)
}

fn is_problem(content_type: &HeaderValue) -> bool {
    // A media type is in any case, and may have parameters (RFC 9110 §8.3.1).
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/problem+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn how_long_to_wait_is_read_in_both_its_forms() {
        let date = "Sun, 23 Nov 2025 12:13:20 GMT";
        let table = [
            ("10", Some(10)),
            ("0", Some(0)),
            ("Sun, 23 Nov 2025 12:14:20 GMT", Some(60)),
            ("Sunday, 23-Nov-25 12:14:20 GMT", Some(60)),
            ("Sun Nov 23 12:14:20 2025", Some(60)),
            ("Sun, 23 Nov 2025 12:13:19 GMT", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
            ("99999999999999999999999", None),
            ("soon", None),
        ];
        for (value, seconds) in table {
            let headers = headers(&[(header::RETRY_AFTER, value), (header::DATE, date)]);
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{value}");
        }
        let undated = headers(&[(header::RETRY_AFTER, date)]);
        assert_eq!(retry_after(&undated), None);
    }
}
