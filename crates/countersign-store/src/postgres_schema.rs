//! The schema `countersign` in PostgreSQL, which holds all tables of this crate.
//!
//! Each store calls [`prepare`] before its first use. A store with new tables adds a migration here.

use std::sync::LazyLock;

use sqlx::{Connection, PgConnection, PgPool, PgTransaction, migrate::MigrateError};

use crate::{error::StoreError, migrations::Migrations};

static MIGRATIONS: LazyLock<Migrations> = LazyLock::new(|| {
    // The own schema and table keep the migrations of other programs in the same database apart.
    Migrations::new([(1, "used nonces", include_str!("postgres_schema/0001_used_nonces.sql"))])
        .in_schema("countersign", "countersign.migration")
});

/// Creates the schema, or brings it up to date.
///
/// # Errors
///
/// [`StoreError`] if the database cannot be reached or changed, or if a newer version has changed it.
pub(crate) async fn prepare(pool: &PgPool) -> Result<(), StoreError> {
    let unprepared =
        |error| StoreError::because("the schema countersign cannot be prepared", error);
    let mut connection = pool.acquire().await.map_err(MigrateError::from).map_err(unprepared)?;
    if MIGRATIONS.has_pending(&mut *connection).await.map_err(unprepared)? {
        migrate(&mut connection).await.map_err(unprepared)?;
    }
    Ok(())
}

async fn migrate(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut transaction = begin_alone(connection).await?;
    MIGRATIONS.apply(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Begins a transaction that excludes all other servers. If several servers prepare a database at once, the first makes
/// the schema, and the others wait and find it made.
pub(crate) async fn begin_alone(
    connection: &mut PgConnection,
) -> Result<PgTransaction<'_>, sqlx::Error> {
    // Set explicitly: only a snapshot taken after the wait shows the changes of other servers.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    let mut transaction = connection.begin_with(begin).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('countersign', 0))")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}
