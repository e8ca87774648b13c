use countersign::KeyId;
use sqlx::SqliteConnection;

use super::{Registry, error::RegistryError};

/// A change of the registry.
///
/// A new kind of change implements this, and [`Registry::make`] does what all changes have in common.
pub(super) trait Change: Send {
    /// What the change answers.
    type Outcome: Send;

    /// The credential whose cache entry is removed; `None` if an application changes.
    fn credential(&self) -> Option<KeyId>;

    /// The statements of the change, in its transaction. An error undoes all of them.
    fn apply(
        self,
        transaction: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Outcome, RegistryError>> + Send;
}

impl Registry {
    /// Makes a change: in a transaction of its own, beside which nobody else writes.
    ///
    /// Every change of applications and credentials goes through this function.
    pub(super) async fn make<C: Change>(&self, change: C) -> Result<C::Outcome, RegistryError> {
        // Removes the cache entry when dropped: after the commit, an error or a cancelled call.
        let _invalidation = change.credential().map(|id| self.cache.invalidate_on_drop(id));
        let mut transaction = self.pool.begin().await?;
        let outcome = change.apply(&mut transaction).await?;
        // The place of the audit entry and of the change number: in the transaction, and for every change.
        transaction.commit().await?;
        Ok(outcome)
    }
}
