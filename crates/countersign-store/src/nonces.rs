pub(crate) mod ceiling;
pub(crate) mod fingerprint_key;
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod readiness;

use std::sync::Arc;

use countersign::{Claim, NonceUse, Timestamp};

use crate::error::StoreError;

/// Remembers nonces, so that a signed request works once.
///
/// ```
/// use countersign::{Claim, NonceUse, Timestamp};
/// use countersign_store::{NonceStore, StoreError};
///
/// /// A guard for a maintenance page: it accepts no signed request.
/// struct Closed;
///
/// impl NonceStore for Closed {
///     async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
///         Err(StoreError::new("closed for maintenance"))
///     }
/// }
/// ```
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
