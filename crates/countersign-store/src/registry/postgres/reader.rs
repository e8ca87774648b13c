use super::{connection, pool::Pool};
use crate::registry::query::{Prepared, Query, Row};

/// Reads outside of changes.
///
/// A read whose connection was lost is done again on another one: the server may have restarted since that was used last.
#[derive(Debug)]
pub(crate) struct Reader {
    pool: Pool,
}

impl Reader {
    pub(crate) const fn of(pool: Pool) -> Self {
        Self { pool }
    }

    /// Runs a statement that changes nothing, and returns its rows.
    pub(in super::super) async fn rows(&self, query: &Query) -> Result<Vec<Row>, sqlx::Error> {
        let mut attempts = Pool::attempts();
        loop {
            match self.attempt(query).await {
                Err(error) if attempts.has_another_after(&error) => {}
                rows => return rows,
            }
        }
    }

    async fn attempt(&self, query: &Query) -> Result<Vec<Row>, sqlx::Error> {
        match self.pool.prepared() {
            Prepared::Kept => {
                let mut connection = self.pool.acquire().await?;
                connection::rows(&mut connection, Prepared::Kept, query).await
            }
            // A pooler gives a transaction one connection, and the two steps of a statement perhaps two.
            Prepared::Anew => {
                let mut transaction = self.pool.begin().await?;
                let rows = transaction.rows(query).await?;
                transaction.commit().await?;
                Ok(rows)
            }
        }
    }
}
