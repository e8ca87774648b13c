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

/// How long a signature is acceptable, and so how long its nonce has to be remembered.
///
/// It is always that of a [`Policy`], and so within a policy's limits. A guard with another window than its server's policy
/// is as safe, and refuses more than it has to. One that servers share needs the same window on all of them.
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

/// A replay guard, by a random number that no other one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(i64);

impl Owner {
    /// One more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system has no randomness.
    pub fn random() -> Result<Self, StoreError> {
        let number = getrandom::u64();
        let number =
            number.map_err(|error| StoreError::because("the system has no randomness", error))?;
        Ok(Self((number >> 1).cast_signed()))
    }

    /// Its number: 63 bits, never negative.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A durable number: no signature with a later `created` than it was ever accepted.
///
/// It makes a restart exact: a guard that lost its memory refuses what is not later. And it is a fence between guards:
/// it has one owner, the last one that took it over, and no other can raise it. What an earlier owner can still accept is
/// below what the last one found, and refused there.
pub trait Ceiling: Send + Sync + 'static {
    /// Makes `owner` the only one that can raise the ceiling, and answers how high it is: in one step, so that nobody
    /// raises it in between. `None` only if it is certain that nothing was ever accepted: where a number is missing in what
    /// may be a copy, the answer is 0.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read and written. It must not be taken for absent.
    fn take_over(
        &self,
        owner: Owner,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Raises the ceiling, durably before this returns; it never falls.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be written, or if another than `owner` has taken it over; nothing above the old one is
    /// accepted then.
    fn raise(
        &self,
        owner: Owner,
        to: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<T: Ceiling> Ceiling for Arc<T> {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        T::take_over(self, owner).await
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        T::raise(self, owner, to).await
    }
}
