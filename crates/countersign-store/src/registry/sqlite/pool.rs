use std::{path::Path, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use super::{file::FileError, schema};
use crate::registry::error::RegistryError;

/// Longest wait of a write for another process that has locked the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connections to the database of a registry.
#[derive(Debug)]
pub(crate) struct Pool {
    connections: SqlitePool,
}

impl Pool {
    /// Opens a file that is a registry, or empty, and brings its schema up to date.
    pub(crate) async fn open(file: &Path) -> Result<Self, RegistryError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            // A confirmed revocation or ceiling survives a loss of power.
            .synchronous(SqliteSynchronous::Full);
        let connections = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(PATIENCE.saturating_mul(2))
            .connect_with(options)
            .await?;
        let pool = Self { connections };
        match schema::prepare(&pool.connections).await {
            Ok(()) => Ok(pool),
            Err(error) => {
                pool.close().await;
                Err(error)
            }
        }
    }

    /// A connection to read with. A statement that writes with it is a transaction of its own.
    pub(crate) async fn connection(&self) -> Result<PoolConnection<Sqlite>, RegistryError> {
        self.connections.acquire().await.map_err(waited)
    }

    /// Begins a transaction that nobody else writes beside.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, RegistryError> {
        self.connections.begin_with("BEGIN IMMEDIATE").await.map_err(waited)
    }

    /// Closes all connections. SQLite removes the files beside the registry with the last one.
    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

fn waited(error: sqlx::Error) -> RegistryError {
    match error {
        // Other changes have all connections, and wait for the process that holds the lock.
        sqlx::Error::PoolTimedOut => FileError::Locked.into(),
        error => error.into(),
    }
}
