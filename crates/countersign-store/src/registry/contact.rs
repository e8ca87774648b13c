use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long a registry that cannot be reached is gone on without, unless it is set.
const STALE_FOR: Duration = Duration::from_secs(10);

/// Without news for so long, a poll is late.
const LATE: Duration = Duration::from_millis(1500);

/// When the changes of a registry were last known to be complete.
#[derive(Debug)]
pub(super) struct Contact {
    start: Instant,
    /// When the last poll began that succeeded, in nanoseconds since the start.
    confirmed: AtomicU64,
    /// In nanoseconds.
    stale_for: AtomicU64,
}

impl Default for Contact {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            confirmed: AtomicU64::new(0),
            stale_for: AtomicU64::new(nanoseconds(STALE_FOR)),
        }
    }
}

impl Contact {
    pub(super) fn set_stale_for(&self, stale_for: Duration) {
        self.stale_for.store(nanoseconds(stale_for), Ordering::Relaxed);
    }

    pub(super) fn stale_for(&self) -> Duration {
        Duration::from_nanos(self.stale_for.load(Ordering::Relaxed))
    }

    /// Notes a poll that succeeded, by when it began. Call it after the cache was told of the changes.
    pub(super) fn confirm(&self, began: Instant) {
        let began = nanoseconds(began.saturating_duration_since(self.start));
        self.confirmed.fetch_max(began, Ordering::AcqRel);
    }

    /// Returns how long ago the last poll began that succeeded.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed())
    }

    /// Whether something that was read then may still be used.
    pub(super) fn covers(&self, read_at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(read_at.max(self.confirmed())) < self.stale_for()
    }

    /// Whether the database seems to hang: nobody is to wait for it who need not.
    pub(super) fn is_late(&self) -> bool {
        self.age(Instant::now()) > LATE
    }

    fn confirmed(&self) -> Instant {
        let confirmed = Duration::from_nanos(self.confirmed.load(Ordering::Acquire));
        self.start.checked_add(confirmed).unwrap_or(self.start)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    // Five hundred years.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_used_until_it_was_confirmed_too_long_ago() {
        let contact = Contact::default();
        let at = |seconds| contact.start + Duration::from_secs(seconds);
        let covers = |read, now| contact.covers(at(read), at(now));
        assert!(covers(0, 9), "what was just read needs no poll");
        assert!(!covers(0, 10));
        contact.confirm(at(30));
        contact.confirm(at(20));
        assert!(covers(0, 39), "a poll that began later counts");
        assert!(!covers(0, 40));
        assert!(covers(35, 44), "and so does a later look-up");
        contact.set_stale_for(Duration::from_secs(2));
        assert!(covers(0, 31));
        assert!(!covers(0, 32));
        contact.set_stale_for(Duration::ZERO);
        assert!(!covers(30, 30), "without a stale time nothing is used");
        contact.set_stale_for(Duration::MAX);
        assert!(covers(0, 3_000_000));
    }
}
