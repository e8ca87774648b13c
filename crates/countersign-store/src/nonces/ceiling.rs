use std::sync::Arc;

use countersign::Timestamp;

use crate::error::StoreError;

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
