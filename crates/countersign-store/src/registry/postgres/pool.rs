use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use super::{
    address::Address,
    attempts::Attempts,
    failure::ServerError,
    patience,
    transaction::{CHANNEL, Transaction},
};
use crate::{
    postgres_schema::{self, Made},
    registry::{error::RegistryError, if_missing::IfMissing, query::Prepared},
};

/// How many connections the pool has at most. Look-ups and the follower of changes have 7 more.
const CONNECTIONS: u32 = 8;

/// Begins a transaction to read in.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

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
        // Migrations name their statements, and close them; the address may say that no statement has a name.
        let mut connection = connect(&address.options.clone().statement_cache_capacity(16)).await?;
        let made = prepare(&mut connection, if_missing).await;
        drop(connection.close().await);
        let connections = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(patience::FOR_CONNECTION)
            // A broken connection shows when it is used, which costs no round trip before each use.
            .test_before_acquire(false)
            .connect_lazy_with(address.options.clone());
        Ok((Self { connections, prepared: address.prepared }, made?))
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

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let mut attempts = Self::attempts();
        loop {
            let connection = self.acquire().await?;
            match Transaction::begin(connection, self.prepared).await {
                // Nothing has happened yet.
                Err(error) if attempts.has_another_after(&error) => {}
                begun => return begun,
            }
        }
    }

    /// Returns how often something is tried on connections of the pool.
    pub(super) fn attempts() -> Attempts {
        Attempts::after(CONNECTIONS)
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.connections.acquire().await
    }

    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// Connects to a server, and waits for one that is just starting, or has no connection free.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let began = Instant::now();
    loop {
        let left = patience::FOR_CONNECTION.saturating_sub(began.elapsed());
        let Ok(connected) = tokio::time::timeout(left, options.connect()).await else {
            return Err(sqlx::Error::PoolTimedOut);
        };
        match connected {
            Err(sqlx::Error::Database(error))
                if error.is_transient_in_connect_phase() && left > PAUSE =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

async fn prepare(
    connection: &mut PgConnection,
    if_missing: IfMissing,
) -> Result<Made, RegistryError> {
    if if_missing == IfMissing::Fail {
        let mut looking = connection.begin().await?;
        let has_registry = postgres_schema::has_registry(&mut looking).await?;
        looking.rollback().await?;
        if !has_registry {
            return Err(ServerError::NoRegistry.into());
        }
    }
    Ok(postgres_schema::update(connection).await?)
}
