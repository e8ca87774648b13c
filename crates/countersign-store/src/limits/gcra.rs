use std::{num::NonZeroU32, time::Duration};

use crate::limits::quota::Quota;

/// The generic cell rate algorithm for one quota, on a clock that starts anywhere and never steps back.
///
/// The state of a subject is a single time: when its quota is full again (the *theoretical arrival time*). A time in the past
/// means a full quota, as for a subject that was never charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    interval: Duration,
    /// The most that this time may be ahead of now.
    tolerance: Duration,
    burst: u32,
}

/// The remainder of a subject's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remainder {
    pub(crate) remaining: u32,
    /// The time until the quota is full again.
    pub(crate) reset: Duration,
}

/// The outcome of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// The charge fits. Keep `full_at` as the subject's state.
    Fits { full_at: Duration, left: Remainder },
    /// The charge does not fit until `retry_after` has passed.
    TooMuch { retry_after: Duration, left: Remainder },
}

impl Gcra {
    pub(crate) fn new(quota: &Quota) -> Self {
        let (interval, burst) = (quota.interval(), quota.at_once().get());
        Self { interval, tolerance: interval.saturating_mul(burst), burst }
    }

    /// Charges `cost`.
    pub(crate) fn charge(&self, full_at: Duration, cost: NonZeroU32, now: Duration) -> Charged {
        let after = self.after(full_at, cost.get(), now);
        let latest = now.saturating_add(self.tolerance);
        if after > latest {
            let left = self.left(full_at, now);
            return Charged::TooMuch { retry_after: after.saturating_sub(latest), left };
        }
        Charged::Fits { full_at: after, left: self.left(after, now) }
    }

    /// Returns the time at which the quota is full again after a charge at `at`, on top of the charges before.
    pub(crate) fn after(&self, full_at: Duration, cost: u32, at: Duration) -> Duration {
        // A cost above the burst counts as the whole burst.
        let debt = self.interval.saturating_mul(cost.min(self.burst));
        full_at.max(at).saturating_add(debt)
    }

    fn left(&self, full_at: Duration, now: Duration) -> Remainder {
        let reset = full_at.saturating_sub(now);
        let free = self.tolerance.saturating_sub(reset);
        let remaining = free.as_nanos().checked_div(self.interval.as_nanos()).unwrap_or(0);
        Remainder { remaining: u32::try_from(remaining).unwrap_or(u32::MAX), reset }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let gcra = Gcra::new(&Quota::per_second(number(2)).burst(number(3)));
        let mut full_at = Duration::ZERO;
        let mut charge = |cost, at: u64| {
            let charged = gcra.charge(full_at, number(cost), Duration::from_millis(at));
            if let Charged::Fits { full_at: time, .. } = charged {
                full_at = time;
            }
            match charged {
                Charged::Fits { left, .. } => Ok(left.remaining),
                Charged::TooMuch { retry_after, .. } => Err(retry_after.as_millis()),
            }
        };
        assert_eq!(charge(1, 10_000), Ok(2));
        assert_eq!(charge(2, 10_000), Ok(0));
        assert_eq!(charge(1, 10_000), Err(500));
        assert_eq!(charge(1, 10_499), Err(1));
        assert_eq!(charge(1, 10_500), Ok(0));
        assert_eq!(charge(2, 10_900), Err(600));
        assert_eq!(charge(2, 11_500), Ok(0));
        // After a long pause, no more than the burst passes.
        assert_eq!(charge(9, 90_000), Ok(0));
        assert_eq!(charge(9, 91_000), Err(500));
        assert_eq!(charge(9, 91_500), Ok(0));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_was_refilled_passes(
            (amount, burst) in (1u32..50, 1u32..50),
            steps in proptest::collection::vec((0u64..400, 1u32..4), 1..200),
        ) {
            let gcra = Gcra::new(&Quota::per_second(number(amount)).burst(number(burst)));
            let (mut now, mut full_at, mut passed) = (SECOND, Duration::ZERO, Vec::new());
            for (wait, cost) in steps {
                now += Duration::from_millis(wait);
                let cost = cost.min(burst);
                match gcra.charge(full_at, number(cost), now) {
                    Charged::Fits { full_at: time, left } => {
                        full_at = time;
                        passed.push((now, cost));
                        prop_assert!(left.remaining < burst);
                    }
                    Charged::TooMuch { retry_after, .. } => {
                        // The wait is exact: neither too long nor too short.
                        let early = retry_after.saturating_sub(Duration::from_nanos(1));
                        let again = |after| gcra.charge(full_at, number(cost), now + after);
                        prop_assert!(matches!(again(retry_after), Charged::Fits { .. }), "too short");
                        prop_assert!(matches!(again(early), Charged::TooMuch { .. }), "too long");
                    }
                }
            }
            for (first, &(start, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for &(at, cost) in &passed[first..] {
                    sum += cost;
                    let refilled = (at - start).as_secs_f64() * f64::from(amount);
                    prop_assert!(f64::from(sum) <= f64::from(burst) + refilled + 1e-6);
                }
            }
        }
    }
}
