use countersign::KeyId;
use sqlx::SqliteConnection;

use super::{Registry, error::RegistryError};

/// A change of the registry.
///
/// A new kind of change implements this, and [`Registry::make`] does what all changes have in common.
pub(super) trait Change: Send {
    /// The result of the change.
    type Outcome: Send;

    /// The credential whose cache entry is removed; `None` if an application changes.
    fn credential(&self) -> Option<KeyId>;

    /// Runs the statements of the change, in its transaction. An error undoes all of them.
    fn apply(
        self,
        transaction: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Outcome, RegistryError>> + Send;
}

impl Registry {
    /// Makes a change, in its own transaction; other writers wait.
    ///
    /// Every change of applications and credentials goes through this function.
    pub(super) async fn make<C: Change>(&self, change: C) -> Result<C::Outcome, RegistryError> {
        // Removes the cache entry when dropped: after the commit, an error or a cancelled call.
        let _invalidation = change.credential().map(|id| self.cache.invalidate_on_drop(id));
        let mut transaction = self.pool.begin().await?;
        let outcome = change.apply(&mut transaction).await?;
        // An audit entry or a change number, needed for every change, belongs here, in the transaction.
        transaction.commit().await?;
        Ok(outcome)
    }
}
