#[cfg(feature = "postgres")]
use super::postgres::{reader::Reader, transaction::Transaction};
#[cfg(feature = "sqlite")]
use super::query::on_sqlite;
use super::query::{Cell, Query, Row, Rows};

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

    /// Runs a statement over rows, however many there are, and returns the number of rows that it changed.
    pub(super) async fn execute_over(
        &mut self,
        text: &str,
        rows: &[Vec<Cell>],
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0_u64;
        for rows in self.parts(rows) {
            changed = changed.saturating_add(self.execute(Query::over(text, rows)).await?);
        }
        Ok(changed)
    }

    /// Runs a statement over rows, however many there are, and returns its rows.
    pub(super) async fn fetch_over(
        &mut self,
        text: &str,
        rows: &[Vec<Cell>],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let mut fetched = Vec::new();
        for rows in self.parts(rows) {
            fetched.extend(self.fetch_all(Query::over(text, rows)).await?);
        }
        Ok(fetched)
    }

    /// Whether the tables of usage are partitions.
    pub(super) const fn has_partitions(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) | Self::PostgresReader(_) => true,
        }
    }

    /// Divides rows among statements.
    fn parts(&self, mut rows: &[Vec<Cell>]) -> Vec<Rows> {
        let sizes: &[usize] = match self {
            // The text of a statement says how many there are, so that few sizes are used again and again.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => &[64, 8, 1],
            #[cfg(feature = "postgres")]
            Self::Postgres(_) | Self::PostgresReader(_) => &[1000],
        };
        let mut parts = Vec::new();
        for (number, size) in (1..).zip(sizes) {
            let is_last = number == sizes.len();
            while rows.len() >= *size || (is_last && !rows.is_empty()) {
                let (part, rest) = rows.split_at(rows.len().min(*size));
                parts.push(Rows::of(part));
                rows = rest;
            }
        }
        parts
    }
}
