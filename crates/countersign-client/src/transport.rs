use reqwest::{Request, Response, Url};

use crate::error::Error;

/// Sends requests that are signed.
pub(crate) trait Transport: Send {
    /// Sends one attempt.
    fn send(&mut self, attempt: Request) -> impl Future<Output = Result<Response, Error>> + Send;
}

impl Transport for reqwest::Client {
    async fn send(&mut self, attempt: Request) -> Result<Response, Error> {
        Ok(self.execute(attempt).await?)
    }
}

/// Sends one attempt to the origin that it was signed for, and to no other.
pub(crate) async fn send(
    transport: &mut impl Transport,
    attempt: Request,
) -> Result<Response, Error> {
    let without_fragment = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    let sent = without_fragment(attempt.url());
    let response = transport.send(attempt).await?;
    match without_fragment(response.url()) == sent {
        true => Ok(response),
        false => Err(Error::FollowedRedirect),
    }
}
