use countersign::Code;
use serde::Deserialize;

/// How much of an answer is read in search of problem details.
const MOST: u64 = 16 * 1024;

/// A refusal by a Countersign server: its problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}; {hint}")]
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

    fn parse(body: &[u8]) -> Option<Self> {
        let Problem { code, detail, hint, request_id } = serde_json::from_slice(body).ok()?;
        Some(Self { code: code.parse().ok()?, detail, hint, request_id })
    }
}

/// Looks for a refusal, and gives the response back whole.
pub(crate) async fn peek(response: reqwest::Response) -> (Option<Refusal>, reqwest::Response) {
    let content_type = response.headers().get(http::header::CONTENT_TYPE);
    let problem = content_type.is_some_and(|value| value == "application/problem+json");
    let short = response.content_length().is_some_and(|length| length <= MOST);
    if !problem || !short {
        return (None, response);
    }
    let url = response.url().clone();
    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = response.version();
    *head.headers_mut() = response.headers().clone();
    // A refusal that breaks off is none that can be read.
    let body = response.bytes().await.unwrap_or_default();
    let refusal = Refusal::parse(&body);
    let (mut parts, ()) = head.into_parts();
    if let Ok(with_url) = reqwest::ResponseBuilderExt::url(http::Response::builder(), url).body(())
    {
        parts.extensions = with_url.into_parts().0.extensions;
    }
    (refusal, http::Response::from_parts(parts, body).into())
}
