use std::sync::Arc;

use countersign::Timestamp;

use crate::error::StoreError;

/// The identity of a replay guard: a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(i64);

impl Owner {
    /// A new identity.
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

    /// The number: 63 bits, never negative.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A durable upper bound: no signature with a later `created` was ever accepted.
///
/// The ceiling makes a restart exact: a guard that lost its memory refuses every signature at or below it. It is also a fence
/// between guards: only its owner, the guard that took it over last, can raise it. A signature that an earlier owner can still
/// accept is below the ceiling that the last owner found, and refused there.
pub trait Ceiling: Send + Sync + 'static {
    /// Makes `owner` the owner of the ceiling and returns the ceiling, in one step, so that no other guard raises it in between.
    /// Returns `None` only if no signature was accepted before, for certain: a store that may be a copy returns 0 in the place of
    /// a missing number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be read and written. A failure must not be taken for `None`.
    fn take_over(
        &self,
        owner: Owner,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Raises the ceiling, and returns when the new one is durable. A ceiling never falls.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be written, or if another guard has taken it over. The guard then accepts no signature
    /// above the old ceiling.
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
