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
    /// Claims a nonce. Of all claims of one nonce, at whatever times, at most one is fresh.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot answer; the request is then refused with 503.
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

/// The time for which a signature is acceptable, and its nonce has to be remembered.
///
/// A window is made of a [`Policy`], and so within its limits. A guard with another window than its server's policy is as safe,
/// and refuses more than it has to. Servers that share a guard need the same window.
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
    /// The oldest signature accepted.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The difference of clocks allowed either way.
    pub const fn skew(&self) -> Duration {
        self.skew
    }

    /// How long after `created` a signature can still pass, and a nonce has to be remembered: `max_age + 2 · skew`, where the
    /// second skew is for the clocks of servers.
    pub const fn lifetime(&self) -> Duration {
        self.max_age.saturating_add(self.skew).saturating_add(self.skew)
    }
}
