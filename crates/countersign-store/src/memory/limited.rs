use std::num::NonZeroU32;

use countersign::{NonceUse, Timestamp};

use super::MemoryBudget;
use crate::{
    ClientAddress, CredentialId, Excess, Gate, Limits, NoClientAddress, NonceStore, Passage,
    StoreError, Verdict, limits::Enforcement,
};

/// A gate whose limits are counted in this process, in front of any replay guard.
#[derive(Debug)]
pub struct Limited<N> {
    nonces: N,
    signed: Option<MemoryBudget<CredentialId>>,
    unsigned: UnsignedBudgets,
    enforcement: Enforcement,
}

/// What limits reads that show a publishable key.
#[derive(Debug)]
pub(crate) struct UnsignedBudgets {
    by_credential: Option<MemoryBudget<CredentialId>>,
    by_address: Option<MemoryBudget<ClientAddress>>,
}

impl<N> Limited<N> {
    /// Limits in front of a replay guard.
    pub fn new(nonces: N, limits: Limits) -> Self {
        Self {
            nonces,
            signed: limits.signed.map(MemoryBudget::of),
            unsigned: UnsignedBudgets {
                by_credential: limits.unsigned.map(MemoryBudget::of),
                by_address: limits.unsigned_by_address.map(MemoryBudget::of),
            },
            enforcement: limits.enforcement,
        }
    }
}

impl UnsignedBudgets {
    /// The address first, so that one client cannot use up what the others of its key have.
    pub(crate) fn charge(
        &self,
        credential: CredentialId,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        if let Some(budget) = &self.by_address {
            let verdict = budget.charge(from.ok_or(NoClientAddress)?, cost);
            if self.by_credential.is_none() || matches!(verdict, Verdict::Exceeded(_)) {
                return Ok(verdict);
            }
        }
        let budget = self.by_credential.as_ref();
        Ok(budget.map_or(Verdict::Within(None), |budget| budget.charge(credential, cost)))
    }
}

impl Enforcement {
    /// What becomes of a verdict: one that is only reported passes, and is counted as one that would not.
    pub(crate) fn apply(self, verdict: Verdict) -> Verdict {
        let Verdict::Exceeded(Excess { level, retry_after }) = verdict else { return verdict };
        match self {
            Self::Enforce => Verdict::Exceeded(Excess { level, retry_after }),
            Self::Report => Verdict::Within(Some(level)),
        }
    }
}

impl<N: NonceStore> Gate for Limited<N> {
    async fn signed(
        &self,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<Passage, StoreError> {
        let credential = CredentialId::new(used.credential());
        let verdict = self.signed.as_ref().map(|budget| budget.charge(credential, cost));
        match self.enforcement.apply(verdict.unwrap_or(Verdict::Within(None))) {
            Verdict::Exceeded(excess) => Ok(Passage::Limited(excess)),
            Verdict::Within(level) => {
                Ok(Passage::Claimed(self.nonces.claim(used, now).await?, level))
            }
        }
    }

    async fn unsigned(
        &self,
        credential: CredentialId,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        let verdict = self.unsigned.charge(credential, from, cost)?;
        Ok(self.enforcement.apply(verdict))
    }
}
