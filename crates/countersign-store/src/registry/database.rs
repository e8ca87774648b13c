#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{error::RegistryError, query::Session};
#[cfg(feature = "postgres")]
use super::{postgres, query::Prepared};

/// The database of a registry.
///
/// Only opening, the schema, the begin of a transaction and the announcement of changes differ. Statements run on either.
#[derive(Debug)]
pub(super) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::pool::Pool),
    #[cfg(feature = "postgres")]
    Postgres(postgres::pool::Pool),
}

impl Database {
    /// Returns a connection to read with. A statement that writes with it is a transaction of its own.
    pub(super) async fn connection(&self) -> Result<Connection, RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(Connection::Sqlite(pool.connection().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => match pool.prepared() {
                Prepared::Kept => Ok(Connection::Postgres(pool.connection().await?)),
                // A pooler gives a transaction one connection, and two statements perhaps two.
                Prepared::Anew => Ok(Connection::PostgresPooled(pool.begin_read().await?)),
            },
        }
    }

    /// Begins a transaction that no other change runs beside.
    pub(super) async fn begin(&self) -> Result<Transaction, RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(Transaction::Sqlite(pool.begin().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Ok(Transaction::Postgres(pool.begin().await?, pool.prepared())),
        }
    }

    /// Whether the reply to a commit can be lost on its way.
    pub(super) const fn is_remote(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
        }
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection to read with.
pub(super) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
    #[cfg(feature = "postgres")]
    PostgresPooled(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Connection {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => Session::Sqlite(connection),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => Session::Postgres(connection, Prepared::Kept),
            #[cfg(feature = "postgres")]
            Self::PostgresPooled(transaction) => Session::Postgres(transaction, Prepared::Anew),
        }
    }

    /// Ends the use of this connection, and keeps what was written with it.
    pub(super) async fn finish(self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::PostgresPooled(transaction) => transaction.commit().await,
        }
    }
}

/// A transaction. Dropped without a commit, it is undone.
pub(super) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>, Prepared),
}

impl Transaction {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => Session::Sqlite(transaction),
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction, prepared) => Session::Postgres(transaction, *prepared),
        }
    }

    /// Tells other servers of a change as soon as it is committed. Notices hurry them: they look at the number by themselves as
    /// well.
    pub(super) async fn announce(&mut self) -> Result<(), sqlx::Error> {
        match self {
            // Others see at the file that it was written.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction, _) => postgres::pool::announce(transaction).await,
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => transaction.commit().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction, _) => transaction.commit().await,
        }
    }
}
