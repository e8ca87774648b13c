//! The schema `countersign` in PostgreSQL: one for all that this crate keeps there.
//!
//! Each store asks [`prepare`] before it is used. A store with new tables adds a migration here.

use std::sync::LazyLock;

use sqlx::{Connection, PgConnection, PgPool, PgTransaction, migrate::MigrateError};

use crate::{error::StoreError, migrations::Migrations};

static MIGRATIONS: LazyLock<Migrations> = LazyLock::new(|| {
    // A schema and a table of its own, so that the migrations of other programs in the database are not in the way.
    Migrations::new([(1, "used nonces", include_str!("postgres_schema/0001_used_nonces.sql"))])
        .in_schema("countersign", "countersign.migration")
});

/// Makes the schema, or brings it up to date.
///
/// # Errors
///
/// [`StoreError`] if the database cannot be reached or changed, or was changed by a newer version.
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

/// Begins a transaction that no other server is in. Of several that prepare a database at once, one does it, and the others
/// wait and find it done.
pub(crate) async fn begin_alone(
    connection: &mut PgConnection,
) -> Result<PgTransaction<'_>, sqlx::Error> {
    // Whatever the default here is: what the others made is seen only by a snapshot that is taken after the wait.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    let mut transaction = connection.begin_with(begin).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('countersign', 0))")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}
