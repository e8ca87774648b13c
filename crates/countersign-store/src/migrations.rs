use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// Applies these migrations: version, description and SQL of each.
///
/// In place of `sqlx::migrate!`, whose macros build SQLite a second time, for the compiler itself.
pub(crate) fn migrator<const N: usize>(
    migrations: [(i64, &'static str, &'static str); N],
) -> Migrator {
    let migrations = migrations.map(|(version, description, sql)| {
        let (kind, sql) = (MigrationType::Simple, SqlStr::from_static(sql));
        Migration::new(version, description.into(), kind, sql, false)
    });
    Migrator::with_migrations(migrations.into())
}
