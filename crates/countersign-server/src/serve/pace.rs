use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a peer is waited for that has moved nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer it is waited for with every byte that it sends or takes: 10 s with 5,000 bytes.
const PER_BYTE: Duration = Duration::from_millis(2);
/// The longest that it is waited for, however much it has moved before.
const MOST: Duration = Duration::from_secs(60);

/// Whether a peer keeps up: with what it sends, or with what it takes. Only the time counts in which it is waited for.
#[derive(Debug)]
pub(super) struct Pace {
    since: Option<Instant>,
    left: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: None, left: PATIENCE }
    }
}

impl Pace {
    /// It is waited for, until this time at most.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since.checked_add(self.left).unwrap_or(since)
    }

    /// What was before this time does not count.
    pub(super) fn forget(&mut self, before: Instant) {
        if self.since.is_some_and(|since| since < before) {
            *self = Self { since: Some(before), left: self.left.max(PATIENCE) };
        }
    }

    /// It has moved so much, and nobody waits for it until somebody says so.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.since.take() {
            let left = self.left.saturating_sub(now.saturating_duration_since(since));
            // Whoever had no patience left would have said so, unless it was at something else.
            self.left = if left.is_zero() { PATIENCE } else { left };
        }
        let earned = PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.left = self.left.saturating_add(earned).min(MOST);
    }
}

/// A [`Pace`] for who is polled.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pace: Pace,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Waits for the peer. Ready when it was too slow.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.pace.wait(Instant::now());
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(context)
    }

    /// The peer has moved so much.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.pace.moved(bytes, Instant::now());
    }

    /// Whether the peer is waited for.
    pub(super) const fn is_on(&self) -> bool {
        self.pace.since.is_some()
    }
}

/// A peer that sends or takes less than 500 bytes a second.
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
        pace.moved(5_000, at(9));
        assert_eq!(pace.wait(at(9)), at(20), "5,000 bytes are another 10 s");
        pace.moved(500, at(19));
        assert_eq!(pace.wait(at(19)), at(21), "and less are less");
        pace.moved(1 << 30, at(19));
        assert_eq!(pace.wait(at(19)), at(79), "but nothing is more than a minute");
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
        pace.moved(0, at(4));
        assert_eq!(pace.wait(at(1_000)), at(1_006));
    }
}
