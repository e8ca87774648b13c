use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{StatusCode, header::ACCEPT};
use jsonwebtoken::Algorithm;
use reqwest::{Client, Url, redirect};
use tokio::sync::watch;

use super::{
    bad_token::BadToken,
    token_keys::{BadJwks, MOST_BYTES, TokenKey, TokenKeys},
};
use crate::telemetry;

/// How long a fetch may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The least time between attempts while there are keys: for one that a token names, or to replace those that are.
const PAUSE: Duration = Duration::from_secs(60);
/// The least time between attempts while there are none.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(10);
/// Keys are fetched anew when this part of the time is over for which they can be used.
const PART: u32 = 12;

/// The keys of an issuer at a URL, its `jwks_uri`, which are fetched when a request needs them.
///
/// That is when there are none, when a token names one that is not among them, and, without letting the request wait, when a
/// twelfth of [`max_age`](Self::max_age) has passed since they came. Requests never bring many fetches about: there is one at a
/// time, and 60 s from one to the next, or 10 s while there are no keys. Where the issuer cannot be reached, the keys that
/// there are go on being used until `max_age` is over; from then on whoever comes with a token gets 503.
///
/// An answer counts if it has status 200, comes within 5 s, from that URL itself, and is a JWKS of at most 128 KiB.
#[derive(Clone)]
pub struct RemoteTokenKeys {
    url: Url,
    http: Client,
    max_age: Duration,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    attempt: Option<Attempt>,
    /// Open as long as somebody fetches.
    fetching: Option<watch::Receiver<()>>,
    /// How many attempts were begun.
    attempts: u64,
}

#[derive(Clone)]
struct Kept {
    keys: TokenKeys,
    at: Duration,
    /// Of the attempt that fetched them.
    attempt: u64,
}

/// The last one.
struct Attempt {
    at: Duration,
    number: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Also while it is not known yet.
    Failed,
    Fetched,
}

/// A key that was looked for.
enum Look {
    Done(Result<Arc<TokenKey>, BadToken>),
    /// To be asked again when this is closed.
    Fetching(watch::Receiver<()>),
}

/// Why a URL is none to fetch keys from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadJwksUrl {
    /// It is no URL.
    #[error("it is no URL")]
    NotAUrl,
    /// Whoever is on the way could put keys of their own in.
    #[error("keys could be swapped on their way; use https, or http to this very machine")]
    Insecure,
    /// They would be in logs.
    #[error("it has a user name or a password")]
    Credentials,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] reqwest::Error),
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The issuer cannot be reached, or not in time.
    #[error("the JWKS cannot be fetched")]
    Unreachable(#[from] reqwest::Error),
    /// It answered with another status than 200; a redirect is not followed.
    #[error("the JWKS was asked for, and the answer was {0}")]
    Status(StatusCode),
    /// What came is no JWKS.
    #[error(transparent)]
    Jwks(#[from] BadJwks),
}

impl RemoteTokenKeys {
    /// The keys at this URL. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`BadJwksUrl`], unless it is `https`, or `http` to `localhost` or a loopback address.
    pub fn new(url: &str) -> Result<Self, BadJwksUrl> {
        let url: Url = url.parse().map_err(|_| BadJwksUrl::NotAUrl)?;
        let mut http = Client::builder();
        match url.scheme() {
            "https" => {}
            // A proxy would be somebody on the way.
            "http" if is_loopback(&url) => http = http.no_proxy(),
            _ => return Err(BadJwksUrl::Insecure),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadJwksUrl::Credentials);
        }
        let http = http.redirect(redirect::Policy::none()).timeout(TIMEOUT);
        // Minutes lie between two fetches.
        let http = http.pool_max_idle_per_host(0).build().map_err(BadJwksUrl::Tls)?;
        let start = Instant::now();
        Ok(Self {
            url,
            http,
            max_age: Duration::from_secs(3600),
            clock: Arc::new(move || start.elapsed()),
            state: Arc::default(),
        })
    }

    /// How long keys are used after they were fetched. That is also how long one may still be used that its issuer has
    /// withdrawn, if whoever has it can keep us from reaching the issuer. Default: 1 h.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Where the time comes from: since any moment, and never stepping back. Default: the system's monotonic clock.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
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
        let at = (self.clock)();
        let number = self.state().attempt(at);
        self.fetch_as_of(at, number).await
    }

    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<TokenKey>, BadToken> {
        let mut fetching = match self.look(kid, algorithm) {
            Look::Done(found) => return found,
            Look::Fetching(fetching) => fetching,
        };
        // Nothing is ever sent: it is over when it is closed.
        fetching.changed().await.ok();
        match self.look(kid, algorithm) {
            Look::Done(found) => found,
            Look::Fetching(_) => Err(BadToken::KeysUnavailable),
        }
    }

    fn look(&self, kid: Option<&str>, algorithm: Algorithm) -> Look {
        let mut state = self.state();
        let now = (self.clock)();
        let usable = |kept: &Kept| now.saturating_sub(kept.at) < self.max_age;
        let Some(kept) = state.kept.clone().filter(usable) else {
            let unavailable = Look::Done(Err(BadToken::KeysUnavailable));
            return self
                .begin(&mut state, now, PAUSE_WITHOUT_KEYS)
                .map_or(unavailable, Look::Fetching);
        };
        match kept.keys.find(kid, algorithm) {
            Err(BadToken::UnknownKey) => match self.begin(&mut state, now, PAUSE) {
                Some(fetching) => Look::Fetching(fetching),
                None => Look::Done(Err(state.unknown_key())),
            },
            found => {
                if now.saturating_sub(kept.at).saturating_mul(PART) >= self.max_age {
                    self.begin(&mut state, now, PAUSE);
                }
                Look::Done(found)
            }
        }
    }

    /// Fetches in a task of its own, which no request that is given up ends, unless the last attempt is too near.
    fn begin(
        &self,
        state: &mut State,
        now: Duration,
        pause: Duration,
    ) -> Option<watch::Receiver<()>> {
        let under_way = state.fetching.take().filter(|fetching| fetching.has_changed().is_ok());
        if let Some(fetching) = under_way {
            state.fetching = Some(fetching.clone());
            return Some(fetching);
        }
        let too_near = |attempt: &Attempt| now.saturating_sub(attempt.at) < pause;
        if state.attempt.as_ref().is_some_and(too_near) {
            return None;
        }
        let number = state.attempt(now);
        let (open, fetching) = watch::channel(());
        state.fetching = Some(fetching.clone());
        let keys = self.clone();
        tokio::spawn(async move {
            if let Err(error) = keys.fetch_as_of(now, number).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, url = %keys.url, "the keys of an issuer cannot be fetched");
            }
            drop(open);
        });
        Some(fetching)
    }

    async fn fetch_as_of(&self, at: Duration, number: u64) -> Result<(), FetchError> {
        let fetched = self.download().await;
        telemetry::count_fetch(if fetched.is_ok() { "fetched" } else { "failed" });
        let keys = fetched?;
        let mut state = self.state();
        // An attempt that was begun later knows better, whichever of the two ends first.
        if state.kept.as_ref().is_none_or(|kept| kept.attempt < number) {
            state.kept = Some(Kept { keys, at, attempt: number });
        }
        if let Some(attempt) = state.attempt.as_mut().filter(|attempt| attempt.number == number) {
            attempt.outcome = Outcome::Fetched;
        }
        Ok(())
    }

    async fn download(&self) -> Result<TokenKeys, FetchError> {
        let request = self.http.get(self.url.clone());
        let request = request.header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if bytes.len().saturating_add(piece.len()) > MOST_BYTES {
                return Err(BadJwks::TooLong.into());
            }
            bytes.extend_from_slice(&piece);
        }
        let text = str::from_utf8(&bytes).map_err(|_| BadJwks::NotAJwks)?;
        Ok(TokenKeys::from_jwks(text)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins an attempt, which has failed until it has not. Returns its number.
    fn attempt(&mut self, at: Duration) -> u64 {
        self.attempts = self.attempts.saturating_add(1);
        let number = self.attempts;
        self.attempt = Some(Attempt { at, number, outcome: Outcome::Failed });
        number
    }

    /// Of a key that is not among those at hand: its issuer may have it by now, if we could not ask.
    fn unknown_key(&self) -> BadToken {
        match &self.attempt {
            Some(Attempt { outcome: Outcome::Failed, .. }) => BadToken::KeysUnavailable,
            _ => BadToken::UnknownKey,
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for RemoteTokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTokenKeys")
            .field("url", &self.url.as_str())
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
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
            assert!(RemoteTokenKeys::new(url).is_ok(), "{url}");
        }
        let insecure = |error: &BadJwksUrl| matches!(error, BadJwksUrl::Insecure);
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
            assert!(RemoteTokenKeys::new(url).is_err_and(|error| insecure(&error)), "{url}");
        }
        let credentials = |error: &BadJwksUrl| matches!(error, BadJwksUrl::Credentials);
        for url in ["https://a@login.example.com", "https://a:b@login.example.com"] {
            assert!(RemoteTokenKeys::new(url).is_err_and(|error| credentials(&error)), "{url}");
        }
        for url in ["", "/jwks", "login.example.com", "https://"] {
            let refused = RemoteTokenKeys::new(url);
            assert!(matches!(refused, Err(BadJwksUrl::NotAUrl)), "{url}");
        }
    }
}
