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
        (3, "lists", include_str!("postgres_schema/0003_lists.sql")),
        (4, "usage", include_str!("postgres_schema/0004_usage.sql")),
        (5, "what is kept of usage", include_str!("postgres_schema/0005_usage_kept.sql")),
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
    let failed = "the schema countersign cannot be prepared";
    let connecting = pool.acquire().await;
    let mut connection = connecting.map_err(|error| StoreError::because(failed, error))?;
    let updated = update(&mut connection).await;
    updated.map(drop).map_err(|error| StoreError::because(failed, error))
}

/// Creates the schema, or brings it up to date, and returns whether the tables of a registry were made by it.
pub(crate) async fn update(connection: &mut PgConnection) -> Result<Made, Unprepared> {
    // A pooler gives a transaction one connection, and two statements perhaps two.
    let mut looking = connection.begin().await.map_err(MigrateError::from)?;
    let has_pending = MIGRATIONS.has_pending(&mut *looking).await?;
    // Behind a pooler they would stay, and the next program could not give their names to its own.
    looking.clear_cached_statements().await.map_err(MigrateError::from)?;
    looking.rollback().await.map_err(MigrateError::from)?;
    if !has_pending {
        return Ok(Made::Before);
    }
    apply(connection).await.map_err(Unprepared::NotApplied)
}

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprepared {
    /// Its state cannot be read, or is one that this version does not know.
    #[error(transparent)]
    NotRead(#[from] MigrateError),
    /// A migration is missing, and cannot be applied.
    #[error(transparent)]
    NotApplied(MigrateError),
}

async fn apply(connection: &mut PgConnection) -> Result<Made, MigrateError> {
    let mut transaction = begin_alone(connection).await?;
    let had_registry = has_registry(&mut transaction).await?;
    MIGRATIONS.apply(&mut *transaction).await?;
    transaction.clear_cached_statements().await?;
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
