use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Registry, Shared,
    actor::Actor,
    audit::{Act, AuditHash, StoredEntry},
    cache::Invalidation,
    database,
    error::RegistryError,
    query::{Query, Row, Session},
    statements,
};
use crate::master_key::MasterKeys;

/// The longest time in which a lost commit is looked for, again and again.
const FOR_CERTAINTY: Duration = Duration::from_secs(15);

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
        if self.database.is_remote() && last.was_committed(self).await? {
            tracing::warn!(%error, "the connection was lost during a commit, which was carried out all the same");
            return Ok(outcome);
        }
        Err(error.into())
    }
}

/// The number of the last change, and the hash of its audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastChange {
    pub(super) number: i64,
    pub(super) hash: AuditHash,
}

impl LastChange {
    /// Locks the row, until the end of the transaction, and reads it.
    async fn lock(session: &mut Session<'_>) -> Result<Self, RegistryError> {
        Self::read(&session.fetch_one(Query::new(statements::LOCK_LAST_CHANGE)).await?)
    }

    /// Reads it, without a lock.
    pub(super) async fn current(shared: &Shared) -> Result<Self, RegistryError> {
        let mut connection = shared.database.connection().await?;
        Self::read(&connection.session().fetch_one(Query::new(statements::LAST_CHANGE)).await?)
    }

    /// Reads the number and the hash from a row.
    pub(super) fn read(row: &Row) -> Result<Self, RegistryError> {
        let hash: Vec<u8> = row.get("hash")?;
        let hash = AuditHash::from_stored(&hash);
        let hash = hash.ok_or_else(|| sqlx::Error::Decode("a hash has 32 bytes".into()))?;
        Ok(Self { number: row.get("number")?, hash })
    }

    /// Adds an entry to the audit log, and returns it as the last change.
    async fn add(
        self,
        actor: &Actor,
        act: &Act,
        session: &mut Session<'_>,
    ) -> Result<Self, RegistryError> {
        let entry = StoredEntry::following(self.hash, self.number.saturating_add(1), actor, act);
        let added = Self { number: entry.number, hash: entry.hash };
        let query = Query::new(statements::ADD_AUDIT_ENTRY)
            .bind(entry.number)
            .bind(entry.at)
            .bind(entry.actor)
            .bind(entry.action)
            .bind(entry.application)
            .bind(entry.key_id)
            .bind(entry.before)
            .bind(entry.after)
            .bind(entry.hash.as_bytes().as_slice());
        session.execute(query).await?;
        Ok(added)
    }

    async fn set(self, session: &mut Session<'_>) -> Result<(), RegistryError> {
        let query = Query::new(statements::SET_LAST_CHANGE)
            .bind(self.number)
            .bind(self.hash.as_bytes().as_slice());
        session.execute(query).await?;
        Ok(())
    }

    /// Whether this change is in the registry, after its commit failed. The reply to a commit can be lost.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unknown`] if that cannot be found out.
    async fn was_committed(self, shared: &Shared) -> Result<bool, RegistryError> {
        let began = Instant::now();
        loop {
            match self.is_in(shared).await {
                // The server is starting again, or still has the transaction of the lost connection.
                Err(error) if error.may_pass() && began.elapsed() < FOR_CERTAINTY => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                found => return found.map_err(|error| RegistryError::Unknown(error.into())),
            }
        }
    }

    async fn is_in(self, shared: &Shared) -> Result<bool, RegistryError> {
        // Waits for the lock of a commit that is still being carried out.
        let mut transaction = shared.database.begin().await?;
        Self::lock(&mut transaction.session()).await?;
        let query =
            Query::new(statements::AUDIT_ENTRIES).bind(self.number.saturating_sub(1)).bind(1);
        let row = transaction.session().fetch_optional(query).await?;
        transaction.rollback().await?;
        let entry = row.as_ref().map(StoredEntry::read).transpose()?;
        Ok(entry.is_some_and(|entry| entry.hash == self.hash))
    }
}
