use std::{num::NonZeroU32, time::Duration};

/// An amount in a window, with a limit on how much of it may come at once.
///
/// A quota is refilled evenly, by GCRA: 60 a minute are one a second, after a burst. So twice the amount never passes at once,
/// at the edge of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    amount: NonZeroU32,
    window: Duration,
    burst: NonZeroU32,
}

/// The error for a window with a fraction of a second, below one second or above 31 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quota is for whole seconds: one of them to 31 days")]
pub struct BadWindow;

impl Quota {
    const LONGEST: Duration = Duration::from_secs(31 * 86_400);

    /// Makes a quota of an amount in a window. All of it may come at once.
    ///
    /// # Errors
    ///
    /// [`BadWindow`], since `RateLimit-Policy` counts windows in seconds.
    pub fn new(amount: NonZeroU32, window: Duration) -> Result<Self, BadWindow> {
        let seconds = Duration::from_secs(window.as_secs());
        if seconds != window || window.is_zero() || window > Self::LONGEST {
            return Err(BadWindow);
        }
        Ok(Self { amount, window, burst: amount })
    }

    /// Makes a quota of an amount in each second.
    pub const fn per_second(amount: NonZeroU32) -> Self {
        Self { amount, window: Duration::from_secs(1), burst: amount }
    }

    /// Makes a quota of an amount in each minute.
    pub const fn per_minute(amount: NonZeroU32) -> Self {
        Self { amount, window: Duration::from_secs(60), burst: amount }
    }

    /// Sets how much may come at once, after a long enough pause. Default: the amount.
    pub const fn burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }

    /// Returns the amount in a window.
    pub const fn amount(&self) -> NonZeroU32 {
        self.amount
    }

    /// Returns the window.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Returns how much may come at once, after a long enough pause.
    pub const fn at_once(&self) -> NonZeroU32 {
        self.burst
    }

    /// Returns the share of one server in this quota of several servers: at least 1.
    pub(crate) fn share(self, servers: NonZeroU32) -> Self {
        let share = |all: NonZeroU32| {
            let share = all.get().checked_div(servers.get()).and_then(NonZeroU32::new);
            share.unwrap_or(NonZeroU32::MIN)
        };
        Self { amount: share(self.amount), window: self.window, burst: share(self.burst) }
    }

    /// Returns the time to refill a cost of 1, rounded up, so that a quota is never refilled too fast.
    pub(crate) fn interval(&self) -> Duration {
        let nanos = self.window.as_nanos().div_ceil(u128::from(self.amount.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_seconds_that_can_be_waited_for() {
        let ten = NonZeroU32::new(10).unwrap();
        let day = Duration::from_secs(86_400);
        for (window, expected) in [
            (Duration::ZERO, Err(BadWindow)),
            (Duration::from_millis(999), Err(BadWindow)),
            (Duration::from_millis(1500), Err(BadWindow)),
            (day * 31 + Duration::from_secs(1), Err(BadWindow)),
            (Duration::from_secs(1), Ok(Duration::from_millis(100))),
            (day * 31, Ok(day * 31 / 10)),
        ] {
            assert_eq!(
                Quota::new(ten, window).map(|quota| quota.interval()),
                expected,
                "{window:?}"
            );
        }
    }

    #[test]
    fn a_server_has_its_share_and_at_least_one() {
        let number = |number| NonZeroU32::new(number).unwrap();
        for (amount, burst, servers, expected) in
            [(100, 10, 1, (100, 10)), (100, 10, 4, (25, 2)), (3, 1, 4, (1, 1)), (7, 9, 2, (3, 4))]
        {
            let quota = Quota::per_minute(number(amount)).burst(number(burst));
            let share = quota.share(number(servers));
            assert_eq!((share.amount().get(), share.at_once().get()), expected);
            assert_eq!(share.window(), Duration::from_secs(60));
        }
    }

    #[test]
    fn what_cannot_be_divided_is_refilled_slower_and_not_faster() {
        let quota = Quota::per_second(NonZeroU32::new(3).unwrap());
        assert_eq!(quota.interval(), Duration::from_nanos(333_333_334));
    }
}
