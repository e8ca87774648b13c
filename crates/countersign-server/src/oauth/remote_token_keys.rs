use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use jsonwebtoken::Algorithm;

use super::{
    bad_token::BadToken,
    token_keys::{BadJwks, MOST_BYTES, TokenKey, TokenKeys},
};
use crate::remote_keys::{
    fetcher::{BadJwksUrl, Fetcher, Unfetched},
    refresher::{KeySource, NotFound, Refresher},
};

/// The keys of an issuer at a URL, its `jwks_uri`, which are fetched when a request needs them.
///
/// That is when there are none, when a token names one that is not among them, and, without letting the request wait, when a
/// twelfth of [`max_age`](Self::max_age) has passed since they came. At most one fetch runs at a time, 60 s apart, or 10 s
/// apart while there are no keys. Where the issuer cannot be reached, the keys that
/// there are go on being used until `max_age` is over; from then on requests with a token get 503.
///
/// A response counts if it has status 200, comes within 5 s, from that URL itself, and is a JWKS of at most 128 KiB.
#[derive(Clone)]
pub struct RemoteTokenKeys(Refresher<JwksUri>);

/// The JWKS at a URL.
#[derive(Clone)]
struct JwksUri(Fetcher);

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The issuer cannot be reached, or not in time.
    #[error("the JWKS cannot be fetched")]
    Unreachable(#[from] reqwest::Error),
    /// The response has another status than 200; a redirect is not followed.
    #[error("the JWKS was requested, and the response had the status {0}")]
    Status(StatusCode),
    /// The content is not a JWKS.
    #[error(transparent)]
    Jwks(#[from] BadJwks),
}

impl From<Unfetched> for FetchError {
    fn from(unfetched: Unfetched) -> Self {
        match unfetched {
            Unfetched::Unreachable(error) => Self::Unreachable(error),
            Unfetched::Status(status) => Self::Status(status),
            Unfetched::TooLong => BadJwks::TooLong.into(),
            Unfetched::NotText => BadJwks::NotAJwks.into(),
        }
    }
}

impl KeySource for JwksUri {
    type Keys = TokenKeys;
    type Error = FetchError;

    async fn fetch(&self) -> Result<TokenKeys, FetchError> {
        let accept = "application/jwk-set+json, application/json";
        Ok(TokenKeys::from_jwks(&self.0.fetch(accept, MOST_BYTES).await?)?)
    }

    fn place(&self) -> &str {
        self.0.url()
    }
}

impl RemoteTokenKeys {
    /// The keys at this URL. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`BadJwksUrl`], unless it is `https`, or `http` to `localhost` or a loopback address.
    pub fn new(url: &str) -> Result<Self, BadJwksUrl> {
        Ok(Self(Refresher::new(JwksUri(Fetcher::new(url)?))))
    }

    /// How long keys are used after they were fetched. That is also how long a key may still be used that its issuer has
    /// withdrawn, if its thief can keep this server from reaching the issuer. Default: 1 h.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self(self.0.max_age(max_age))
    }

    /// Where the time comes from: since any moment, and never stepping back. Default: the system's monotonic clock.
    pub fn clock(self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(self.0.clock(clock))
    }

    /// Fetches the keys now: at the start of a service, so that no request has to wait for them and a wrong URL shows. A
    /// service may go on without them; requests will fetch them.
    ///
    /// # Errors
    ///
    /// [`FetchError`]. The keys that there were are used as before.
    ///
    /// Of two fetches at a time the keys of the one that was begun later are used, whichever ends first.
    pub async fn fetch(&self) -> Result<(), FetchError> {
        self.0.fetch().await
    }

    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<TokenKey>, BadToken> {
        let look_up = |keys: &TokenKeys| match keys.find(kid, algorithm) {
            Err(BadToken::UnknownKey) => None,
            found => Some(found),
        };
        self.0.find(look_up).await.unwrap_or_else(|not_found| {
            Err(match not_found {
                NotFound::Unknown => BadToken::UnknownKey,
                NotFound::Unavailable => BadToken::KeysUnavailable,
            })
        })
    }
}

impl fmt::Debug for RemoteTokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTokenKeys")
            .field("url", &self.0.source().place())
            .field("max_age", &self.0.longest())
            .finish_non_exhaustive()
    }
}
