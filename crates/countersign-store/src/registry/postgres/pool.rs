use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool, PgTransaction, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use super::{address::Address, failure::ServerError};
use crate::{
    postgres_schema::{self, Made},
    registry::{IfMissing, error::RegistryError, query::Prepared},
};

/// The longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(4);

/// Begins a transaction to read in.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The channel on which changes are announced.
pub(crate) const CHANNEL: &str = "countersign";

/// The connections to the database of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: PgPool,
    prepared: Prepared,
}

impl Pool {
    /// Connects to a database, and brings its schema up to date. Returns whether the registry was made in it now.
    pub(crate) async fn open(
        address: &Address,
        if_missing: IfMissing,
    ) -> Result<(Self, Made), RegistryError> {
        let connections = PgPoolOptions::new()
            // For changes, listings and the listener of notices. Keys are looked up on other connections, without a test before
            // each use.
            .max_connections(6)
            .acquire_timeout(PATIENCE)
            .connect_with(address.options.clone())
            .await?;
        let pool = Self { connections, prepared: address.prepared };
        match pool.prepare(if_missing).await {
            Ok(made) => Ok((pool, made)),
            Err(error) => {
                pool.close().await;
                Err(error)
            }
        }
    }

    async fn prepare(&self, if_missing: IfMissing) -> Result<Made, RegistryError> {
        let mut connection = self.connections.acquire().await?;
        if if_missing == IfMissing::Fail && !postgres_schema::has_registry(&mut connection).await? {
            return Err(ServerError::NoRegistry.into());
        }
        Ok(postgres_schema::update(&mut connection).await?)
    }

    pub(crate) const fn prepared(&self) -> Prepared {
        self.prepared
    }

    /// Returns the settings of its connections.
    pub(crate) fn options(&self) -> Arc<PgConnectOptions> {
        self.connections.connect_options()
    }

    /// Begins to listen for notices of changes.
    pub(crate) async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.connections).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    pub(crate) async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.connections.acquire().await
    }

    /// Begins a transaction to read in, or for one statement that writes.
    pub(crate) async fn begin_read(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.connections.begin_with(BEGIN_READ).await
    }

    /// Begins a transaction for a change. It locks the row of the last change first, so that changes run one after the other.
    pub(crate) async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        // A commit that is confirmed is on disk, whatever is set for the database. A setting that asks for more is kept.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL lock_timeout = '2s'; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local')";
        self.connections.begin_with(begin).await
    }

    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// Sends a notice, when the transaction is committed, to all who listen.
pub(crate) async fn announce(transaction: &mut PgTransaction<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .persistent(false)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
