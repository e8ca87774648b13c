use std::{path::Path, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use super::{error::RegistryError, sqlite::schema};

/// Longest wait of a write for another process that has locked the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connections to the database of a registry.
#[derive(Debug)]
pub(super) struct Database {
    pool: SqlitePool,
}

impl Database {
    /// Opens a registry or an empty file, and brings its schema up to date.
    pub(super) async fn open(file: &Path) -> Result<Self, RegistryError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            // A confirmed revocation or ceiling survives a loss of power.
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(PATIENCE.saturating_mul(2))
            .connect_with(options)
            .await?;
        let database = Self { pool };
        match schema::prepare(&database.pool).await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Returns a connection for reading. Each statement that writes with it is its own transaction.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.pool.acquire().await
    }

    /// Begins a transaction that locks out other writers.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, RegistryError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Closes all connections. SQLite removes the files beside the registry with the last one.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
