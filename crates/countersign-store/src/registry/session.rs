#[cfg(feature = "postgres")]
use super::postgres::{reader::Reader, transaction::Transaction};
#[cfg(feature = "sqlite")]
use super::query::on_sqlite;
use super::query::{Query, Row};

/// A connection that runs statements.
#[derive(Debug)]
pub(super) enum Session<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut sqlx::SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut Transaction),
    /// Outside of changes.
    #[cfg(feature = "postgres")]
    PostgresReader(&'c Reader),
}

impl Session<'_> {
    /// Runs a statement in a transaction, and returns the number of rows that it changed.
    pub(super) async fn execute(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => {
                let done = on_sqlite(&query).execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.execute(&query).await,
            #[cfg(feature = "postgres")]
            Self::PostgresReader(_) => {
                Err(sqlx::Error::Protocol("a statement that writes is run in a transaction".into()))
            }
        }
    }

    /// Runs a statement to its end, and returns its rows.
    pub(super) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => {
                let rows = on_sqlite(&query).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.rows(&query).await,
            #[cfg(feature = "postgres")]
            Self::PostgresReader(reader) => reader.rows(&query).await,
        }
    }

    /// Runs a statement to its end, and returns its first row.
    pub(super) async fn fetch_optional(
        &mut self,
        query: Query,
    ) -> Result<Option<Row>, sqlx::Error> {
        // SQLite commits a statement only when its last row was fetched.
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Runs a statement that returns a row.
    pub(super) async fn fetch_one(&mut self, query: Query) -> Result<Row, sqlx::Error> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }
}
