use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a peer may take to move [`LEAST`] bytes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes a peer must send or take in every 10 s that the server waits for it: 500 bytes a second.
const LEAST: u64 = 5_000;

/// Measures whether a peer sends, or takes, fast enough. Only the time that the server waits for the peer counts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// Starts waiting for the peer, if not already waiting. Returns the time at which the peer is too slow.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since.checked_add(PATIENCE.saturating_sub(self.waited)).unwrap_or(since)
    }

    /// Discards the progress and the waiting before this time.
    pub(super) fn forget(&mut self, before: Instant) {
        if self.since.is_some_and(|since| since < before) {
            *self = Self { since: Some(before), ..Self::default() };
        }
    }

    /// Notes that the peer has moved this many bytes. Stops waiting until the next [`wait`](Self::wait).
    pub(super) fn moved(&mut self, bytes: u64, now: Instant) {
        self.moved = self.moved.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.saturating_duration_since(since));
        }
        // A waiter whose patience is over has already said so, unless it was busy elsewhere.
        if self.moved >= LEAST || self.waited >= PATIENCE {
            *self = Self::default();
        }
    }

    /// Whether the server has not waited for the peer since it last moved enough.
    const fn is_new(&self) -> bool {
        self.since.is_none() && self.waited.is_zero()
    }
}

/// A [`Pace`] for code that polls.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pace: Pace,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Waits for the peer. Ready once the peer is too slow.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.pace.wait(Instant::now());
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(context)
    }

    /// Notes that the peer has moved this many bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        // Most peers are never waited for, and need no clock.
        if !self.pace.is_new() {
            self.pace.moved(u64::try_from(bytes).unwrap_or(u64::MAX), Instant::now());
        }
    }

    /// Whether the server waits for the peer.
    pub(super) const fn is_on(&self) -> bool {
        self.pace.since.is_some()
    }
}

/// The error for a peer that sends or takes less than 5,000 bytes in 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer was too slow")
    }
}

impl std::error::Error for TooSlow {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_the_pace_is_waited_for_and_whoever_does_not_is_not() {
        let start = Instant::now();
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut pace = Pace::default();
        assert_eq!(pace.wait(at(0)), at(10));
        assert_eq!(pace.wait(at(3)), at(10), "it is the same wait");
        pace.moved(LEAST, at(9));
        assert_eq!(pace.wait(at(9)), at(19), "all of it is another 10 s");
        pace.moved(LEAST - 1, at(18));
        assert_eq!(pace.wait(at(18)), at(19), "a byte too little is none");
        pace.moved(1, at(18));
        assert_eq!(pace.wait(at(18)), at(28));
    }

    #[test]
    fn what_is_forgotten_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut pace = Pace::default();
        pace.wait(at(2));
        pace.forget(at(1));
        assert_eq!(pace.wait(at(3)), at(12), "it was not waited for then");
        pace.forget(at(5));
        assert_eq!(pace.wait(at(6)), at(15));
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut pace = Pace::default();
        pace.wait(at(0));
        pace.moved(1, at(4));
        assert_eq!(pace.wait(at(1_000)), at(1_006));
    }
}
