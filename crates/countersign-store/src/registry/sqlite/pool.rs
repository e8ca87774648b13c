use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use super::{file::FileError, identity::Identity, schema, transaction::Transaction};
use crate::registry::error::RegistryError;

/// Longest wait of a write for another process that has locked the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The `user_version` of a file in which bytes of plain secrets may be left. It is set in the transaction that seals.
const REMNANTS: i64 = 1;

const CONNECTIONS: u32 = 4;

/// The connections to the database of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: SqlitePool,
    identity: Identity,
}

impl Pool {
    /// Opens a file that is a registry, or empty, and brings its schema up to date.
    pub(crate) async fn open(file: &Path) -> Result<Self, RegistryError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            // A confirmed revocation or ceiling survives a loss of power.
            .synchronous(SqliteSynchronous::Full)
            // What is deleted or overwritten, such as a plain secret that is sealed, is overwritten with zeros.
            .pragma("secure_delete", "ON");
        let connections = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE.saturating_mul(2))
            .connect_with(options)
            .await?;
        let pool = Self { connections, identity: Identity::of(file)? };
        match schema::prepare(&pool.connections).await {
            Ok(()) => Ok(pool),
            Err(error) => {
                pool.close().await;
                Err(error)
            }
        }
    }

    /// Returns the settings of its connections.
    pub(crate) fn options(&self) -> Arc<SqliteConnectOptions> {
        self.connections.connect_options()
    }

    /// Refuses to go on with a file that was removed or replaced.
    pub(crate) fn require_in_place(&self) -> Result<(), FileError> {
        self.identity.require_in_place()
    }

    /// A connection to read with. A statement that writes with it is a transaction of its own.
    pub(crate) async fn connection(&self) -> Result<PoolConnection<Sqlite>, RegistryError> {
        self.require_in_place()?;
        self.connections.acquire().await.map_err(waited)
    }

    /// Begins a transaction that nobody else writes beside.
    pub(crate) async fn begin(&self) -> Result<Transaction, RegistryError> {
        Ok(Transaction::begin(self.connection().await?).await?)
    }

    /// Erases what is left of plain secrets in unused parts of pages and in the log. Does nothing if none were overwritten since
    /// it last ended.
    pub(crate) async fn erase_remnants(&self) -> Result<(), RegistryError> {
        let mut connection = self.connection().await?;
        let noted: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
        if noted != REMNANTS {
            return Ok(());
        }
        // Rows that were changed by connections without `secure_delete`, as of earlier versions, are still in unused parts of pages.
        sqlx::query("VACUUM").execute(&mut *connection).await?;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        let busy: i64 = checkpoint.fetch_one(&mut *connection).await?.try_get("busy")?;
        if busy != 0 {
            return Err(FileError::Locked.into());
        }
        sqlx::query("PRAGMA user_version = 0").execute(&mut *connection).await?;
        Ok(())
    }

    /// Closes all connections. SQLite removes the files beside the registry with the last one.
    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// Notes that plain secrets were overwritten.
pub(crate) async fn note_remnants(transaction: &mut Transaction) -> Result<(), sqlx::Error> {
    let note = AssertSqlSafe(format!("PRAGMA user_version = {REMNANTS}"));
    sqlx::query(note).execute(transaction.connection()).await?;
    Ok(())
}

fn waited(error: sqlx::Error) -> RegistryError {
    match error {
        // Other changes have all connections, and wait for the process that holds the lock.
        sqlx::Error::PoolTimedOut => FileError::Locked.into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use countersign::Timestamp;
    use sqlx::Executor as _;

    use crate::registry::{
        Registry, database::Database, error::RegistryError, page::ApplicationFilter,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    /// Allows the file so many pages, or as many as it has.
    async fn limit(registry: &Registry, pages: u32) {
        #[cfg_attr(
            not(feature = "postgres"),
            expect(irrefutable_let_patterns, reason = "one of two")
        )]
        let Database::Sqlite(pool) = &registry.shared.database else { panic!("it is a file") };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = pool.connections.acquire().await.unwrap();
            let limit = format!("PRAGMA max_page_count = {pages}");
            connection.execute(sqlx::AssertSqlSafe(limit)).await.unwrap();
            connections.push(connection);
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_takes_nothing_that_was_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        limit(&registry, 1).await;
        let mut confirmed = 0;
        let refused = loop {
            let name = format!("shop{confirmed}");
            match registry.add_application(&name, "live", NOW).await {
                Ok(_) => confirmed += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, RegistryError::File(FileError::DiskFull)), "{refused:?}");
        let all = ApplicationFilter::default();
        let page = registry.page_of_applications(&all, None, u32::MAX).await.unwrap();
        assert_eq!(page.entries.len(), confirmed);
        // A connection that has met the full disk is not used again.
        for _ in 0..10 {
            limit(&registry, 1).await;
            let refused = registry.add_application("other", "live", NOW).await;
            assert!(
                matches!(refused, Err(RegistryError::File(FileError::DiskFull))),
                "{refused:?}"
            );
        }
        limit(&registry, u32::MAX).await;
        for number in 0..20 {
            registry.add_application(&format!("roomy{number}"), "live", NOW).await.unwrap();
        }
        let entries = registry.audit_entries(0, u32::MAX).await.unwrap();
        assert_eq!(entries.len(), confirmed + 20);
    }
}
