use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::telemetry;

/// The least time between attempts while there are keys: for a key that is not among them, or to replace them.
const PAUSE: Duration = Duration::from_secs(60);
/// The least time between attempts while there are no keys.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(10);
/// Keys are fetched anew when this part of `max_age` is over.
const PART: u32 = 12;

/// Where keys are fetched from.
pub(crate) trait KeySource: Clone + Send + Sync + 'static {
    type Keys: Clone + Send;
    type Error: std::error::Error + Send + 'static;

    fn fetch(&self) -> impl Future<Output = Result<Self::Keys, Self::Error>> + Send;

    /// The place, for the log.
    fn place(&self) -> &str;
}

/// Keys from a source, fetched when a request needs them. At most one fetch runs at a time, 60 s apart, or 10 s while there are no keys.
#[derive(Clone)]
pub(crate) struct Refresher<S: KeySource> {
    source: S,
    max_age: Duration,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    state: Arc<Mutex<State<S::Keys>>>,
}

struct State<K> {
    kept: Option<Kept<K>>,
    /// The last attempt.
    attempt: Option<Attempt>,
    /// Open as long as a fetch runs.
    fetching: Option<watch::Receiver<()>>,
    /// How many attempts were begun.
    attempts: u64,
}

#[derive(Clone)]
struct Kept<K> {
    keys: K,
    at: Duration,
    /// The number of the attempt that fetched them.
    attempt: u64,
}

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

/// Why a key is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// The source has no such key.
    Unknown,
    /// The source cannot be asked.
    Unavailable,
}

enum Look<T> {
    Done(Result<T, NotFound>),
    /// To be repeated when this is closed.
    Fetching(watch::Receiver<()>),
}

impl<S: KeySource> Refresher<S> {
    pub(crate) fn new(source: S) -> Self {
        let start = Instant::now();
        Self {
            source,
            max_age: Duration::from_secs(3600),
            clock: Arc::new(move || start.elapsed()),
            state: Arc::default(),
        }
    }

    pub(crate) fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    pub(crate) fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) const fn source(&self) -> &S {
        &self.source
    }

    /// How long keys are used after they were fetched.
    pub(crate) const fn longest(&self) -> Duration {
        self.max_age
    }

    /// Fetches the keys now. Of two fetches at a time the keys of the one that was begun later are used, whichever ends first.
    pub(crate) async fn fetch(&self) -> Result<(), S::Error> {
        let at = (self.clock)();
        let number = self.state().begin_attempt(at);
        self.fetch_as_of(at, number).await
    }

    /// Looks something up in the keys. Fetches them if there are none, or `look_up` finds nothing; and, without waiting, if they
    /// begin to be old.
    pub(crate) async fn find<T>(
        &self,
        look_up: impl Fn(&S::Keys) -> Option<T>,
    ) -> Result<T, NotFound> {
        let mut fetching = match self.look(&look_up) {
            Look::Done(found) => return found,
            Look::Fetching(fetching) => fetching,
        };
        // Nothing is ever sent: it is over when it is closed.
        fetching.changed().await.ok();
        match self.look(&look_up) {
            Look::Done(found) => found,
            Look::Fetching(_) => Err(NotFound::Unavailable),
        }
    }

    fn look<T>(&self, look_up: impl Fn(&S::Keys) -> Option<T>) -> Look<T> {
        let mut state = self.state();
        let now = (self.clock)();
        let usable = |kept: &Kept<S::Keys>| now.saturating_sub(kept.at) < self.max_age;
        let Some(kept) = state.kept.clone().filter(usable) else {
            let unavailable = Look::Done(Err(NotFound::Unavailable));
            return self
                .begin(&mut state, now, PAUSE_WITHOUT_KEYS)
                .map_or(unavailable, Look::Fetching);
        };
        match look_up(&kept.keys) {
            None => match self.begin(&mut state, now, PAUSE) {
                Some(fetching) => Look::Fetching(fetching),
                None => Look::Done(Err(state.unknown())),
            },
            Some(found) => {
                if now.saturating_sub(kept.at).saturating_mul(PART) >= self.max_age {
                    self.begin(&mut state, now, PAUSE);
                }
                Look::Done(Ok(found))
            }
        }
    }

    /// Fetches in a task of its own, which goes on when the request is given up, unless the last attempt is too near.
    fn begin(
        &self,
        state: &mut State<S::Keys>,
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
        let number = state.begin_attempt(now);
        let (open, fetching) = watch::channel(());
        state.fetching = Some(fetching.clone());
        let keys = self.clone();
        tokio::spawn(async move {
            if let Err(error) = keys.fetch_as_of(now, number).await {
                let (error, url) = (&error as &dyn std::error::Error, keys.source.place());
                tracing::warn!(error, url, "the keys of an issuer cannot be fetched");
            }
            drop(open);
        });
        Some(fetching)
    }

    async fn fetch_as_of(&self, at: Duration, number: u64) -> Result<(), S::Error> {
        let fetched = self.source.fetch().await;
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

    fn state(&self) -> MutexGuard<'_, State<S::Keys>> {
        // Every change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self { kept: None, attempt: None, fetching: None, attempts: 0 }
    }
}

impl<K> State<K> {
    /// Begins an attempt, which has failed until it has not. Returns its number.
    fn begin_attempt(&mut self, at: Duration) -> u64 {
        self.attempts = self.attempts.saturating_add(1);
        let number = self.attempts;
        self.attempt = Some(Attempt { at, number, outcome: Outcome::Failed });
        number
    }

    /// Why a key is not among those that there are: after a failed attempt nobody knows.
    fn unknown(&self) -> NotFound {
        match self.attempt.as_ref().map(|attempt| attempt.outcome) {
            Some(Outcome::Failed) => NotFound::Unavailable,
            Some(Outcome::Fetched) | None => NotFound::Unknown,
        }
    }
}
