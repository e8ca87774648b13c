use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error as Failed, Middleware, Next};

use crate::{client::Client, error::Error, outgoing::Outgoing, transport::Transport};

/// Signs what a `reqwest_middleware::ClientWithMiddleware` sends. Made by [`Client::middleware`].
///
/// ```
/// # fn with_own() -> Result<(), Box<dyn std::error::Error>> {
/// use countersign_client::{Client, reqwest};
/// use reqwest::redirect::Policy;
/// use reqwest_middleware::ClientBuilder;
///
/// let client = Client::from_key_file("shop.key")?;
/// let own = reqwest::Client::builder().redirect(Policy::none()).build()?;
/// let own = ClientBuilder::new(own)
///     // .with(RetryTransientMiddleware::new_with_policy(…)), and whatever else you have
///     .with(client.middleware()) // last: each attempt gets its own nonce and time
///     .build();
/// # Ok(())
/// # }
/// ```
///
/// Everything works as with the client itself: following the clock and redirects, waiting, and
/// [`Client::verify_responses`]. Only the sending is left to your client, which has to follow no redirects
/// ([`Error::FollowedRedirect`]), and to have no default headers and no cookie store: reqwest adds their fields after
/// signing. A streamed body needs a `Content-Digest` field. [`Refusal::check`](crate::Refusal::check) takes the response.
///
/// An error of the client is in `reqwest_middleware::Error::Middleware`, one of reqwest in `Reqwest`, as without this
/// middleware.
#[derive(Clone, Debug)]
pub struct SigningMiddleware {
    client: Client,
}

impl Client {
    /// This client as middleware of `reqwest-middleware`. Attach it last, so that each attempt of the middleware before it,
    /// such as a retry policy, is signed anew.
    pub fn middleware(&self) -> SigningMiddleware {
        SigningMiddleware { client: self.clone() }
    }
}

#[async_trait::async_trait]
impl Middleware for SigningMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Failed> {
        let mut rest = Rest { next, extensions };
        let sent = self.client.execute_by(&mut rest, Outgoing::new(request), self.client.wait);
        sent.await.map_err(|error| match error {
            Error::Http(error) => Failed::Reqwest(error),
            error => Failed::middleware(error),
        })
    }
}

/// The middleware after this one, and the application's client.
struct Rest<'a> {
    next: Next<'a>,
    extensions: &'a mut Extensions,
}

impl Transport for Rest<'_> {
    async fn send(&mut self, attempt: Request) -> Result<Response, Error> {
        let sent = self.next.clone().run(attempt, self.extensions).await;
        sent.map_err(|error| match error {
            Failed::Reqwest(error) => Error::Http(error),
            Failed::Middleware(error) => Error::Middleware(error.into()),
        })
    }
}
