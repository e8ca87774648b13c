use std::{sync::Arc, time::Duration};

use countersign::{KeyError, ProvenKey, PublishableKey, Timestamp};

use crate::{
    credential::{
        Credential,
        reason::Reason,
        rotation::{NotReplaced, Rotation},
    },
    error::StoreError,
};

/// Changes credentials for the holders of their keys: what a server lets a caller do with its own key alone.
///
/// The caller of these functions has verified a signature of the key. The audit log of a registry names the key as the actor.
pub trait HeldKeys: Send + Sync + 'static {
    /// Replaces a key by a new one, which its holder has proven to have. Both are valid for the time of `overlap`.
    ///
    /// If this new key has taken over already, nothing changes, whatever the overlap is, and the two credentials are returned
    /// as they are now.
    ///
    /// # Errors
    ///
    /// [`NotHandedOver`]; nothing was changed, unless the store failed.
    fn hand_over(
        &self,
        old: &PublishableKey,
        new: &ProvenKey,
        overlap: Duration,
        now: Timestamp,
    ) -> impl Future<Output = Result<Rotation, NotHandedOver>> + Send;

    /// Revokes a key for ever, and returns its credential. A key that was revoked before stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; the key may be revoked all the same.
    fn give_up(
        &self,
        key: &PublishableKey,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Arc<Credential>, StoreError>> + Send;
}

/// Why a key was not handed over to a new one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotHandedOver {
    /// The old key cannot be replaced.
    #[error(transparent)]
    NotReplaced(#[from] NotReplaced),
    /// The new key is registered already, and did not take over from the old one.
    #[error("the new key is registered already")]
    Registered,
    /// The new key cannot be registered: others can sign with it.
    #[error("the new key cannot be registered")]
    Key(#[source] KeyError),
    /// The store failed. The change may have been made: run it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<T: HeldKeys> HeldKeys for Arc<T> {
    async fn hand_over(
        &self,
        old: &PublishableKey,
        new: &ProvenKey,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Rotation, NotHandedOver> {
        T::hand_over(self, old, new, overlap, now).await
    }

    async fn give_up(
        &self,
        key: &PublishableKey,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, StoreError> {
        T::give_up(self, key, reason, now).await
    }
}
