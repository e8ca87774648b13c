//! Registries of the last release, and programs that bring one up to date at once.

use countersign::{KeyId, Timestamp};
use countersign_store::{Ceiling, KeyStore, Owner, Registry};
use sqlx::{
    Connection as _, SqlStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::{
    home::{Home, on_both},
    life::{NOW, id, key},
    listed::applications,
};

on_both! {
    of_many_programs_that_make_a_registry_at_once_none_fails
    of_many_programs_that_update_a_registry_at_once_none_fails_and_nothing_is_lost
}

/// As many programs as a rolling deployment has, and more.
const PROGRAMS: usize = 20;

fn migrations<const N: usize>(
    texts: [(i64, &'static str, &'static str); N],
    table: &'static str,
) -> Migrator {
    let migrations = texts.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(table);
    migrator
}

impl Home {
    /// Makes it what the last release left: a registry in SQLite; in PostgreSQL the nonces alone.
    async fn as_of_the_last_release(&self) {
        match self {
            Self::Sqlite(_) => {
                let url = format!("{}?mode=rwc", self.url());
                let connection = &mut SqliteConnection::connect(&url).await.unwrap();
                sqlx::query("PRAGMA application_id = 1666410350")
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                let texts = [
                    (
                        1,
                        "applications and credentials",
                        include_str!(
                            "../../src/registry/sqlite/migrations/0001_applications_and_credentials.sql"
                        ),
                    ),
                    (
                        2,
                        "scopes and restrictions",
                        include_str!(
                            "../../src/registry/sqlite/migrations/0002_scopes_and_restrictions.sql"
                        ),
                    ),
                ];
                migrations(texts, "_sqlx_migrations")
                    .run_direct(None, connection, false)
                    .await
                    .unwrap();
            }
            #[cfg(all(feature = "postgres", unix))]
            Self::Postgres(database) => {
                let texts = [(
                    1,
                    "used nonces",
                    include_str!("../../src/postgres_schema/0001_used_nonces.sql"),
                )];
                let mut migrator = migrations(texts, "countersign.migration");
                migrator.create_schema("countersign");
                migrator.run_direct(None, &mut database.connect().await, false).await.unwrap();
            }
        }
    }
}

async fn open_at_once(home: &Home) -> Vec<Registry> {
    let opening: Vec<_> = (0..PROGRAMS)
        .map(|_| {
            let url = home.url();
            tokio::spawn(async move { Registry::open_or_create(&url).await })
        })
        .collect();
    let mut registries = Vec::new();
    for opened in opening {
        registries.push(opened.await.unwrap().unwrap());
    }
    registries
}

async fn of_many_programs_that_make_a_registry_at_once_none_fails(home: Home) {
    let registries = open_at_once(&home).await;
    for (number, registry) in registries.iter().enumerate() {
        registry.add_application(&format!("shop{number}"), "live", NOW).await.unwrap();
    }
    let first = registries.first().unwrap();
    assert_eq!(applications(first).await.unwrap().len(), PROGRAMS);
    assert_eq!(first.audit_entries(0, 100).await.unwrap().len(), PROGRAMS);
}

async fn of_many_programs_that_update_a_registry_at_once_none_fails_and_nothing_is_lost(
    home: Home,
) {
    home.as_of_the_last_release().await;
    let key = key(1);
    let publishable = key.publishable_key();
    let thumbprint = KeyId::Thumbprint(key.verifying_key().thumbprint().unwrap());
    if matches!(home, Home::Sqlite(_)) {
        home.raw(&format!(
            "INSERT INTO application (name, environment, created_at) VALUES ('shop', 'live', 1);
             INSERT INTO credential
                 (application_id, publishable_key, thumbprint, label, state, created_at, scopes)
             VALUES (1, '{publishable}', '{thumbprint}', 'laptop', 'active', 1, 'orders:read');
             INSERT INTO replay_ceiling (id, owner, seconds) VALUES (1, 7, 100)"
        ))
        .await;
    }
    let registries = open_at_once(&home).await;
    let registry = registries.first().unwrap();
    if matches!(home, Home::Sqlite(_)) {
        let found = registry.find(&id(&key), NOW).await.unwrap().unwrap();
        assert_eq!(found.label, "laptop");
        assert_eq!(found.scopes.to_string(), "orders:read");
        let ceiling = registry.take_over(Owner::random().unwrap()).await.unwrap();
        assert_eq!(ceiling, Some(Timestamp::from_unix(100)));
    }
    for (number, registry) in registries.iter().enumerate() {
        registry.add_application(&format!("shop{number}"), "live", NOW).await.unwrap();
    }
}
