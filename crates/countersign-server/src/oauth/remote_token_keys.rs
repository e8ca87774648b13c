use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use jsonwebtoken::Algorithm;

use super::{
    bad_token::BadToken,
    token_keys::{BadJwks, MOST_BYTES, TokenKey, TokenKeys},
};
use crate::{
    remote_keys::{
        fetcher::{BadKeysUrl, Fetcher, Unfetched},
        refresher::{KeySource, NotFound, Refresher},
    },
    telemetry,
};

/// The keys of an issuer, fetched from its `jwks_uri` when a request needs them.
///
/// A request starts a fetch when there are no keys, or when its token names an unknown key; the request waits for that fetch.
/// When the keys are older than a twelfth of [`max_age`](Self::max_age), a request starts a fetch without waiting.
///
/// At most one fetch runs at a time, 60 s apart, or 10 s apart while there are no keys. While the issuer cannot be reached, the
/// last keys stay in use until `max_age` is over. After that, requests with a token get 503.
///
/// A fetch succeeds if the response comes within 5 s from that URL itself, has status 200, and is a JWKS of at most 128 KiB.
#[derive(Clone)]
pub struct RemoteTokenKeys(Refresher<JwksUri>);

/// The JWKS at a URL.
#[derive(Clone)]
struct JwksUri(Fetcher);

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The issuer cannot be reached, or did not respond in time.
    #[error("the JWKS cannot be fetched")]
    Unreachable(#[from] reqwest::Error),
    /// The response has a status other than 200. Redirects are not followed.
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

    const NOUN: &'static str = "the keys of an issuer";

    async fn fetch(&self) -> Result<TokenKeys, FetchError> {
        let accept = "application/jwk-set+json, application/json";
        Ok(TokenKeys::from_jwks(&self.0.fetch(accept, MOST_BYTES).await?)?)
    }

    fn place(&self) -> &str {
        self.0.url()
    }

    fn count(outcome: &'static str) {
        telemetry::count_fetch(outcome);
    }
}

impl RemoteTokenKeys {
    /// Uses the keys at this URL. Does not fetch them yet.
    ///
    /// # Errors
    ///
    /// [`BadKeysUrl`], unless it is `https`, or `http` to `localhost` or a loopback address.
    pub fn new(url: &str) -> Result<Self, BadKeysUrl> {
        Ok(Self(Refresher::new(JwksUri(Fetcher::new(url)?))))
    }

    /// Sets how long fetched keys are used. Default: 1 h.
    ///
    /// A key that its issuer has withdrawn stays valid for this long if a thief of the key can keep this server from reaching the
    /// issuer.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self(self.0.max_age(max_age))
    }

    /// Sets the clock: the time since any fixed moment, which never steps back. Default: the system's monotonic clock.
    pub fn clock(self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(self.0.clock(clock))
    }

    /// Fetches the keys now. Call it when a service starts, so that no request has to wait for the keys and a wrong URL shows at
    /// once. If it fails, the service may start all the same: requests fetch the keys later.
    ///
    /// If two fetches overlap, the keys of the later start are used, whichever fetch ends first.
    ///
    /// # Errors
    ///
    /// [`FetchError`]. The keys from before stay in use.
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
