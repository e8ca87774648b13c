use std::{
    borrow::Cow,
    fmt::Display,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use countersign::{NonceUse, Timestamp, Window};

use super::{
    denied::Denied,
    failure::Failure,
    guard::Guard,
    nonces::RedisNonces,
    server::Redis,
    terms::{Charge, Rate, Tab},
};
use crate::{
    credential::{Credential, CredentialId},
    enforcement::Enforcement,
    error::StoreError,
    limits::{
        Budget, Limits, OverLimit, QuotaLeft, Verdict,
        client_address::{ClientAddress, ClientNetwork},
        gate::{Gate, GateVerdict, NoClientAddress},
        holder::Holder,
        limited::Limited,
    },
    nonces::readiness::Readiness,
};

/// The replay guard and the limits of several servers that share a Redis or Valkey.
///
/// A signed request is charged and claimed in one round trip; an unsigned read is charged in one round trip. If a caller has
/// too little left, the server refuses it without asking Redis until there is enough, for 10 s at most.
///
/// While Redis cannot be reached, signed requests are refused. Each server then counts unsigned reads alone, and allows its
/// share: each quota divided by the number of servers, and at least one. The metric `countersign_limits_fallback_total`
/// counts these reads.
///
/// ```no_run
/// use std::num::NonZeroU32;
///
/// use countersign::Window;
/// use countersign_store::{Limits, Redis, RedisGate, system_time};
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::single("redis://10.0.0.5")?.guard("shop")?;
/// let servers = NonZeroU32::new(2).unwrap(); // how many servers share it
/// let limits = Limits::default().signed(["600/1m".parse()?]);
/// let gate = RedisGate::connect(redis, Window::default(), limits, servers, system_time()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisGate {
    guard: Arc<Guard>,
    signed: CredentialBudget,
    unsigned: CredentialBudget,
    unsigned_by_address: Option<SharedBudget<ClientNetwork>>,
    enforcement: Enforcement,
    /// The limits of this server alone, used while Redis cannot be asked.
    share: Limited<RedisNonces>,
    falls_back: AtomicBool,
}

/// A budget of each lineage of credentials, counted in Redis: the servers' or, in its place, the credential's own.
#[derive(Debug)]
struct CredentialBudget {
    of_servers: Option<SharedBudget<Holder>>,
    /// What is known of charges to credentials with limits of their own.
    denied: Arc<Denied<Holder>>,
}

/// A budget counted in Redis.
#[derive(Clone, Debug)]
struct SharedBudget<S> {
    budget: Budget,
    rates: Vec<Rate>,
    denied: Arc<Denied<S>>,
}

impl RedisGate {
    /// Connects to a guard; other servers may use it already. All servers of a guard need the same window, clock error and
    /// limits. `servers` is their number.
    ///
    /// # Errors
    ///
    /// The errors of [`RedisNonces::connect`].
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
            let quotas = budget.quotas.iter().map(|quota| quota.share(servers));
            Budget::new(budget.name, quotas)
        };
        let shares = Limits {
            signed: None,
            unsigned: share(&limits.unsigned),
            unsigned_by_address: share(&limits.unsigned_by_address),
            enforcement: limits.enforcement,
        };
        Ok(Self {
            share: Limited::new(RedisNonces::of(Arc::clone(&guard)), shares).shared_by(servers),
            guard,
            signed: CredentialBudget::new(limits.signed),
            unsigned: CredentialBudget::new(limits.unsigned),
            unsigned_by_address: limits
                .unsigned_by_address
                .map(|budget| SharedBudget::new(budget, Arc::default())),
            enforcement: limits.enforcement,
            falls_back: AtomicBool::new(false),
        })
    }

    /// Charges a read in Redis, or refuses it by a remembered refusal.
    async fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, Failure> {
        let enforcement = self.enforcement;
        // The address first, so that one client cannot use up what the others of its key have.
        let by_address = self.unsigned_by_address.as_ref().zip(from.map(ClientAddress::network));
        let own = credential.limits.unsigned_budget();
        let by_credential = self.unsigned.of(credential.lineage, own);
        let by_credential = by_credential.as_ref().map(|(holder, budget)| (&**budget, *holder));
        let now = Instant::now();
        let denied = by_address.and_then(|(budget, address)| budget.denied(address, cost, now));
        let denied = denied.or_else(|| {
            let (budget, id) = by_credential?;
            budget.denied(id, cost, now)
        });
        if let Some(over) = denied {
            return Ok(Verdict::Exceeded(over));
        }
        let address_tab =
            by_address.map(|(budget, address)| budget.tab(address, cost, enforcement));
        let credential_tab = by_credential.map(|(budget, id)| budget.tab(id, cost, enforcement));
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
            // The script stops at the first refusal.
            (Verdict::Exceeded(_), _) | (_, None) => Verdict::Within(None),
            (Verdict::Within(_), Some((budget, id))) => budget.verdict(id, cost, next()?, now),
        };
        Ok(by_address.and(|| by_credential))
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

impl CredentialBudget {
    fn new(of_servers: Option<Budget>) -> Self {
        let denied = Arc::<Denied<_>>::default();
        let shared = |budget| SharedBudget::new(budget, Arc::clone(&denied));
        Self { of_servers: of_servers.map(shared), denied }
    }

    /// Returns the budget that holds for a lineage, and who is charged.
    fn of(
        &self,
        lineage: CredentialId,
        own: Option<&Budget>,
    ) -> Option<(Holder, Cow<'_, SharedBudget<Holder>>)> {
        let of_servers = self.of_servers.as_ref().map(|shared| &shared.budget);
        let (holder, budget) = Holder::of(lineage, own, of_servers)?;
        let shared = match &self.of_servers {
            Some(shared) if !holder.has_own() => Cow::Borrowed(shared),
            _ => Cow::Owned(SharedBudget::new(budget.clone(), Arc::clone(&self.denied))),
        };
        Some((holder, shared))
    }
}

impl<S: Copy + Display + Eq + Hash> SharedBudget<S> {
    fn new(budget: Budget, denied: Arc<Denied<S>>) -> Self {
        let rates = budget.quotas.iter().map(Rate::new).collect();
        Self { budget, rates, denied }
    }

    fn tab(&self, subject: S, cost: NonZeroU32, enforcement: Enforcement) -> Tab<'_> {
        let subject = format!("{}:{subject}", self.budget.name);
        Tab { subject, rates: &self.rates, cost, enforcement }
    }

    /// Returns the refusal that Redis would repeat, if it is known.
    fn denied(&self, subject: S, cost: NonZeroU32, now: Instant) -> Option<OverLimit> {
        match self.read(self.denied.find(subject, cost, now)?) {
            Verdict::Exceeded(over) => Some(over),
            Verdict::Within(_) => None,
        }
    }

    /// Returns the verdict of a charge, and remembers a refusal.
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
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        let limited = self.signed.of(credential.lineage, credential.limits.signed_budget());
        let limited = limited.as_ref().map(|(holder, budget)| (&**budget, *holder));
        let denied =
            limited.and_then(|(budget, holder)| budget.denied(holder, cost, Instant::now()));
        if let Some(over) = denied.filter(|_| self.enforcement == Enforcement::Enforce)
            && let Verdict::Exceeded(over) = self.enforcement.apply(Verdict::Exceeded(over))
        {
            return Ok(GateVerdict::Exceeded(over));
        }
        let tab = limited.map(|(budget, holder)| budget.tab(holder, cost, self.enforcement));
        let outcome = self.guard.claim(used, tab.as_ref(), now).await?;
        let verdict = limited
            .zip(outcome.charge)
            .map(|((budget, holder), charge)| budget.verdict(holder, cost, charge, Instant::now()));
        match (self.enforcement.apply(verdict.unwrap_or(Verdict::Within(None))), outcome.claim) {
            (Verdict::Within(left), Some(claim)) => Ok(GateVerdict::Claimed(claim, left)),
            (Verdict::Exceeded(over), None) => Ok(GateVerdict::Exceeded(over)),
            _ => Err(StoreError::new("Redis contradicts itself on what is over a limit")),
        }
    }

    async fn charge_unsigned(
        &self,
        credential: &Credential,
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
                self.share.charge_unsigned(credential, from, cost).await
            }
        }
    }
}

/// Takes one round trip. If Redis has lost its mark, makes a new mark, as a claim would.
impl Readiness for RedisGate {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(self.guard.ready_at(now).await?)
    }
}
