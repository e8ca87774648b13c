//! The audit log: an entry for each change, chained by hash.

pub(crate) mod act;
pub(crate) mod entry;
pub(crate) mod filter;
pub(crate) mod hash;
pub(crate) mod head;
pub(crate) mod report;

use self::entry::{AuditEntry, StoredEntry};
use super::{Registry, error::RegistryError, query::Query, statements};

impl Registry {
    /// Returns entries of the audit log, the oldest first: at most `limit`, after the entry with this number. Before the first
    /// entry is 0.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn audit_entries(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let query = Query::new(statements::AUDIT_ENTRIES).bind(after).bind(i64::from(limit));
        let mut connection = self.shared.database.connection().await?;
        let rows = connection.session().fetch_all(query).await?;
        rows.iter().map(|row| Ok(AuditEntry::of(StoredEntry::read(row)?))).collect()
    }
}
