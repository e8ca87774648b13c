use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    Budget, Verdict,
    holder::Holder,
    memory_budget::{Accounts, Overflow, Reservation},
};
use crate::credential::CredentialId;

/// A budget for each lineage of credentials, counted in this process: the server's or, in its place, the credential's own.
#[derive(Debug)]
pub(crate) struct CredentialBudget {
    of_server: Option<Budget>,
    accounts: Accounts<Holder>,
}

impl CredentialBudget {
    pub(crate) fn new(of_server: Option<Budget>) -> Self {
        let quotas = of_server.as_ref().map_or(0, |budget| budget.quotas.len());
        Self { of_server, accounts: Accounts::new(quotas) }
    }

    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Fn() -> Duration + Send + Sync>) {
        self.accounts.clock = clock;
    }

    /// Charges a lineage. If it has too little left, charges nothing.
    pub(crate) fn charge(
        &self,
        lineage: CredentialId,
        own: Option<&Budget>,
        cost: NonZeroU32,
    ) -> Verdict {
        match Holder::of(lineage, own, self.of_server.as_ref()) {
            None => Verdict::Within(None),
            Some((holder, budget)) => self.accounts.charge(budget, holder, overflow(holder), cost),
        }
    }

    /// Sets `cost` aside. If the lineage has too little left, sets nothing aside.
    pub(crate) fn reserve<'b>(
        &'b self,
        lineage: CredentialId,
        own: Option<&'b Budget>,
        cost: NonZeroU32,
    ) -> (Verdict, Option<Reservation<'b, Holder>>) {
        match Holder::of(lineage, own, self.of_server.as_ref()) {
            None => (Verdict::Within(None), None),
            Some((holder, budget)) => self.accounts.reserve(budget, holder, overflow(holder), cost),
        }
    }
}

/// Limits of one's own cannot be shared with others. There are never more of them than a registry has.
const fn overflow(holder: Holder) -> Overflow {
    if holder.has_own() { Overflow::Counted } else { Overflow::Shared }
}
