//! The schema `countersign` in PostgreSQL, which holds all tables of this crate.
//!
//! Each store prepares it before its first use. A store with new tables adds a migration here.

use std::sync::LazyLock;

use sqlx::{Connection, PgConnection, PgPool, PgTransaction, migrate::MigrateError};

use crate::{error::StoreError, migrations::Migrations};

static MIGRATIONS: LazyLock<Migrations> = LazyLock::new(|| {
    // The own schema and table keep the migrations of other programs in the same database apart.
    Migrations::new([
        (1, "used nonces", include_str!("postgres_schema/0001_used_nonces.sql")),
        (2, "registry", include_str!("postgres_schema/0002_registry.sql")),
    ])
    .in_schema("countersign", "countersign.migration")
});

/// Whether tables were made by this program, or were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Now,
    Before,
}

/// Creates the schema, or brings it up to date.
///
/// # Errors
///
/// [`StoreError`] if the database cannot be reached or changed, or if a newer version has changed it.
pub(crate) async fn prepare(pool: &PgPool) -> Result<(), StoreError> {
    let unprepared =
        |error| StoreError::because("the schema countersign cannot be prepared", error);
    let mut connection = pool.acquire().await.map_err(MigrateError::from).map_err(unprepared)?;
    update(&mut connection).await.map_err(unprepared)?;
    Ok(())
}

/// Creates the schema, or brings it up to date, and returns whether the tables of a registry were made by it.
pub(crate) async fn update(connection: &mut PgConnection) -> Result<Made, MigrateError> {
    if !MIGRATIONS.has_pending(&mut *connection).await? {
        return Ok(Made::Before);
    }
    let mut transaction = begin_alone(connection).await?;
    let had_registry = has_registry(&mut transaction).await?;
    MIGRATIONS.apply(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(if had_registry { Made::Before } else { Made::Now })
}

/// Whether the database has a registry.
pub(crate) async fn has_registry(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('countersign.credential') IS NOT NULL")
        .persistent(false)
        .fetch_one(connection)
        .await
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
