use countersign::Code;
use http::{HeaderValue, header};
use serde::Deserialize;

use crate::{
    Explanation,
    explanation::SignedBase,
    reread::{Reread, take_apart},
};

/// How much of an answer is read in search of problem details, which may hold a signature base.
const MOST: usize = 64 * 1024;

/// A refusal by a Countersign server: its problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}; {}{}", printable(detail), printable(hint), explained(explanation.as_ref()))]
#[non_exhaustive]
pub struct Refusal {
    /// Why, as a stable code.
    pub code: Code,
    /// What is wrong with this request.
    pub detail: String,
    /// What can be done about it.
    pub hint: String,
    /// What the server's log calls this request.
    pub request_id: String,
    /// What the server saw otherwise than it was signed, if it is in explain mode and the response is from
    /// [`RequestBuilder::send`](crate::RequestBuilder::send).
    pub explanation: Option<Explanation>,
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
    signature_base: Option<String>,
}

impl Refusal {
    /// Gives a response back as it is, unless it is a refusal.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn check(response: reqwest::Response) -> Result<reqwest::Response, Self> {
        match peek(response).await {
            (Some(refusal), _) => Err(refusal),
            (None, response) => Ok(response),
        }
    }

    fn parse(body: &[u8], signed: Option<&SignedBase>) -> Option<Self> {
        let problem = serde_json::from_slice(body).ok()?;
        let Problem { code, detail, hint, request_id, signature_base } = problem;
        let explanation = signed.zip(signature_base).map(|(signed, seen)| signed.explain(&seen));
        Some(Self { code: code.parse().ok()?, detail, hint, request_id, explanation })
    }
}

fn explained(explanation: Option<&Explanation>) -> String {
    explanation.map_or_else(String::new, |explanation| format!("; {explanation}"))
}

/// A server's text as one plain line of a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// Looks for a refusal, and gives the response back whole.
pub(crate) async fn peek(response: reqwest::Response) -> (Option<Refusal>, reqwest::Response) {
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !failed || !response.headers().get(header::CONTENT_TYPE).is_some_and(is_problem) {
        return (None, response);
    }
    let (head, body) = take_apart(response);
    let body = Reread::begin(body, MOST).await;
    let refusal =
        body.content().and_then(|content| Refusal::parse(&content, head.extensions.get()));
    (refusal, http::Response::from_parts(head, reqwest::Body::wrap(body)).into())
}

fn is_problem(content_type: &HeaderValue) -> bool {
    // A media type is in any case, and may have parameters (RFC 9110 §8.3.1).
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/problem+json")
}
