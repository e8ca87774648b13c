pub(crate) mod client_address;
mod credential_budget;
pub(crate) mod gate;
pub(crate) mod gcra;
pub(crate) mod holder;
pub(crate) mod limited;
pub(crate) mod memory_budget;
pub(crate) mod own_limits;
pub(crate) mod quota;

use std::{fmt, sync::Arc, time::Duration};

use countersign::whole_seconds;

use self::{gcra::Gcra, quota::Quota};
use crate::enforcement::Enforcement;

/// The limits of callers. Default: no limits.
///
/// Unsigned reads and signed requests have separate budgets, and only valid signatures are charged to the signed budget: a
/// caller with only the publishable key cannot starve the holder of the private key.
///
/// ```
/// use countersign::Window;
/// use countersign_store::{Limited, Limits, MemoryNonces, Quota, system_time};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = Limits::default()
///     .signed(["600/1m".parse::<Quota>()?])
///     .unsigned(["6000/1m".parse::<Quota>()?])
///     .unsigned_by_address(["600/1m".parse::<Quota>()?]);
/// let guard = MemoryNonces::volatile(Window::default(), system_time())?;
/// let gate = Limited::new(guard, limits); // the gate of a verifier
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub(crate) signed: Option<Budget>,
    pub(crate) unsigned: Option<Budget>,
    pub(crate) unsigned_by_address: Option<Budget>,
    pub(crate) enforcement: Enforcement,
}

impl Enforcement {
    /// Returns the verdict for the caller. With [`Enforcement::Report`] every request passes, and callers learn of no limit.
    ///
    /// A request over a limit increments the metric `countersign_over_limit_total`. Its labels are `budget`, the name of the
    /// budget, and `enforcement`, which is `enforced` or `reported`.
    pub fn apply(self, verdict: Verdict) -> Verdict {
        if let Verdict::Exceeded(OverLimit { left, .. }) = &verdict {
            let enforcement = match self {
                Self::Enforce => "enforced",
                Self::Report => "reported",
            };
            let labels = [("budget", left.budget), ("enforcement", enforcement)];
            metrics::counter!("countersign_over_limit_total", &labels).increment(1);
        }
        match self {
            Self::Enforce => verdict,
            Self::Report => Verdict::Within(None),
        }
    }
}

impl Limits {
    /// Sets the quotas of each credential's signed requests. All of them must allow a request. A credential with limits
    /// [of its own](crate::OwnLimits) has those in place of these.
    pub fn signed(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.signed = Budget::new("signed", quotas);
        self
    }

    /// Sets the quotas of unsigned reads with each publishable key, by all clients together. Signed requests that are refused
    /// before their nonce is claimed, for example with a revoked key, are charged to these quotas too.
    pub fn unsigned(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.unsigned = Budget::new("unsigned", quotas);
        self
    }

    /// Sets the same quotas as [`Limits::unsigned`] for each client address. They are charged first, so that one client cannot
    /// use up the budget that all clients with a key share.
    ///
    /// The server provides the address. Usually this is the peer of the socket, which behind a proxy is the proxy.
    pub fn unsigned_by_address(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.unsigned_by_address = Budget::new("address", quotas);
        self
    }

    /// Lets requests over a limit pass, and counts them as [`Enforcement::apply`] says. Use it to see the effect of a limit
    /// before you enforce it.
    pub fn insecure_report_only(mut self) -> Self {
        self.enforcement = Enforcement::Report;
        self
    }
}

/// Quotas that are charged together, under the name that clients see. Your own [`Gate`](crate::Gate) needs a budget to make a
/// [`QuotaLeft`].
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
///
/// use countersign_store::{Budget, OverLimit, QuotaLeft, Quota};
///
/// let quota = Quota::per_minute(NonZeroU32::MIN);
/// let budget = Budget::new("signed", [quota]).unwrap();
/// let left = QuotaLeft::new(&budget, &quota, 0, Duration::from_secs(60));
/// assert_eq!(left.to_string(), r#""signed-60";r=0;t=60"#);
/// let over = OverLimit::new(left, Duration::from_secs(30));
/// assert_eq!(over.to_string(), r#""signed-60";r=0;t=30"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(crate) name: &'static str,
    pub(crate) quotas: Vec<Quota>,
    /// Of each quota.
    pub(crate) rates: Vec<Gcra>,
    policy: Arc<str>,
}

impl Budget {
    /// Makes a budget of these quotas, each of which must allow a charge. `None` without a quota. Clients see the name in
    /// `RateLimit`: letters, digits, `-` and `_`.
    pub fn new(name: &'static str, quotas: impl IntoIterator<Item = Quota>) -> Option<Self> {
        let quotas: Vec<_> = quotas.into_iter().collect();
        let policies = quotas.iter().map(|quota| {
            let (amount, window) = (quota.amount(), quota.window().as_secs());
            format!("\"{name}-{window}\";q={amount};w={window}")
        });
        let policy = policies.collect::<Vec<_>>().join(", ").into();
        let rates = quotas.iter().map(Gcra::new).collect();
        if quotas.is_empty() { None } else { Some(Self { name, quotas, rates, policy }) }
    }

    /// The name that clients see.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the quotas. There is at least one.
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }
}

/// The remainder of a budget, given by its quota with the least left.
///
/// It prints as a member of the `RateLimit` field (draft-ietf-httpapi-ratelimit-headers-10 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLeft {
    budget: &'static str,
    policy: Arc<str>,
    window: u64,
    remaining: u32,
    reset: Duration,
}

impl QuotaLeft {
    /// Makes the remainder of a budget from the `quota` with the least left. This quota has `remaining` now, and is full again
    /// after `reset` if nothing is charged until then.
    pub fn new(budget: &Budget, quota: &Quota, remaining: u32, reset: Duration) -> Self {
        let (window, policy) = (quota.window().as_secs(), Arc::clone(&budget.policy));
        Self { budget: budget.name, policy, window, remaining, reset }
    }

    /// Returns the remaining amount of the quota.
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns the name of the quota, as in `RateLimit` and `RateLimit-Policy`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.budget, self.window)
    }

    /// Returns all quotas of the budget, as the value of the `RateLimit-Policy` field (the draft's §3).
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

impl fmt::Display for QuotaLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_until(self.reset, f)
    }
}

impl QuotaLeft {
    fn write_until(&self, time: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, window, remaining, .. } = self;
        write!(f, "\"{budget}-{window}\";r={remaining};t={}", whole_seconds(time))
    }
}

/// The outcome of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an unused verdict limits nothing"]
pub enum Verdict {
    /// The request is allowed. If it has a limit, it was charged, and this remainder is left.
    Within(Option<QuotaLeft>),
    /// The request is over a limit, and was not charged.
    Exceeded(OverLimit),
}

impl Verdict {
    /// Combines two verdicts. Asks for the second only if the first allows the request, and keeps the quota with less left.
    pub(crate) fn and(self, second: impl FnOnce() -> Self) -> Self {
        let Self::Within(left) = self else { return self };
        match second() {
            Self::Within(other) => {
                Self::Within(left.into_iter().chain(other).min_by_key(QuotaLeft::remaining))
            }
            exceeded @ Self::Exceeded(_) => exceeded,
        }
    }
}

/// A request over a limit.
///
/// It prints as a member of the `RateLimit` field. Its `t` is the time until a retry is allowed, the same as `Retry-After`, as
/// the draft asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The quota that refuses the request.
    pub left: QuotaLeft,
    /// The time until a retry is allowed, if nothing else is charged until then.
    pub retry_after: Duration,
}

impl OverLimit {
    /// Makes the refusal of a charge that the quota allows after `retry_after`.
    pub const fn new(left: QuotaLeft, retry_after: Duration) -> Self {
        Self { left, retry_after }
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left.write_until(self.retry_after, f)
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
        let left = QuotaLeft::new(&budget, &daily, 9, Duration::from_millis(2001));
        assert_eq!(left.policy(), r#""signed-1";q=10;w=1, "signed-86400";q=10000;w=86400"#);
        assert_eq!(left.to_string(), r#""signed-86400";r=9;t=3"#);
        assert_eq!(left.name(), "signed-86400");
        let over = OverLimit { left, retry_after: Duration::from_millis(1001) };
        assert_eq!(over.to_string(), r#""signed-86400";r=9;t=2"#);
    }
}
