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
    failure::{ServerError, is_connection_lost},
    patience,
    reader::Reader,
    transaction::Transaction,
};
use crate::{
    postgres_schema::{self, Made},
    registry::{IfMissing, error::RegistryError, query::Prepared},
};

/// How many connections a registry has at most.
const CONNECTIONS: u32 = 8;

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

    /// Reads outside of changes.
    pub(crate) fn reader(&self) -> Reader {
        Reader::of(self.clone())
    }

    /// Begins a transaction for a change. It locks the row of the last change first, so that changes run one after the other.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let mut attempts = Attempts::new();
        loop {
            let connection = self.acquire().await?;
            match Transaction::begin(connection, self.prepared).await {
                // Nothing has happened yet.
                Err(error) if attempts.has_another_after(&error) => {}
                begun => return begun,
            }
        }
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.connections.acquire().await
    }

    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// How often something that can be done again is begun.
///
/// After a restart of the server every connection of the pool is broken, and each shows it when it is used.
#[derive(Debug)]
pub(super) struct Attempts {
    began: Instant,
    left: u32,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), left: CONNECTIONS }
    }

    /// Whether to try again, on another connection.
    pub(super) fn has_another_after(&mut self, error: &sqlx::Error) -> bool {
        let has = self.left > 0
            && self.began.elapsed() < patience::FOR_CONNECTION
            && is_connection_lost(error);
        self.left = self.left.saturating_sub(1);
        has
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
