use sqlx::{Executor as _, Postgres, pool::PoolConnection};

use super::{connection, patience};
use crate::registry::query::{Prepared, Query, Row};

/// The channel on which changes are announced.
pub(crate) const CHANNEL: &str = "countersign";

/// How a transaction begins.
///
/// A commit that is confirmed is on disk, whatever is set for the database; a setting that asks for more is kept. If this
/// program loses its connection, the server undoes the transaction after 5 s, and other changes go on. The transaction is not
/// `READ WRITE`: whoever makes a database read-only means it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SET LOCAL lock_timeout = '2s'; \
     SET LOCAL idle_in_transaction_session_timeout = '5s'; \
     SELECT set_config('synchronous_commit', 'on', true) \
     WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A transaction. If it is dropped before its end, its connection is closed, and the server undoes it.
///
/// The transaction of sqlx would give the connection back to the pool, which waits for the server there. That can take a quarter
/// of an hour if the machine of the server is gone.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: PoolConnection<Postgres>,
    prepared: Prepared,
    has_ended: bool,
}

impl Transaction {
    pub(super) async fn begin(
        connection: PoolConnection<Postgres>,
        prepared: Prepared,
    ) -> Result<Self, sqlx::Error> {
        let mut transaction = Self { connection, prepared, has_ended: false };
        transaction.run(BEGIN).await?;
        Ok(transaction)
    }

    pub(in super::super) async fn execute(&mut self, query: &Query) -> Result<u64, sqlx::Error> {
        connection::execute(&mut self.connection, self.prepared, query).await
    }

    pub(in super::super) async fn rows(&mut self, query: &Query) -> Result<Vec<Row>, sqlx::Error> {
        connection::rows(&mut self.connection, self.prepared, query).await
    }

    /// Sends a notice, when the transaction is committed, to all who listen.
    pub(crate) async fn announce(&mut self) -> Result<(), sqlx::Error> {
        self.rows(&Query::new("SELECT pg_notify($1, '')").bind(CHANNEL)).await.map(drop)
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes the transaction, and keeps its connection.
    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        self.run(how).await?;
        self.has_ended = true;
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        patience::for_reply(self.connection.execute(statement)).await.map(drop)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.close_on_drop();
        }
    }
}
