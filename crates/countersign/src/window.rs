use std::time::Duration;

use crate::{rejection::Stale, timestamp::Timestamp};

/// The time for which a signature is acceptable, and its nonce must be remembered.
///
/// A window is made from a [`Policy`](crate::Policy), and so within its limits. A replay guard whose window differs from its
/// server's policy is as safe, but refuses more than necessary. Servers that share a guard need the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max_age: Duration,
    skew: Duration,
}

impl Default for Window {
    /// The window of [`Policy::default`](crate::Policy): 60 s, and a skew of 10 s.
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60), skew: Duration::from_secs(10) }
    }
}

impl Window {
    /// Makes a window, if `max_age` is 1 to 900 s and `skew` at most 60 s, both in whole seconds.
    pub(crate) fn new(max_age: Duration, skew: Duration) -> Option<Self> {
        let whole = max_age.subsec_nanos() == 0 && skew.subsec_nanos() == 0;
        if !whole || !(1..=900).contains(&max_age.as_secs()) || skew.as_secs() > 60 {
            return None;
        }
        Some(Self { max_age, skew })
    }

    /// Returns the greatest age of an accepted signature.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Returns the difference between clocks that is allowed either way.
    pub const fn skew(&self) -> Duration {
        self.skew
    }

    /// Returns how long after `created` a signature can still pass and its nonce must be remembered: `max_age + 2 · skew`.
    /// The second skew is for the clocks of servers.
    pub const fn lifetime(&self) -> Duration {
        self.max_age.saturating_add(self.skew).saturating_add(self.skew)
    }

    pub(crate) fn check(
        &self,
        created: Timestamp,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Stale> {
        let allowed = self.skew;
        if let Some(ahead) = created.since(now).filter(|&ahead| ahead > allowed) {
            return Err(Stale::FromTheFuture { ahead, allowed, now });
        }
        let allowed = self.max_age.saturating_add(self.skew);
        if let Some(age) = now.since(created).filter(|&age| age > allowed) {
            return Err(Stale::TooOld { age, allowed, now });
        }
        match expires {
            Some(expires) if now > expires => Err(Stale::Expired { now }),
            _ => Ok(()),
        }
    }
}
