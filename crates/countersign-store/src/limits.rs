pub(crate) mod client_address;
pub(crate) mod gate;
pub(crate) mod gcra;
pub(crate) mod limited;
pub(crate) mod memory_budget;
pub(crate) mod quota;

use std::{fmt, sync::Arc, time::Duration};

use self::quota::Quota;
use crate::enforcement::Enforcement;

/// What callers may do in how long. Nothing is limited that is not named.
///
/// Reads that show only a publishable key and signed calls have budgets of their own, and only signatures that hold are
/// charged to the signed one: whoever knows just the publishable key cannot starve the holder of the private one.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub(crate) signed: Option<Budget>,
    pub(crate) unsigned: Option<Budget>,
    pub(crate) unsigned_by_address: Option<Budget>,
    pub(crate) enforcement: Enforcement,
}

impl Enforcement {
    /// What becomes of a verdict. A limit that is only reported lets everything pass, and callers are told nothing of it.
    ///
    /// What is over a limit counts up the metric `countersign_over_limit_total`, whose labels are `budget`, the name of the
    /// budget, and `enforcement`, which is `enforced` or `reported`.
    pub fn apply(self, verdict: Verdict) -> Verdict {
        if let Verdict::Exceeded(Excess { level, .. }) = &verdict {
            let enforcement = match self {
                Self::Enforce => "enforced",
                Self::Report => "reported",
            };
            let labels = [("budget", level.budget), ("enforcement", enforcement)];
            metrics::counter!("countersign_over_limit_total", &labels).increment(1);
        }
        match self {
            Self::Enforce => verdict,
            Self::Report => Verdict::Within(None),
        }
    }
}

impl Limits {
    /// What each credential may do by signed requests. Each of the quotas has to allow it.
    pub fn signed(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.signed = Budget::new("signed", quotas);
        self
    }

    /// What may be read with each publishable key, by all who show it together. Signed requests that are refused before their
    /// nonce is claimed, as those of a revoked key, are charged to it too.
    pub fn unsigned(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.unsigned = Budget::new("unsigned", quotas);
        self
    }

    /// As [`Limits::unsigned`], for each client address. It is charged first, so that one client cannot use
    /// up what all who show a key have together.
    ///
    /// The address is what the server takes for it: mostly the peer of the socket, which behind a proxy is the proxy.
    pub fn unsigned_by_address(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.unsigned_by_address = Budget::new("address", quotas);
        self
    }

    /// Lets through what is over a limit, and counts it as [`Enforcement::apply`] says: to see what a limit would do.
    pub fn insecure_report_only(mut self) -> Self {
        self.enforcement = Enforcement::Report;
        self
    }
}

/// Quotas that are charged together, under the name that clients see. A [`Gate`](crate::Gate) of your own needs it to make a
/// [`Level`].
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
///
/// use countersign_store::{Budget, Excess, Level, Quota};
///
/// let quota = Quota::per_minute(NonZeroU32::MIN);
/// let budget = Budget::new("signed", [quota]).unwrap();
/// let level = Level::new(&budget, &quota, 0, Duration::from_secs(60));
/// assert_eq!(level.to_string(), r#""signed-60";r=0;t=60"#);
/// let excess = Excess::new(level, Duration::from_secs(30));
/// assert_eq!(excess.to_string(), r#""signed-60";r=0;t=30"#);
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    pub(crate) name: &'static str,
    pub(crate) quotas: Vec<Quota>,
    policy: Arc<str>,
}

impl Budget {
    /// A budget of these quotas, each of which has to allow a charge; `None` without a quota. Its name is what clients see in
    /// `RateLimit`: letters, digits, `-` and `_`.
    pub fn new(name: &'static str, quotas: impl IntoIterator<Item = Quota>) -> Option<Self> {
        let quotas: Vec<_> = quotas.into_iter().collect();
        let policies = quotas.iter().map(|quota| {
            let (amount, window) = (quota.amount(), quota.window().as_secs());
            format!("\"{name}-{window}\";q={amount};w={window}")
        });
        let policy = policies.collect::<Vec<_>>().join(", ").into();
        if quotas.is_empty() { None } else { Some(Self { name, quotas, policy }) }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its quotas, of which there is at least one.
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }
}

/// How much is left of the quota that is nearest to its end.
///
/// It prints as a member of the `RateLimit` field (draft-ietf-httpapi-ratelimit-headers-10 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    budget: &'static str,
    policy: Arc<str>,
    window: u64,
    remaining: u32,
    reset: Duration,
}

impl Level {
    /// The level of a budget, by the `quota` with the least left: `remaining` now, and full again after `reset` if nothing is
    /// charged until then.
    pub fn new(budget: &Budget, quota: &Quota, remaining: u32, reset: Duration) -> Self {
        let (window, policy) = (quota.window().as_secs(), Arc::clone(&budget.policy));
        Self { budget: budget.name, policy, window, remaining, reset }
    }

    /// What is left of it now.
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The name of the quota, as `RateLimit` and `RateLimit-Policy` have it.
    pub fn name(&self) -> String {
        format!("{}-{}", self.budget, self.window)
    }

    /// All quotas of the budget, as the `RateLimit-Policy` field (the draft's §3).
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_until(self.reset, f)
    }
}

impl Level {
    fn write_until(&self, time: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, window, remaining, .. } = self;
        write!(f, "\"{budget}-{window}\";r={remaining};t={}", whole_seconds(time))
    }
}

/// Rounded up: who waits less comes too early.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// The answer to a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody looks at limits nothing"]
pub enum Verdict {
    /// It is allowed. If it is limited it was charged, and this is left.
    Within(Option<Level>),
    /// It is over a limit, and was not charged.
    Exceeded(Excess),
}

impl Verdict {
    /// What both say together; the second is asked if the first allows it. The level is that which has least left.
    pub(crate) fn and(self, second: impl FnOnce() -> Self) -> Self {
        let Self::Within(level) = self else { return self };
        match second() {
            Self::Within(other) => {
                Self::Within(level.into_iter().chain(other).min_by_key(Level::remaining))
            }
            exceeded @ Self::Exceeded(_) => exceeded,
        }
    }
}

/// What is over a limit.
///
/// It prints as a member of the `RateLimit` field whose `t` is when it is allowed: it says the same as the `Retry-After`
/// beside it, as the draft asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What is left of the quota that does not allow it.
    pub level: Level,
    /// When it is allowed, if nothing else is charged until then.
    pub retry_after: Duration,
}

impl Excess {
    /// A charge that this quota does not allow before `retry_after`.
    pub const fn new(level: Level, retry_after: Duration) -> Self {
        Self { level, retry_after }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.write_until(self.retry_after, f)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn levels_print_as_the_fields_of_the_draft() {
        let amount = |amount| NonZeroU32::new(amount).unwrap();
        let (burst, day) = (Quota::per_second(amount(10)), Duration::from_secs(86_400));
        let daily = Quota::new(amount(10_000), day).unwrap();
        let limits = Limits::default().signed([burst, daily]);
        let budget = limits.signed.unwrap();
        assert_eq!((budget.name(), budget.quotas()), ("signed", &[burst, daily][..]));
        let level = Level::new(&budget, &daily, 9, Duration::from_millis(2001));
        assert_eq!(level.policy(), r#""signed-1";q=10;w=1, "signed-86400";q=10000;w=86400"#);
        assert_eq!(level.to_string(), r#""signed-86400";r=9;t=3"#);
        assert_eq!(level.name(), "signed-86400");
        let excess = Excess { level, retry_after: Duration::from_millis(1001) };
        assert_eq!(excess.to_string(), r#""signed-86400";r=9;t=2"#);
    }
}
