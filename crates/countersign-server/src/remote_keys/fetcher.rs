use std::time::Duration;

use countersign::is_loopback;
use http::{StatusCode, header::ACCEPT};
use reqwest::{Client, Url, redirect};

/// How long a fetch may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches a document over a connection that protects it from changes on the way.
#[derive(Clone)]
pub(crate) struct Fetcher {
    url: Url,
    http: Client,
}

/// Why keys cannot be fetched from a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeysUrl {
    /// The text is not a URL.
    #[error("it is not a URL")]
    NotAUrl,
    /// The URL is `http` to another machine, so that anyone on the way could swap the keys.
    #[error("keys could be exchanged on their way; use https, or http to this machine")]
    Insecure,
    /// The URL has a user name or a password, which would show in logs.
    #[error("it has a user name or a password")]
    Credentials,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] reqwest::Error),
}

/// Why a document could not be fetched.
#[derive(Debug)]
pub(crate) enum Unfetched {
    /// The server cannot be reached, or did not respond in time.
    Unreachable(reqwest::Error),
    /// The response has a status other than 200. Redirects are not followed.
    Status(StatusCode),
    TooLong,
    /// The document is not UTF-8.
    NotText,
}

impl Fetcher {
    /// Prepares fetches from this URL. Does not fetch yet.
    ///
    /// # Errors
    ///
    /// [`BadKeysUrl`], unless the URL is `https`, or `http` to `localhost` or a loopback address.
    pub(crate) fn new(url: &str) -> Result<Self, BadKeysUrl> {
        let url: Url = url.parse().map_err(|_| BadKeysUrl::NotAUrl)?;
        let mut http = Client::builder();
        match url.scheme() {
            "https" => {}
            // A proxy on the way could swap the keys.
            "http" if is_loopback(url.host_str().unwrap_or_default()) => http = http.no_proxy(),
            _ => return Err(BadKeysUrl::Insecure),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadKeysUrl::Credentials);
        }
        let http = http.redirect(redirect::Policy::none()).timeout(TIMEOUT);
        // Minutes lie between two fetches.
        let http = http.pool_max_idle_per_host(0).build().map_err(BadKeysUrl::Tls)?;
        Ok(Self { url, http })
    }

    /// Returns the URL, for the log.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Fetches the document. Fails if it has more than `most` bytes.
    pub(crate) async fn fetch(&self, accept: &str, most: usize) -> Result<String, Unfetched> {
        let request = self.http.get(self.url.clone()).header(ACCEPT, accept);
        let mut response = request.send().await.map_err(Unfetched::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Unfetched::Status(response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(Unfetched::Unreachable)? {
            if bytes.len().saturating_add(piece.len()) > most {
                return Err(Unfetched::TooLong);
            }
            bytes.extend_from_slice(&piece);
        }
        String::from_utf8(bytes).map_err(|_| Unfetched::NotText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_where_nobody_on_the_way_can_swap_them() {
        for url in [
            "https://login.example.com/jwks",
            "https://127.0.0.1/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://127.9.9.9/jwks",
            "http://[::1]:8080/jwks",
            "http://localhost/jwks",
        ] {
            assert!(Fetcher::new(url).is_ok(), "{url}");
        }
        let insecure = |error: &BadKeysUrl| matches!(error, BadKeysUrl::Insecure);
        for url in [
            "http://login.example.com/jwks",
            "http://127.0.0.1.example.com/jwks",
            "http://localhost.example.com/jwks",
            "http://10.0.0.1/jwks",
            "http://0.0.0.0/jwks",
            "http://[::2]/jwks",
            "ftp://127.0.0.1/jwks",
            "file:///etc/issuer.jwks",
            "data:application/json,{}",
        ] {
            assert!(Fetcher::new(url).is_err_and(|error| insecure(&error)), "{url}");
        }
        let credentials = |error: &BadKeysUrl| matches!(error, BadKeysUrl::Credentials);
        for url in ["https://a@login.example.com", "https://a:b@login.example.com"] {
            assert!(Fetcher::new(url).is_err_and(|error| credentials(&error)), "{url}");
        }
        for url in ["", "/jwks", "login.example.com", "https://"] {
            let refused = Fetcher::new(url);
            assert!(matches!(refused, Err(BadKeysUrl::NotAUrl)), "{url}");
        }
    }
}
