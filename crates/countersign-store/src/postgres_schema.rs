use countersign::Timestamp;
use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{Migrate, MigrateError, Migrator},
};

use crate::nonces::postgres::seconds;
use crate::{error::StoreError, migrations};

/// Its own, so that it is in nobody's way who has migrations in the same database.
const TABLE: &str = "countersign.migration";

/// Makes the schema, or brings it up to date. A mark that is not set yet becomes `first_mark`.
pub(crate) async fn prepare(pool: &PgPool, first_mark: Timestamp) -> Result<(), StoreError> {
    let unprepared =
        |error| StoreError::because("the schema countersign cannot be prepared", error);
    let migrator = migrator();
    let mut connection = pool.acquire().await.map_err(MigrateError::from).map_err(unprepared)?;
    // Looking first: whoever has nothing to change waits for nobody, and needs no right to write.
    if is_current(&migrator, &mut connection).await {
        return Ok(());
    }
    migrate(&migrator, &mut connection, first_mark).await.map_err(unprepared)
}

fn migrator() -> Migrator {
    let mut migrator = migrations::migrator([(
        1,
        "used nonces",
        include_str!("postgres_schema/0001_used_nonces.sql"),
    )]);
    migrator.dangerous_set_table_name(TABLE);
    migrator.create_schema("countersign");
    // Its lock is the session's, and would stay with the connection after an error.
    migrator.set_locking(false);
    migrator
}

/// Whether exactly these migrations were applied. What cannot be read now is asked again by [`migrate`].
async fn is_current(migrator: &Migrator, connection: &mut PgConnection) -> bool {
    let applied = connection.list_applied_migrations(TABLE).await.unwrap_or_default();
    let known = migrator.iter().map(|migration| (migration.version, &migration.checksum));
    applied.iter().map(|migration| (migration.version, &migration.checksum)).eq(known)
}

/// Everything in one transaction, that nobody else can be in. Of several who prepare a database at once, one makes the
/// schema, and the others wait and find it made.
async fn migrate(
    migrator: &Migrator,
    connection: &mut PgConnection,
    first_mark: Timestamp,
) -> Result<(), MigrateError> {
    // Whatever the default here is: what the others made is seen only by a snapshot that is taken after the wait.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    let mut transaction = connection.begin_with(begin).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('countersign', 0))")
        .execute(&mut *transaction)
        .await?;
    // As `Migrator::run` does it, whose future is not `Send` on a borrowed connection.
    migrator.run_direct(None, &mut *transaction, false).await?;
    sqlx::query(
        "SELECT setval('countersign.low_water_mark', $1) FROM countersign.low_water_mark
         WHERE NOT is_called",
    )
    .bind(seconds(first_mark))
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}
