use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};

#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{
    error::RegistryError,
    query::{Query, Row},
    session::Session,
};
#[cfg(feature = "postgres")]
use super::{
    postgres::{self, connection::rows_of, reader::Reader},
    query::Prepared,
};

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
            Self::Postgres(pool) => Ok(Connection::Postgres(Reader::of(pool.clone()))),
        }
    }

    /// Begins a transaction. In SQLite no other runs beside it.
    pub(super) async fn begin(&self) -> Result<Transaction, RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(Transaction::Sqlite(pool.begin().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Ok(Transaction::Postgres(pool.begin().await?)),
        }
    }

    /// Returns where connections of one's own come from.
    pub(super) fn source(&self) -> Source {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Source::Sqlite(pool.clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Source::Postgres(pool.clone()),
        }
    }

    /// Whether the tables of usage are partitions.
    pub(super) const fn has_partitions(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
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

    /// Erases what is left of plain secrets since [`Transaction::note_remnants`].
    pub(super) async fn erase_remnants(&self) -> Result<(), RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.erase_remnants().await,
            // Its own VACUUM frees the room of overwritten rows.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
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

/// Makes connections outside of the pool, to the same database and with the same settings.
#[derive(Clone, Debug)]
pub(super) enum Source {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::pool::Pool),
    #[cfg(feature = "postgres")]
    Postgres(postgres::pool::Pool),
}

impl Source {
    pub(super) async fn connect(&self) -> Result<OwnConnection, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(OwnConnection::Sqlite(pool.options().connect().await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let connection = pool.options().connect().await?;
                Ok(OwnConnection::Postgres(connection, pool.prepared()))
            }
        }
    }

    /// Refuses to go on with connections to a database that is no longer at its address.
    pub(super) fn require_in_place(&self) -> Result<(), RegistryError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(pool.require_in_place()?),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
        }
    }

    /// How often to look for changes that others have made. They are promised to take effect within a second.
    pub(super) const fn poll_interval(&self) -> Duration {
        match self {
            // Costs no more than a look into memory that the processes share.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Duration::from_millis(200),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Duration::from_millis(500),
        }
    }
}

/// A connection outside of the pool, to read with. Dropped, it is cut.
#[derive(Debug)]
pub(super) enum OwnConnection {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgConnection, Prepared),
}

impl OwnConnection {
    /// Runs a statement in a transaction of its own, and returns its rows.
    pub(super) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => Session::Sqlite(connection).fetch_all(query).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, Prepared::Kept) => {
                rows_of(connection, Prepared::Kept, &query).await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, Prepared::Anew) => {
                let mut transaction = connection.begin_with(postgres::pool::BEGIN_READ).await?;
                let rows = rows_of(&mut transaction, Prepared::Anew, &query).await?;
                transaction.commit().await?;
                Ok(rows)
            }
        }
    }

    /// Runs a statement in a transaction of its own, and returns its first row.
    pub(super) async fn fetch_optional(
        &mut self,
        query: Query,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Returns a number that moves when another connection writes to the database, if that number costs less than a look.
    pub(super) async fn version(&mut self) -> Result<Option<i64>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let row = self.fetch_optional(Query::new("PRAGMA data_version")).await?;
                row.ok_or(sqlx::Error::RowNotFound)?.get("data_version").map(Some)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(..) => Ok(None),
        }
    }

    pub(super) async fn close(self) {
        // Nothing that was read depends on it.
        drop(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => connection.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection, _) => connection.close().await,
        });
    }
}

/// A connection to read with.
pub(super) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Reader),
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
            Self::Postgres(transaction) => Session::Postgres(transaction),
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

    /// Notes that plain secrets were overwritten, until [`Database::erase_remnants`] was run to its end.
    pub(super) async fn note_remnants(&mut self) -> Result<(), sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => sqlite::pool::note_remnants(transaction).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(..) => Ok(()),
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
