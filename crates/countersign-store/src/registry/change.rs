use std::sync::Arc;

use super::{
    Registry, actor::Actor, audit::act::Act, cache::Invalidation, database, error::RegistryError,
    last_change::LastChange, session::Session, shared::Shared,
};
use crate::master_key::MasterKeys;

/// A change of the registry.
///
/// A new kind of change implements this, and [`Registry::make`] does what all changes have in common.
pub(super) trait Change: Send + 'static {
    /// The result of the change.
    type Outcome: Send;

    /// Runs the statements of the change in its transaction, and records what they did. An error undoes all of them.
    fn apply(
        self,
        transaction: &mut Transaction,
    ) -> impl Future<Output = Result<Self::Outcome, RegistryError>> + Send;
}

/// The transaction of a change.
pub(super) struct Transaction {
    database: database::Transaction,
    acts: Vec<Act>,
    master_keys: Option<Arc<MasterKeys>>,
}

impl Transaction {
    pub(super) fn session(&mut self) -> Session<'_> {
        self.database.session()
    }

    /// Returns the keys that seal and open HMAC secrets.
    pub(super) fn master_keys(&self) -> Option<Arc<MasterKeys>> {
        self.master_keys.clone()
    }

    /// Notes that plain secrets were overwritten, of which copies may be left elsewhere in a file.
    pub(super) async fn note_remnants(&mut self) -> Result<(), sqlx::Error> {
        self.database.note_remnants().await
    }

    /// Adds an entry for the audit log. A change of which nothing is recorded is not announced: it changed nothing.
    pub(super) fn record(&mut self, act: Act) {
        self.acts.push(act);
    }
}

impl Registry {
    /// Makes a change: transaction, statements, entries of the audit log, number, notice, cache. Other changes wait.
    ///
    /// Every change of applications and credentials goes through this function. A change that is begun is ended, also if nobody
    /// waits for it any more.
    pub(super) async fn make<C: Change>(&self, change: C) -> Result<C::Outcome, RegistryError> {
        let (shared, actor) = (Arc::clone(&self.shared), self.actor.clone());
        let made = tokio::spawn(async move { shared.make(change, &actor).await });
        made.await.map_err(|error| RegistryError::Database(error.into()))?
    }
}

impl Shared {
    async fn make<C: Change>(&self, change: C, actor: &Actor) -> Result<C::Outcome, RegistryError> {
        let mut transaction = Transaction {
            database: self.database.begin().await?,
            acts: Vec::new(),
            master_keys: self.master_keys.clone(),
        };
        let mut last = LastChange::lock(&mut transaction.session()).await?;
        let applied = change.apply(&mut transaction).await;
        let Transaction { mut database, acts, master_keys: _ } = transaction;
        let outcome = match applied {
            Ok(outcome) => outcome,
            Err(error) => {
                // Dropped, it would be undone as well, but the connection would be closed.
                drop(database.rollback().await);
                return Err(error);
            }
        };
        if acts.is_empty() {
            database.commit().await?;
            return Ok(outcome);
        }
        // Removes the cache entries when dropped: after the commit, or an error.
        let _invalidations: Vec<Invalidation<'_>> =
            acts.iter().map(|act| self.cache.invalidate_on_drop(&act.subject)).collect();
        for act in &acts {
            last = last.add(actor, act, &mut database.session()).await?;
        }
        last.set(&mut database.session()).await?;
        database.announce().await?;
        let Err(error) = database.commit().await else { return Ok(outcome) };
        if self.database.is_remote() && last.was_committed(&self.database).await? {
            tracing::warn!(%error, "the connection was lost during a commit, which was carried out all the same");
            return Ok(outcome);
        }
        Err(error.into())
    }
}
