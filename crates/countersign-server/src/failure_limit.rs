use std::num::NonZeroU32;

use countersign_store::{ClientAddress, ClientNetwork, Enforcement, MemoryBudget, Verdict};

use crate::reason::{Blame, Reason};

/// How many failures a client address may have before its requests are refused unread.
///
/// It is looked at first, and charged only after a failure, so that nobody is charged who did not fail.
#[derive(Debug, Default)]
pub(crate) struct FailureLimit {
    pub(crate) budget: Option<MemoryBudget<ClientNetwork>>,
    pub(crate) enforcement: Enforcement,
}

impl FailureLimit {
    /// Refuses what comes from an address that failed too often.
    pub(crate) fn check(&self, from: Option<ClientAddress>) -> Result<(), Reason> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let from = from.ok_or(Reason::NoClientAddress)?;
        match self.enforcement.apply(budget.look(from.network())) {
            Verdict::Within(_) => Ok(()),
            Verdict::Exceeded(excess) => Err(Reason::TooManyFailures(excess)),
        }
    }

    /// The same once more, where others may have failed while this one waited.
    ///
    /// From here to the charge nothing waits, so that of many requests at once no more fail than the quota allows, and one
    /// for each thread.
    pub(crate) fn check_again(&self, from: Option<ClientAddress>) -> Result<(), Reason> {
        match self.enforcement {
            Enforcement::Enforce => self.check(from),
            // It was counted the first time.
            Enforcement::Report => Ok(()),
        }
    }

    /// Charges an address for a refusal, if its caller is to blame.
    pub(crate) fn charge(&self, from: Option<ClientAddress>, reason: &Reason) {
        if let (Some(budget), Some(from), Blame::Caller) = (&self.budget, from, reason.blame()) {
            // Whether it was the last one shows when the next one comes.
            drop(budget.charge(from.network(), NonZeroU32::MIN));
        }
    }
}
