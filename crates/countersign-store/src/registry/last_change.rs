use std::time::{Duration, Instant};

use super::{
    actor::Actor,
    audit::{act::Act, entry::StoredEntry, hash::AuditHash},
    database::Database,
    error::RegistryError,
    query::{Query, Row},
    session::Session,
    statements,
};

/// The longest time in which a lost commit is looked for, again and again.
const FOR_CERTAINTY: Duration = Duration::from_secs(15);

/// The number of the last change, and the hash of its audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastChange {
    pub(super) number: i64,
    pub(super) hash: AuditHash,
}

impl LastChange {
    /// Locks the row, until the end of the transaction, and reads it.
    pub(super) async fn lock(session: &mut Session<'_>) -> Result<Self, RegistryError> {
        Self::read(&session.fetch_one(Query::new(statements::LOCK_LAST_CHANGE)).await?)
    }

    /// Reads it, without a lock.
    pub(super) async fn current(database: &Database) -> Result<Self, RegistryError> {
        let mut connection = database.connection().await?;
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
    pub(super) async fn add(
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

    pub(super) async fn set(self, session: &mut Session<'_>) -> Result<(), RegistryError> {
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
    pub(super) async fn was_committed(self, database: &Database) -> Result<bool, RegistryError> {
        let began = Instant::now();
        loop {
            match self.is_in(database).await {
                // The server is starting again, or still has the transaction of the lost connection.
                Err(error) if error.may_pass() && began.elapsed() < FOR_CERTAINTY => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                found => return found.map_err(|error| RegistryError::Unknown(error.into())),
            }
        }
    }

    async fn is_in(self, database: &Database) -> Result<bool, RegistryError> {
        // Waits for the lock of a commit that is still being carried out.
        let mut transaction = database.begin().await?;
        Self::lock(&mut transaction.session()).await?;
        let query =
            Query::new(statements::AUDIT_ENTRIES).bind(self.number.saturating_sub(1)).bind(1);
        let row = transaction.session().fetch_optional(query).await?;
        transaction.rollback().await?;
        let entry = row.as_ref().map(StoredEntry::read).transpose()?;
        Ok(entry.is_some_and(|entry| entry.hash == self.hash))
    }
}
