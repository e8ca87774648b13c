//! Statements on a connection. Each waits for its reply for a bounded time.

use sqlx::{PgConnection, Postgres, pool::PoolConnection};

use super::patience;
use crate::registry::query::{Prepared, Query, Row, on_postgres};

/// Runs a statement to its end on a connection outside of the pool, and returns its rows. After an error the connection may be of
/// no use.
pub(in super::super) async fn rows_of(
    connection: &mut PgConnection,
    prepared: Prepared,
    query: &Query,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = patience::for_reply(on_postgres(query, prepared).fetch_all(connection)).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

/// Runs a statement to its end, and returns its rows.
pub(super) async fn rows(
    connection: &mut PoolConnection<Postgres>,
    prepared: Prepared,
    query: &Query,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = rows_of(connection, prepared, query).await;
    close_if_lost(connection, &rows);
    rows
}

/// Runs a statement, and returns the number of rows that it changed.
pub(super) async fn execute(
    connection: &mut PoolConnection<Postgres>,
    prepared: Prepared,
    query: &Query,
) -> Result<u64, sqlx::Error> {
    let reply = on_postgres(query, prepared).execute(&mut **connection);
    let done = patience::for_reply(reply).await;
    close_if_lost(connection, &done);
    Ok(done?.rows_affected())
}

/// Closes a connection without a reply when it is dropped: the reply could come later.
fn close_if_lost<T>(connection: &mut PoolConnection<Postgres>, reply: &Result<T, sqlx::Error>) {
    if matches!(reply, Err(sqlx::Error::Io(_))) {
        connection.close_on_drop();
    }
}
