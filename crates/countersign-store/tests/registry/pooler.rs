//! A registry behind PgBouncer.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use countersign_store::{Ceiling, KeyStore, Owner, Registry, RegistryError, ServerError};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    home::postgres::Database,
    life::{NOW, add, id, key},
    listed::applications,
    server::Postgres,
};

/// A `pgbouncer` in front of a PostgreSQL server, on a socket in a folder of its own, until it is dropped.
struct PgBouncer {
    child: Child,
    folder: TempDir,
}

impl PgBouncer {
    /// With fewer connections to the server than a program has, unless it gives each a session.
    fn start(mode: &str, server: &Postgres) -> Self {
        let size = if mode == "session" { 20 } else { 3 };
        let folder = TempDir::new().unwrap();
        let at = folder.path().display();
        let host = server.folder().display();
        let settings = format!(
            "[databases]\n* = host={host} user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
             unix_socket_dir = {at}\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 200\n\
             default_pool_size = {size}\nlogfile = {at}/log\nquery_wait_timeout = 300\nserver_login_retry = 1\n"
        );
        fs::write(folder.path().join("settings.ini"), settings).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = Command::new("pgbouncer");
        command.arg("settings.ini").current_dir(folder.path()).env("PATH", path);
        // It refuses to run as root.
        if let Some((user, group)) = server.user() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
            command.uid(user).gid(group);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{error}: tests/run brings pgbouncer"));
        let pooler = Self { child, folder };
        let began = Instant::now();
        while !pooler.folder.path().join(".s.PGSQL.6432").exists() {
            assert!(began.elapsed() < NEVER, "it does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        pooler
    }

    fn url(&self, database: &str, parameters: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://postgres@localhost:6432/{database}?host={folder}{parameters}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const UNNAMED: &str = "&statement-cache-capacity=0";

/// Ends a test that waits for something that never happens. Far longer than a busy machine takes.
const NEVER: Duration = Duration::from_secs(300);

/// Does something again for as long as it waits too long for a lock or for one of the few connections: on a busy machine many
/// programs do. What is tried again may have been done.
async fn patiently<T, F: Future<Output = Result<T, RegistryError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, RegistryError> {
    let began = Instant::now();
    loop {
        match attempt().await {
            Err(RegistryError::Server(ServerError::Locked | ServerError::Unreachable(_)))
                if began.elapsed() < NEVER => {}
            done => return done,
        }
    }
}

/// Many programs use a registry at once: all on fewer connections than they have.
async fn many_programs(url: &str) -> Result<(), RegistryError> {
    let mut programs = JoinSet::new();
    for program in 100..108_u8 {
        let url = url.to_owned();
        programs.spawn(async move {
            let registry = patiently(|| Registry::open_or_create(&url)).await?;
            let (registry, id, name) = (&registry, &id(&key(program)), &format!("shop{program}"));
            patiently(|| async move {
                match registry.add_application(name.as_str(), "live", NOW).await {
                    Ok(_) | Err(RegistryError::Exists(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .await?;
            for _ in 0..20 {
                patiently(|| applications(registry)).await?;
                // As a server looks a key up, and the error says what was wrong.
                patiently(|| async move {
                    match registry.credential(id).await {
                        Err(RegistryError::NotFound(_)) => Ok(()),
                        found => found.map(drop),
                    }
                })
                .await?;
                patiently(|| registry.audit_entries(0, 5)).await?;
            }
            patiently(|| async move {
                match registry.remove_application(name, NOW).await {
                    Err(RegistryError::NotFound(_)) => Ok(()),
                    removed => removed,
                }
            })
            .await
        });
    }
    while let Some(done) = programs.join_next().await {
        done.unwrap()?;
    }
    Ok(())
}

async fn life(url: &str) {
    let registry = Registry::open_or_create(url).await.unwrap();
    add(&registry, &key(1)).await;
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    let owner = Owner::random().unwrap();
    registry.take_over(owner).await.unwrap();
    registry.raise(owner, NOW).await.unwrap();
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    assert!(registry.credential(&id(&key(1))).await.unwrap().revoked_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_transactions_a_registry_works_without_named_statements() {
    let database = Database::create().await;
    let pooler = PgBouncer::start("transaction", database.server());
    let url = pooler.url(database.name(), UNNAMED);
    life(&url).await;
    many_programs(&url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_transactions_named_statements_are_called_what_they_are() {
    let database = Database::create().await;
    let pooler = PgBouncer::start("transaction", database.server());
    let url = pooler.url(database.name(), "");
    let error = many_programs(&url).await.unwrap_err();
    assert!(matches!(error, RegistryError::Server(ServerError::Pooler)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_sessions_a_registry_works_as_without() {
    let database = Database::create().await;
    let pooler = PgBouncer::start("session", database.server());
    for parameters in ["", UNNAMED] {
        let url = pooler.url(database.name(), parameters);
        life_once_more(&url).await;
    }
}

/// One program after the other: a session keeps a connection of the pooler for itself.
async fn life_once_more(url: &str) {
    let registry = Registry::open_or_create(url).await.unwrap();
    for number in 0..3 {
        let name = format!("shop{number}");
        registry.add_application(&name, "live", NOW).await.unwrap();
        assert_eq!(applications(&registry).await.unwrap().len(), 1);
        registry.remove_application(&name, NOW).await.unwrap();
    }
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pooler_says_itself_is_told_apart() {
    let mut server = Postgres::start();
    let pooler = PgBouncer::start("transaction", &server);
    let registry = Registry::open_or_create(&pooler.url("postgres", UNNAMED)).await.unwrap();
    add(&registry, &key(1)).await;
    let missing = Registry::open(&pooler.url("not_there", UNNAMED)).await.unwrap_err();
    assert!(matches!(missing, RegistryError::Server(ServerError::NoDatabase)), "{missing:?}");
    server.kill();
    let refused = registry.credential(&id(&key(1))).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Server(ServerError::Unreachable(_))), "{refused:?}");
    server.run();
    let began = Instant::now();
    while let Err(error) = registry.credential(&id(&key(1))).await {
        // A pooler waits before it connects again.
        assert!(began.elapsed() < NEVER, "{error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
}
