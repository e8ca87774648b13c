#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{error::RegistryError, query::Session};

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
    /// Returns a connection to read with.
    pub(super) async fn connection(&self) -> Result<Connection, RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(Connection::Sqlite(pool.connection().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Ok(Connection::Postgres(pool.reader())),
        }
    }

    /// Begins a transaction that no other change runs beside.
    pub(super) async fn begin(&self) -> Result<Transaction, RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(Transaction::Sqlite(pool.begin().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Ok(Transaction::Postgres(pool.begin().await?)),
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
    Postgres(postgres::reader::Reader),
}

impl Connection {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => Session::Sqlite(connection),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => Session::PostgresReader(reader),
        }
    }
}

/// A transaction. Dropped without a commit, it is undone.
pub(super) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::transaction::Transaction),
    #[cfg(feature = "postgres")]
    Postgres(postgres::transaction::Transaction),
}

impl Transaction {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => Session::Sqlite(transaction.connection()),
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.session(),
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
            Self::Postgres(transaction) => transaction.announce().await,
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => transaction.commit().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Undoes the transaction, and waits until it is undone.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => transaction.rollback().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}
