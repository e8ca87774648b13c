pub(crate) mod ceiling;
pub(crate) mod fingerprint_key;
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod readiness;

use std::{sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Policy, Timestamp};

use crate::error::StoreError;

/// Remembers nonces, so that a signed request works once.
pub trait NonceStore: Send + Sync + 'static {
    /// Claims a nonce. At most one claim of a nonce is ever fresh, whatever the times of the claims.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; the request is then refused with 503.
    fn claim(
        &self,
        used: &NonceUse,
        now: Timestamp,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;
}

impl<T: NonceStore> NonceStore for Arc<T> {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        T::claim(self, used, now).await
    }
}

/// The time for which a signature is acceptable, and its nonce must be remembered.
///
/// A window is made from a [`Policy`], and so within its limits. A guard whose window differs from its server's policy is as
/// safe, but refuses more than necessary. Servers that share a guard need the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max_age: Duration,
    skew: Duration,
}

impl Default for Window {
    /// The window of [`Policy::default`].
    fn default() -> Self {
        Self::from(&Policy::default())
    }
}

impl From<&Policy> for Window {
    fn from(policy: &Policy) -> Self {
        Self { max_age: policy.max_age(), skew: policy.skew() }
    }
}

impl Window {
    /// Returns the greatest age of an accepted signature.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Returns the difference between clocks that is allowed either way.
    pub const fn skew(&self) -> Duration {
        self.skew
    }

    /// Returns how long after `created` a signature can still pass and its nonce must be remembered: `max_age + 2 · skew`. The
    /// second skew is for the clocks of servers.
    pub const fn lifetime(&self) -> Duration {
        self.max_age.saturating_add(self.skew).saturating_add(self.skew)
    }
}
