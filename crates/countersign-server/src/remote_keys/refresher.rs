use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// The least time between attempts while there are keys: for a key that is not among them, or to replace them.
const PAUSE: Duration = Duration::from_secs(60);
/// The least time between attempts while there are no keys.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(10);
/// Keys are fetched again when they are older than `max_age` divided by this.
const PART: u32 = 12;

/// A source of keys.
pub(crate) trait KeySource: Clone + Send + Sync + 'static {
    type Keys: Clone + Send;
    type Error: std::error::Error + Send + 'static;

    /// What the keys are, for the log.
    const NOUN: &'static str;

    fn fetch(&self) -> impl Future<Output = Result<Self::Keys, Self::Error>> + Send;

    /// Returns the URL of the source, for the log.
    fn place(&self) -> &str;

    /// Counts an attempt, by its outcome.
    fn count(outcome: &'static str);
}

/// Keys from a source, fetched when a request needs them.
///
/// At most one fetch runs at a time, 60 s apart, or 10 s apart while there are no keys.
#[derive(Clone)]
pub(crate) struct Refresher<S: KeySource> {
    source: S,
    max_age: Duration,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    state: Arc<Mutex<State<S::Keys>>>,
}

struct State<K> {
    kept: Option<Kept<K>>,
    /// The latest attempt.
    attempt: Option<Attempt>,
    /// Open while a fetch runs.
    fetching: Option<watch::Receiver<()>>,
    /// How many attempts have begun.
    attempts: u64,
}

#[derive(Clone)]
struct Kept<K> {
    keys: K,
    at: Duration,
    /// The number of the attempt that fetched these keys.
    attempt: u64,
}

struct Attempt {
    at: Duration,
    number: u64,
    fetch: Fetch,
}

/// The state of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetch {
    Running,
    Failed,
    Fetched,
}

/// Why a key was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// The source has no such key.
    Unknown,
    /// The source cannot be reached.
    Unavailable,
}

enum Look<T> {
    Done(Result<T, NotFound>),
    /// The caller repeats the lookup when this channel is closed.
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

    /// Returns how long fetched keys are used.
    pub(crate) const fn longest(&self) -> Duration {
        self.max_age
    }

    /// Fetches the keys now. If two fetches overlap, the keys of the later start are used, whichever fetch ends first.
    pub(crate) async fn fetch(&self) -> Result<(), S::Error> {
        let at = (self.clock)();
        let number = self.state().begin_attempt(at);
        self.fetch_as_of(at, number).await
    }

    /// Looks up a key. Fetches the keys first if the refresher has no keys, or `look_up` finds none. If the keys are getting old,
    /// starts a fetch and does not wait for it.
    pub(crate) async fn find<T>(
        &self,
        look_up: impl Fn(&S::Keys) -> Option<T>,
    ) -> Result<T, NotFound> {
        let mut fetching = match self.look(&look_up) {
            Look::Done(found) => return found,
            Look::Fetching(fetching) => fetching,
        };
        // Nothing is ever sent: the fetch is over when the channel is closed.
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

    /// Starts a fetch in a task of its own, which continues if the request is cancelled. Returns `None` if the latest attempt is
    /// too recent.
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
                tracing::warn!(error, url, "{} cannot be fetched", S::NOUN);
            }
            drop(open);
        });
        Some(fetching)
    }

    async fn fetch_as_of(&self, at: Duration, number: u64) -> Result<(), S::Error> {
        let fetched = self.source.fetch().await;
        let (fetch, outcome) = match &fetched {
            Ok(_) => (Fetch::Fetched, "fetched"),
            Err(_) => (Fetch::Failed, "failed"),
        };
        S::count(outcome);
        let mut state = self.state();
        if let Some(attempt) = state.attempt.as_mut().filter(|attempt| attempt.number == number) {
            attempt.fetch = fetch;
        }
        let keys = fetched?;
        // An attempt that was begun later knows better, whichever of the two ends first.
        if state.kept.as_ref().is_none_or(|kept| kept.attempt < number) {
            state.kept = Some(Kept { keys, at, attempt: number });
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<S::Keys>> {
        // A panic cannot leave the state half changed: every change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self { kept: None, attempt: None, fetching: None, attempts: 0 }
    }
}

impl<K> State<K> {
    /// Begins an attempt. Returns its number.
    fn begin_attempt(&mut self, at: Duration) -> u64 {
        self.attempts = self.attempts.saturating_add(1);
        let number = self.attempts;
        self.attempt = Some(Attempt { at, number, fetch: Fetch::Running });
        number
    }

    /// Why a key is not among those that there are: nobody knows after a failed attempt, or while one runs.
    fn unknown(&self) -> NotFound {
        match self.attempt.as_ref().map(|attempt| attempt.fetch) {
            Some(Fetch::Running | Fetch::Failed) => NotFound::Unavailable,
            Some(Fetch::Fetched) | None => NotFound::Unknown,
        }
    }
}
