use std::{sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Policy, Timestamp};

use crate::StoreError;

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

/// How long a signature is acceptable, and so how long its nonce has to be remembered.
///
/// A guard with another window than the policy's is as safe, and refuses more than it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The oldest signature accepted.
    pub max_age: Duration,
    /// The difference of clocks allowed either way.
    pub skew: Duration,
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
    /// How long after `created` a signature can still pass: `max_age + 2 · skew`, where the second skew is for the
    /// clocks of servers.
    pub(crate) const fn lifetime(&self) -> Duration {
        self.max_age.saturating_add(self.skew).saturating_add(self.skew)
    }
}

/// A durable number: no signature with a later `created` than it was ever accepted.
///
/// It makes a restart exact: a guard that lost its memory refuses what is not later, and nothing else.
pub trait Ceiling: Send + Sync + 'static {
    /// The ceiling; `None` if nothing was ever accepted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read. It must not be taken for absent.
    fn load(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Raises the ceiling, durably before this returns; it never falls.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be written; nothing above the old one is accepted then.
    fn raise(&self, to: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<T: Ceiling> Ceiling for Arc<T> {
    async fn load(&self) -> Result<Option<Timestamp>, StoreError> {
        T::load(self).await
    }

    async fn raise(&self, to: Timestamp) -> Result<(), StoreError> {
        T::raise(self, to).await
    }
}
