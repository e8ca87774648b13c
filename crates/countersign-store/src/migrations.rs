//! Migrations, with the same rule of versions for both databases.
//!
//! A schema has the migrations of one version of this crate. All programs on a database need that version, or an
//! earlier version with the same schema. If a migration is missing, a program that knows it applies it and all
//! later migrations, in one transaction. If a database has an unknown migration, or a known migration with another
//! text, the program refuses the database and changes nothing.

use sqlx::{
    SqlStr,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
};

/// The migrations of a schema.
#[derive(Debug)]
pub(crate) struct Migrations(Migrator);

impl Migrations {
    /// Lists the migrations: version, description and SQL of each.
    ///
    /// Replaces `sqlx::migrate!`: its macros build SQLite a second time, for the compiler itself.
    pub(crate) fn new<const N: usize>(migrations: [(i64, &'static str, &'static str); N]) -> Self {
        let migrations = migrations.map(|(version, description, sql)| {
            let (kind, sql) = (MigrationType::Simple, SqlStr::from_static(sql));
            Migration::new(version, description.into(), kind, sql, false)
        });
        Self(Migrator::with_migrations(migrations.into()))
    }

    /// Creates this schema, and keeps the table of applied migrations in it.
    #[cfg(feature = "postgres")]
    pub(crate) fn in_schema(mut self, schema: &'static str, table: &'static str) -> Self {
        self.0.create_schema(schema);
        self.0.dangerous_set_table_name(table);
        // The lock of sqlx belongs to the session, and would stay with the connection after an error.
        self.0.set_locking(false);
        self
    }

    /// Whether a migration has yet to be applied. Changes no row: a program on a current schema neither waits for others nor needs the right to write.
    ///
    /// # Errors
    ///
    /// [`MigrateError`] if this version does not know the schema.
    pub(crate) async fn has_pending(
        &self,
        connection: &mut impl Migrate,
    ) -> Result<bool, MigrateError> {
        let table = &self.0.table_name;
        let applied = match connection.list_applied_migrations(table).await {
            Ok(applied) => applied,
            Err(error) if is_refused(&error) => return Err(error),
            // `apply` makes the table, or fails.
            Err(_) => return Ok(true),
        };
        if let Some(version) = connection.dirty_version(table).await? {
            return Err(MigrateError::Dirty(version));
        }
        for one in &applied {
            let known = self.0.iter().find(|migration| migration.version == one.version);
            let known = known.ok_or(MigrateError::VersionMissing(one.version))?;
            if known.checksum != one.checksum {
                return Err(MigrateError::VersionMismatch(one.version));
            }
        }
        let is_applied = |version| applied.iter().any(|one| one.version == version);
        Ok(!self.0.iter().all(|migration| is_applied(migration.version)))
    }

    /// Applies the missing migrations. Call it in a transaction without other programs.
    ///
    /// # Errors
    ///
    /// [`MigrateError`], also if this version does not know the schema.
    pub(crate) async fn apply(&self, transaction: &mut impl Migrate) -> Result<(), MigrateError> {
        // Does the same as `Migrator::run`, whose future is not `Send` on a borrowed connection.
        self.0.run_direct(None, transaction, false).await
    }
}

/// Whether the user of the database may not read a table that exists (Appendix A of PostgreSQL's documentation).
fn is_refused(error: &MigrateError) -> bool {
    let MigrateError::Execute(error) = error else { return false };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"))
}
