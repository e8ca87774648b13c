use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign::Timestamp;

use crate::NOW;

/// A clock that a test sets and advances. Clones show the same time. Default: [`NOW`].
///
/// ```
/// use std::time::Duration;
///
/// use countersign_test::{NOW, TestClock};
///
/// let clock = TestClock::default();
/// let of_verifier = clock.clone(); // clones share the time
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(of_verifier.now(), NOW.plus(Duration::from_secs(60)));
/// ```
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicU64>);

impl Default for TestClock {
    fn default() -> Self {
        Self::at(NOW)
    }
}

impl TestClock {
    /// A clock at this time.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(time.unix())))
    }

    /// The time of the clock, in whole seconds.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }

    /// Sets the clock.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.unix(), Ordering::SeqCst);
    }

    /// Advances the clock, by whole seconds.
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// The same clock in the form that `Limited::clock` and `MemoryBudget::clock` take. Do not set it back then.
    pub fn monotonic(&self) -> impl Fn() -> Duration + Send + Sync + use<> {
        let clock = self.clone();
        move || Duration::from_secs(clock.now().unix())
    }
}
