use std::time::Duration;

use countersign::Timestamp;

use super::{kept::Kept, partitions, span::Resolution, table::Table};
use crate::{
    registry::{Registry, error::RegistryError, query::Query, row::seconds},
    usage::retention::UsageRetention,
};

/// How many rows one transaction removes. Other changes come between two of them.
const ROWS: i64 = 5000;
/// How many such transactions follow on a flush.
const PARTS: u32 = 20;
/// How long it is remembered that a batch was saved.
const BATCHES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What was removed since it was older than what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsagePruned {
    /// Partitions of PostgreSQL.
    pub partitions: u64,
    /// Rows.
    pub rows: u64,
}

impl Registry {
    /// Sets how long this registry keeps usage. Default: minutes 2 days, hours 90 days, days 3 years. Servers on the same registry
    /// should have the same setting, for each removes what it finds too old.
    ///
    /// The setting is shared with clones of this registry.
    pub fn usage_retention(self, retention: UsageRetention) -> Self {
        self.shared.usage.set_retention(retention);
        self
    }

    /// Removes usage that is older than what is kept, to the end. A server does so about once an hour when it saves a batch, in
    /// parts. In PostgreSQL partitions are dropped; in SQLite rows are deleted, and the file keeps its size for later ones.
    ///
    /// # Errors
    ///
    /// An error of the database. What was removed until then is gone, and the rest is removed later.
    pub async fn prune_usage(&self, now: Timestamp) -> Result<UsagePruned, RegistryError> {
        let pruned = self.prune(now, u32::MAX).await?;
        self.shared.usage.note_pruned(now);
        Ok(pruned)
    }

    /// Removes a part of what is too old.
    pub(super) async fn prune_some(&self, now: Timestamp) -> Result<(), RegistryError> {
        let pruned = self.prune(now, PARTS).await?;
        // With fewer, no table has more.
        if pruned.rows < u64::from(PARTS).saturating_mul(ROWS.unsigned_abs()) {
            self.shared.usage.note_pruned(now);
        }
        Ok(())
    }

    async fn prune(&self, now: Timestamp, parts: u32) -> Result<UsagePruned, RegistryError> {
        let kept = Kept::by(&self.shared.usage.retention(), now);
        let mut transaction = self.shared.database.begin().await?;
        kept.note(&mut transaction.session()).await?;
        transaction.commit().await?;
        let batches = now.minus(BATCHES);
        let events = kept.since(Resolution::Day);
        let mut pruned = UsagePruned {
            partitions: 0,
            rows: self.delete("usage_flush", "server, number", "at", batches, parts).await?,
        };
        let rows = self.delete("usage_event", "id", "last", events, parts).await?;
        pruned.rows = pruned.rows.saturating_add(rows);
        for table in Table::ALL {
            let since = kept.since(table.resolution);
            if self.shared.database.has_partitions() {
                // One table at a time: its readers and writers wait for this.
                let mut transaction = self.shared.database.begin().await?;
                let dropped =
                    partitions::drop_before(table, since, &mut transaction.session()).await?;
                transaction.commit().await?;
                pruned.partitions = pruned.partitions.saturating_add(dropped);
            } else {
                let keys = table.subject.keys().join(", ");
                let rows = self.delete(table.name, &keys, "at", since, parts).await?;
                pruned.rows = pruned.rows.saturating_add(rows);
            }
        }
        Ok(pruned)
    }

    /// Deletes rows of before a time, in so many transactions at most.
    async fn delete(
        &self,
        table: &str,
        keys: &str,
        column: &str,
        before: Timestamp,
        parts: u32,
    ) -> Result<u64, RegistryError> {
        let text = format!(
            "DELETE FROM countersign.{table} WHERE ({keys}) IN
             (SELECT {keys} FROM countersign.{table} WHERE {column} < $1 LIMIT {ROWS})"
        );
        let mut deleted = 0_u64;
        for _ in 0..parts {
            let mut transaction = self.shared.database.begin().await?;
            let query = Query::new(text.as_str()).bind(seconds(before));
            let rows = transaction.session().execute(query).await?;
            transaction.commit().await?;
            deleted = deleted.saturating_add(rows);
            if rows < ROWS.unsigned_abs() {
                break;
            }
        }
        Ok(deleted)
    }
}
