use sqlx::{Executor as _, Sqlite, SqliteConnection, pool::PoolConnection};

/// A transaction that nobody else writes beside. If it is dropped before its end, its connection is closed, which undoes it.
///
/// The transaction of sqlx would give the connection back to the pool. After a full disk SQLite has undone the transaction by
/// itself, sqlx cannot undo it once more, and its connection could never begin another one.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: PoolConnection<Sqlite>,
    has_ended: bool,
}

impl Transaction {
    pub(super) async fn begin(connection: PoolConnection<Sqlite>) -> Result<Self, sqlx::Error> {
        let mut transaction = Self { connection, has_ended: false };
        transaction.connection.execute("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes the transaction, and keeps its connection.
    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        self.connection.execute(how).await?;
        self.has_ended = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.close_on_drop();
        }
    }
}
