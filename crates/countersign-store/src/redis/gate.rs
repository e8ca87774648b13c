use std::{
    fmt::Display,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use countersign::{NonceUse, Timestamp};

use super::{
    denied::Denied,
    failure::Failure,
    guard::Guard,
    nonces::RedisNonces,
    server::Redis,
    terms::{Charge, Over, Rate, Tab},
};
use crate::{
    credential::CredentialId,
    enforcement::Enforcement,
    error::StoreError,
    limits::{
        Budget, Limits, OverLimit, QuotaLeft, Verdict,
        client_address::{ClientAddress, ClientNetwork},
        gate::{Gate, NoClientAddress, Passage},
        limited::Limited,
        quota::Quota,
    },
    nonces::{Window, readiness::Readiness},
};

/// The replay guard and the limits of several servers, in a Redis or Valkey that they share.
///
/// A signed request is charged and claimed in one round trip, an unsigned read is charged in one. A server refuses a caller with
/// too little left by itself until there is enough, and asks Redis again after 10 s at most.
///
/// Without Redis signed requests are refused. Each server then counts unsigned reads alone, and allows its share: each quota
/// divided by the number of servers, and at least one. The metric `countersign_limits_fallback_total` counts these reads.
#[derive(Debug)]
pub struct RedisGate {
    guard: Arc<Guard>,
    signed: Option<SharedBudget<i64>>,
    unsigned: Option<SharedBudget<i64>>,
    unsigned_by_address: Option<SharedBudget<ClientNetwork>>,
    enforcement: Enforcement,
    /// Of this server, while Redis cannot be asked.
    share: Limited<RedisNonces>,
    falls_back: AtomicBool,
}

/// A budget that is counted in Redis.
#[derive(Debug)]
struct SharedBudget<S> {
    budget: Budget,
    rates: Vec<Rate>,
    denied: Denied<S>,
}

impl RedisGate {
    /// Joins a guard that other servers may share already. All its servers need the same window, clock error and limits;
    /// `servers` is their number.
    ///
    /// # Errors
    ///
    /// As [`RedisNonces::connect`].
    pub async fn connect(
        redis: Redis,
        window: Window,
        limits: Limits,
        servers: NonZeroU32,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let guard = Guard::connect(redis, window, now).await?;
        let share = |budget: &Option<Budget>| {
            let budget = budget.as_ref()?;
            let quotas = budget.quotas.iter().map(|quota| share_of(quota, servers));
            Budget::new(budget.name, quotas)
        };
        let shares = Limits {
            signed: None,
            unsigned: share(&limits.unsigned),
            unsigned_by_address: share(&limits.unsigned_by_address),
            enforcement: limits.enforcement,
        };
        Ok(Self {
            share: Limited::new(RedisNonces::of(Arc::clone(&guard)), shares),
            guard,
            signed: limits.signed.map(SharedBudget::new),
            unsigned: limits.unsigned.map(SharedBudget::new),
            unsigned_by_address: limits.unsigned_by_address.map(SharedBudget::new),
            enforcement: limits.enforcement,
            falls_back: AtomicBool::new(false),
        })
    }

    /// What Redis, or what was remembered of it, says to a read.
    async fn charge_unsigned(
        &self,
        credential: CredentialId,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, Failure> {
        let over = self.over();
        // The address first, so that one client cannot use up what the others of its key have.
        let by_address = self.unsigned_by_address.as_ref().zip(from.map(ClientAddress::network));
        let by_credential = self.unsigned.as_ref().map(|budget| (budget, credential.get()));
        let now = Instant::now();
        let denied = by_address.and_then(|(budget, address)| budget.denied(address, cost, now));
        let denied = denied.or_else(|| {
            let (budget, id) = by_credential?;
            budget.denied(id, cost, now)
        });
        if let Some(over) = denied {
            return Ok(Verdict::Exceeded(over));
        }
        let address_tab = by_address.map(|(budget, address)| budget.tab(address, cost, over));
        let credential_tab = by_credential.map(|(budget, id)| budget.tab(id, cost, over));
        let tabs: Vec<_> = address_tab.into_iter().chain(credential_tab).collect();
        if tabs.is_empty() {
            return Ok(Verdict::Within(None));
        }
        let mut charges = self.guard.charge(&tabs).await?.into_iter();
        let now = Instant::now();
        let mut next = || charges.next().ok_or(Failure::Unreadable("it lacks a budget"));
        let by_address = match by_address {
            Some((budget, address)) => budget.verdict(address, cost, next()?, now),
            None => Verdict::Within(None),
        };
        let by_credential = match (&by_address, by_credential) {
            // The script asks no further.
            (Verdict::Exceeded(_), _) | (_, None) => Verdict::Within(None),
            (Verdict::Within(_), Some((budget, id))) => budget.verdict(id, cost, next()?, now),
        };
        Ok(by_address.and(|| by_credential))
    }

    fn over(&self) -> Over {
        match self.enforcement {
            Enforcement::Enforce => Over::Refused,
            Enforcement::Report => Over::Reported,
        }
    }

    /// Tells in the log when this server begins to count for itself, and when it ends.
    fn tell(&self, failure: Option<&Failure>) {
        let falls_back = failure.is_some();
        if self.falls_back.swap(falls_back, Ordering::AcqRel) == falls_back {
            return;
        }
        match failure {
            Some(failure) => {
                let error = failure as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "limits of unsigned reads are counted by this server alone, without Redis"
                );
            }
            None => tracing::info!("limits of unsigned reads are counted in Redis again"),
        }
    }
}

impl<S: Copy + Display + Eq + Hash> SharedBudget<S> {
    fn new(budget: Budget) -> Self {
        let rates = budget.quotas.iter().map(Rate::new).collect();
        Self { budget, rates, denied: Denied::default() }
    }

    fn tab(&self, subject: S, cost: NonZeroU32, over: Over) -> Tab<'_> {
        let subject = format!("{}:{subject}", self.budget.name);
        Tab { subject, rates: &self.rates, cost, over }
    }

    /// What Redis would say, if that is known.
    fn denied(&self, subject: S, cost: NonZeroU32, now: Instant) -> Option<OverLimit> {
        match self.read(self.denied.find(subject, cost, now)?) {
            Verdict::Exceeded(over) => Some(over),
            Verdict::Within(_) => None,
        }
    }

    /// What Redis said, which is remembered if it does not fit.
    fn verdict(&self, subject: S, cost: NonZeroU32, charge: Charge, now: Instant) -> Verdict {
        self.denied.remember(subject, cost, charge, now);
        self.read(charge)
    }

    fn read(&self, charge: Charge) -> Verdict {
        let Charge { quota, remaining, reset, retry_after } = charge;
        let quota = self.budget.quotas.get(quota).or_else(|| self.budget.quotas.first());
        let left = quota.map(|quota| QuotaLeft::new(&self.budget, quota, remaining, reset));
        match (left, retry_after) {
            (Some(left), Some(retry_after)) => Verdict::Exceeded(OverLimit { left, retry_after }),
            (left, _) => Verdict::Within(left),
        }
    }
}

impl Gate for RedisGate {
    async fn signed(
        &self,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<Passage, StoreError> {
        let (budget, credential) = (self.signed.as_ref(), used.credential());
        let denied = budget.and_then(|budget| budget.denied(credential, cost, Instant::now()));
        if let Some(over) = denied.filter(|_| self.enforcement == Enforcement::Enforce)
            && let Verdict::Exceeded(over) = self.enforcement.apply(Verdict::Exceeded(over))
        {
            return Ok(Passage::Limited(over));
        }
        let tab = budget.map(|budget| budget.tab(credential, cost, self.over()));
        let answer = self.guard.claim(used, tab.as_ref(), now).await?;
        let verdict = budget
            .zip(answer.charge)
            .map(|(budget, charge)| budget.verdict(credential, cost, charge, Instant::now()));
        match (self.enforcement.apply(verdict.unwrap_or(Verdict::Within(None))), answer.claim) {
            (Verdict::Within(left), Some(claim)) => Ok(Passage::Claimed(claim, left)),
            (Verdict::Exceeded(over), None) => Ok(Passage::Limited(over)),
            _ => Err(StoreError::new("Redis contradicts itself on what is over a limit")),
        }
    }

    async fn unsigned(
        &self,
        credential: CredentialId,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        if self.unsigned_by_address.is_some() && from.is_none() {
            return Err(NoClientAddress);
        }
        let charged = self.charge_unsigned(credential, from, cost).await;
        self.tell(charged.as_ref().err());
        match charged {
            Ok(verdict) => Ok(self.enforcement.apply(verdict)),
            Err(_) => {
                metrics::counter!("countersign_limits_fallback_total").increment(1);
                self.share.unsigned(credential, from, cost).await
            }
        }
    }
}

/// One round trip. Where Redis has lost its mark, this makes a new one, as a claim would.
impl Readiness for RedisGate {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(self.guard.ready_at(now).await?)
    }
}

/// What one of several servers may allow by itself.
fn share_of(quota: &Quota, servers: NonZeroU32) -> Quota {
    let share = |all: NonZeroU32| {
        let share = all.get().checked_div(servers.get()).and_then(NonZeroU32::new);
        share.unwrap_or(NonZeroU32::MIN)
    };
    // The window is that of a quota, so there is one.
    let one = Quota::new(share(quota.amount()), quota.window()).unwrap_or(*quota);
    one.burst(share(quota.at_once()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_has_its_share_and_at_least_one() {
        let number = |number| NonZeroU32::new(number).unwrap();
        for (amount, burst, servers, expected) in
            [(100, 10, 1, (100, 10)), (100, 10, 4, (25, 2)), (3, 1, 4, (1, 1)), (7, 9, 2, (3, 4))]
        {
            let quota = Quota::per_minute(number(amount)).burst(number(burst));
            let share = share_of(&quota, number(servers));
            assert_eq!((share.amount().get(), share.at_once().get()), expected);
            assert_eq!(share.window(), Duration::from_secs(60));
        }
    }
}
