use super::{Budget, quota::Quota};

/// Limits of a credential of its own, which hold in place of those of the server. Default: none.
///
/// Signed requests and unsigned reads have separate limits: without quotas of its own for one of the two, those of the server
/// hold for it. Limits by client address hold in any case, and a server that only reports what is over its
/// [`Limits`](crate::Limits) does so here as well. Charges are counted for the credential's
/// [lineage](crate::Credential::lineage), so that a rotated key has no second budget.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use countersign_store::{OwnLimits, Quota};
///
/// let hundred = NonZeroU32::new(100).unwrap();
/// let limits = OwnLimits::default().signed([Quota::per_minute(hundred)]);
/// assert_eq!(limits.signed_quotas(), [Quota::per_minute(hundred)]);
/// assert!(limits.unsigned_quotas().is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnLimits {
    signed: Option<Budget>,
    unsigned: Option<Budget>,
}

impl OwnLimits {
    /// Sets the quotas of signed requests. All of them must allow a request. Default: none, so that the server's hold.
    pub fn signed(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.signed = Budget::new("signed", quotas);
        self
    }

    /// Sets the quotas of unsigned reads with the publishable key, by all clients together. Default: none, so that the
    /// server's hold.
    pub fn unsigned(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.unsigned = Budget::new("unsigned", quotas);
        self
    }

    /// Returns the quotas of signed requests.
    pub fn signed_quotas(&self) -> &[Quota] {
        self.signed.as_ref().map_or(&[], Budget::quotas)
    }

    /// Returns the quotas of unsigned reads.
    pub fn unsigned_quotas(&self) -> &[Quota] {
        self.unsigned.as_ref().map_or(&[], Budget::quotas)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.signed.is_none() && self.unsigned.is_none()
    }

    pub(crate) const fn signed_budget(&self) -> Option<&Budget> {
        self.signed.as_ref()
    }

    pub(crate) const fn unsigned_budget(&self) -> Option<&Budget> {
        self.unsigned.as_ref()
    }
}
