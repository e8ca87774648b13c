use std::sync::Arc;

use countersign::Timestamp;

use crate::error::StoreError;

/// Tells when a replay guard begins to accept signed requests.
///
/// A readiness probe asks it, and a rolling deployment waits for it before the next server is stopped. The guard is ready
/// once `ready_at` is not later than `now`:
///
/// ```
/// use countersign::Timestamp;
/// use countersign_store::Readiness;
///
/// async fn is_ready(guard: &impl Readiness, now: Timestamp) -> bool {
///     guard.ready_at(now).await.is_ok_and(|from| from <= now)
/// }
/// ```
pub trait Readiness: Send + Sync + 'static {
    /// The first second whose signatures the guard accepts, to the best of its knowledge at `now`. Requests signed earlier
    /// get `signature-stale`. Claims no nonce.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a request that is signed at `now` would get `replay-store-unavailable`: the guard has ended, another
    /// server has taken it over, or its store cannot be used.
    fn ready_at(
        &self,
        now: Timestamp,
    ) -> impl Future<Output = Result<Timestamp, StoreError>> + Send;
}

impl<T: Readiness> Readiness for Arc<T> {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        T::ready_at(self, now).await
    }
}
