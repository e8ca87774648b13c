pub(crate) mod memory;

use std::sync::Arc;

use countersign::{KeyId, Timestamp};

use crate::{credential::Credential, error::StoreError};

/// Finds credentials.
///
/// ```
/// use std::sync::Arc;
///
/// use countersign::{KeyId, Timestamp};
/// use countersign_store::{Credential, KeyStore, StoreError};
///
/// /// Two stores: the keys of the team, and those of the customers.
/// struct Both<A, B>(A, B);
///
/// impl<A: KeyStore, B: KeyStore> KeyStore for Both<A, B> {
///     async fn find(&self, id: &KeyId, now: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
///         match self.0.find(id, now).await? {
///             Some(credential) => Ok(Some(credential)),
///             None => self.1.find(id, now).await,
///         }
///     }
/// }
/// ```
pub trait KeyStore: Send + Sync + 'static {
    /// Returns the credential with this publishable key or JWK thumbprint, in any state; `None` if the key is unknown.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; the request is then refused with 503.
    fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Arc<Credential>>, StoreError>> + Send;

    /// Takes note that a request with this credential was accepted: a signed request with a fresh nonce, or an unsigned read.
    /// A verifier calls this on the way of the request, so it must not wait. Default: does nothing.
    fn used(&self, credential: &Credential, now: Timestamp) {
        let _ = (credential, now);
    }
}

impl<T: KeyStore> KeyStore for Arc<T> {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        T::find(self, id, now).await
    }

    fn used(&self, credential: &Credential, now: Timestamp) {
        T::used(self, credential, now);
    }
}
