use std::{sync::LazyLock, time::Duration};

use sqlx::{Connection, SqliteConnection, SqlitePool};

use super::file::{APPLICATION_ID, FileError};
use crate::{migrations::Migrations, registry::error::RegistryError};

static MIGRATIONS: LazyLock<Migrations> = LazyLock::new(|| {
    Migrations::new([
        (
            1,
            "applications and credentials",
            include_str!("migrations/0001_applications_and_credentials.sql"),
        ),
        (2, "scopes and restrictions", include_str!("migrations/0002_scopes_and_restrictions.sql")),
        (3, "changes and life", include_str!("migrations/0003_changes_and_life.sql")),
        (4, "lists", include_str!("migrations/0004_lists.sql")),
        (5, "usage", include_str!("migrations/0005_usage.sql")),
        (6, "what is kept of usage", include_str!("migrations/0006_usage_kept.sql")),
    ])
});

/// Creates the schema, or brings it up to date.
pub(crate) async fn prepare(pool: &SqlitePool) -> Result<(), RegistryError> {
    let mut connection = pool.acquire().await?;
    if MIGRATIONS.has_pending(&mut *connection).await? {
        migrate(&mut connection).await?;
    }
    write_ahead(&mut connection).await
}

/// Applies the missing migrations in one transaction that locks out other writers. If several programs open a new file
/// at once, the first makes the schema, and the others wait and find it made.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), RegistryError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let application_id: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *transaction).await?;
    if application_id != i64::from(APPLICATION_ID) {
        // The file was empty when it was opened, but another program may have come first.
        let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut *transaction)
            .await?;
        if application_id != 0 || entries != 0 {
            return Err(FileError::Foreign.into());
        }
        let claim = format!("PRAGMA application_id = {APPLICATION_ID}");
        sqlx::query(sqlx::AssertSqlSafe(claim)).execute(&mut *transaction).await?;
    }
    MIGRATIONS.apply(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Sets the write-ahead log. The file keeps the mode, so this runs before the first connection that uses it.
async fn write_ahead(connection: &mut SqliteConnection) -> Result<(), RegistryError> {
    // SQLite does not wait for locks here, whatever its busy timeout.
    for _ in 0..200 {
        let set = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await;
        match set.map_err(RegistryError::from) {
            Err(RegistryError::File(FileError::Locked)) => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            set => return set.map(drop),
        }
    }
    Err(FileError::Locked.into())
}
