use countersign::{PublishableKey, X_API_KEY};
use http::{HeaderMap, HeaderValue};
use reqwest::{IntoUrl, RequestBuilder, redirect};

use crate::{client::with_timeouts, error::Error};

/// A client for nonsensitive reads, with a publishable key alone. It cannot sign, and so it cannot write.
///
/// ```no_run
/// use countersign_client::PublishableClient;
///
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// let key = "pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUY".parse()?;
/// let orders = PublishableClient::new(key)?.get("https://api.example.com/v1/orders").send().await?;
/// println!("{}", orders.text().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PublishableClient {
    http: reqwest::Client,
}

impl PublishableClient {
    /// A client that sends this key in `X-Api-Key`. It follows no redirects, so that no other server gets the key.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if TLS cannot be set up.
    pub fn new(key: PublishableKey) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(key.to_string());
        headers.extend(value.ok().map(|value| (X_API_KEY, value)));
        let http = with_timeouts().default_headers(headers);
        let http = http.redirect(redirect::Policy::none()).build()?;
        Ok(Self { http })
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.http.get(url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.http.head(url)
    }
}
