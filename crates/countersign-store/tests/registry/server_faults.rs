//! What only a database server can do: refuse a user, be a replica, restart, cut a connection, and not reply.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::ProvenKey;
use countersign_store::{
    Ceiling, HeldKeys, KeyStore, Owner, Registry, RegistryError, ServerError, Subject,
    UsageSink as _,
};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    home::postgres::Database,
    life::{NOW, add, id, key},
    listed::applications,
    relay::{Fault, Relay},
    server::Postgres,
};

#[track_caller]
fn server_error<T>(result: Result<T, RegistryError>) -> ServerError {
    match result.map(drop).unwrap_err() {
        RegistryError::Server(error) => error,
        other => panic!("{other:?}"),
    }
}

/// An error with all its causes, in every form in which it can reach a log.
fn all_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut all = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        all.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    all
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() {
    let database = Database::create().await;
    let url = database.url();
    let missing = url.replace(database.name(), "not_there");
    assert!(matches!(server_error(Registry::open(&missing).await), ServerError::NoDatabase));
    let empty = server_error(Registry::open(&url).await);
    assert!(matches!(empty, ServerError::NoRegistry), "{empty:?}");
    database.registry().await;
    Registry::open(&url).await.unwrap();
    let elsewhere = url.replace("?host=", "?host=/nowhere");
    let unreachable = server_error(Registry::open(&elsewhere).await);
    assert!(matches!(unreachable, ServerError::Unreachable(_)), "{unreachable:?}");
    database.raw("DROP TABLE countersign.credential CASCADE").await.unwrap();
    let gone = server_error(Registry::open(&url).await);
    assert!(matches!(gone, ServerError::NoRegistry), "{gone:?}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_no_password_is_shown() {
    let database = Database::create().await;
    // The server asks this role alone for a password.
    database.raw("CREATE ROLE with_password LOGIN PASSWORD 'right-canary'").await.unwrap();
    database.registry().await;
    let url =
        |password: &str| database.url().replace("postgres@", &format!("with_password:{password}@"));
    let refused = Registry::open(&url("wrong-canary")).await;
    let RegistryError::Server(ServerError::Refused(_)) = refused.as_ref().unwrap_err() else {
        panic!("{refused:?}")
    };
    let error = refused.unwrap_err();
    assert!(!all_of(&error).contains("canary"), "{}", all_of(&error));
    let admitted = Registry::open(&url("right-canary")).await.unwrap_err();
    // It is let in, and may do nothing yet.
    assert!(
        matches!(admitted, RegistryError::Server(ServerError::NoPermission(_))),
        "{admitted:?}"
    );
    assert!(!all_of(&admitted).contains("canary"));
    let name = Registry::name_of(&url("right-canary")).unwrap();
    assert!(name.starts_with("postgres://with_password@"), "{name}");
    database
        .raw("GRANT USAGE ON SCHEMA countersign TO with_password; GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO with_password")
        .await
        .unwrap();
    let registry = Registry::open(&url("right-canary")).await.unwrap();
    assert!(!format!("{registry:?} {}", registry.name()).contains("canary"));
    for misspelt in ["passwort", "pasword", "password", "PASSWORD", "sslpassword"] {
        let refused = Registry::open(&format!("{}&{misspelt}=canary", database.url())).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, RegistryError::UnsupportedParameter), "{error:?}");
        assert!(!all_of(&error).contains("canary"));
    }
}

/// The SQL of docs/operate/registry-in-postgres.md that gives rights to the roles of a server and of an administrator.
fn documented_rights() -> &'static str {
    let guide = include_str!("../../../../docs/operate/registry-in-postgres.md");
    let (_, rights) = guide.split_once("## Rights").unwrap();
    let (_, sql) = rights.split_once("```sql\n").unwrap();
    sql.split_once("```").unwrap().0
}

#[tokio::test]
async fn a_server_and_an_administrator_need_no_more_rights_than_the_guide_gives_them() {
    let database = Database::create().await;
    let registry = database.registry().await;
    add(&registry, &key(1)).await;
    database.raw("CREATE ROLE shop LOGIN; CREATE ROLE ops LOGIN").await.unwrap();
    let url = |role: &str| database.url().replace("postgres@", &format!("{role}@"));
    let refused = server_error(Registry::open(&url("shop")).await);
    assert!(matches!(refused, ServerError::NoPermission(_)), "{refused:?}");
    database.raw(documented_rights()).await.unwrap();

    let server = Registry::open_or_create(&url("shop")).await.unwrap();
    assert!(server.find(&id(&key(1)), NOW).await.unwrap().is_some());
    let owner = Owner::random().unwrap();
    server.take_over(owner).await.unwrap();
    server.raise(owner, NOW).await.unwrap();
    let mut batch = countersign_store::UsageBatch::new(1, 1);
    batch.calls.insert(crate::usage::call(1, "/v1", NOW), crate::usage::calls(1));
    server.save(&batch, NOW).await.unwrap();
    let years = std::time::Duration::from_secs(10 * 365 * 86_400);
    assert_eq!(server.prune_usage(NOW.plus(years)).await.unwrap().partitions, 7);
    let revoked = server_error(server.revoke(&id(&key(1)), None, NOW).await);
    assert!(matches!(revoked, ServerError::NoPermission(_)), "{revoked:?}");
    let added = server_error(server.add_application("other", "live", NOW).await);
    assert!(matches!(added, ServerError::NoPermission(_)), "{added:?}");

    let administrator = Registry::open_or_create(&url("ops")).await.unwrap();
    administrator.add_application("other", "live", NOW).await.unwrap();
    administrator.remove_application("other", NOW).await.unwrap();
    add(&administrator, &key(2)).await;
    administrator
        .change_credential(&id(&key(2)), NOW, |settings| {
            settings.scopes = "orders:read".parse().unwrap();
        })
        .await
        .unwrap();
    for key in [key(1), key(2)] {
        administrator.revoke(&id(&key), None, NOW).await.unwrap();
    }
    assert_eq!(administrator.audit_entries(0, 100).await.unwrap().len(), 8);
    for statement in [
        "UPDATE countersign.audit_entry SET actor = 'nobody'",
        "DELETE FROM countersign.credential",
        "CREATE TABLE countersign.mine (id bigint)",
    ] {
        let mut connection = PgConnection::connect(&url("ops")).await.unwrap();
        let error = connection.execute(statement).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
}

#[tokio::test]
async fn only_who_may_make_tables_can_make_or_update_a_registry() {
    let database = Database::create().await;
    database.raw("CREATE ROLE guest LOGIN").await.unwrap();
    let url = database.url().replace("postgres@", "guest@");
    let refused = server_error(Registry::open_or_create(&url).await);
    assert!(matches!(refused, ServerError::MayNotPrepare(_)), "{refused:?}");
    database.registry().await;
    database
        .raw(
            "GRANT USAGE ON SCHEMA countersign TO guest;
             GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO guest",
        )
        .await
        .unwrap();
    Registry::open_or_create(&url).await.unwrap();
    // As if a later version had one more.
    database.raw("DELETE FROM countersign.migration WHERE version = 2").await.unwrap();
    let refused = server_error(Registry::open(&url).await);
    assert!(matches!(refused, ServerError::MayNotPrepare(_)), "{refused:?}");
}

#[tokio::test]
async fn errors_of_the_server_in_the_middle_of_a_change_are_told_apart() {
    let database = Database::create().await;
    let registry = database.registry().await;
    database
        .raw(
            "CREATE TABLE public.fault (code text);
             INSERT INTO public.fault VALUES ('');
             CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE fault text := (SELECT code FROM public.fault);
             BEGIN
                 IF fault <> '' THEN RAISE EXCEPTION 'a fault' USING ERRCODE = fault; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER fail BEFORE INSERT ON countersign.audit_entry
             FOR EACH ROW EXECUTE FUNCTION public.fail()",
        )
        .await
        .unwrap();
    for (code, variant) in [
        ("53100", "DiskFull"),
        ("25006", "ReadOnly"),
        ("40P01", "Locked"),
        ("57014", "Cancelled"),
        ("57P01", "Unreachable"),
        ("53300", "Unreachable"),
        ("42501", "NoPermission"),
        ("XX001", "Damaged"),
    ] {
        database.raw(&format!("UPDATE public.fault SET code = '{code}'")).await.unwrap();
        let error = server_error(registry.add_application("shop", "live", NOW).await);
        assert!(format!("{error:?}").starts_with(variant), "{code}: {error:?}");
        assert!(applications(&registry).await.unwrap().is_empty(), "{code}");
    }
    database.raw("UPDATE public.fault SET code = ''").await.unwrap();
    registry.add_application("shop", "live", NOW).await.unwrap();
    assert_eq!(registry.audit_entries(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_database_that_its_operator_made_read_only_is_read_and_not_written() {
    let database = Database::create().await;
    let registry = database.registry().await;
    add(&registry, &key(1)).await;
    registry.close().await;
    let name = database.name();
    database
        .raw(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await
        .unwrap();
    let registry = Registry::open(&database.url()).await.unwrap();
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    let refused = server_error(registry.revoke(&id(&key(1)), None, NOW).await);
    assert!(matches!(refused, ServerError::ReadOnly), "{refused:?}");
    let owner = Owner::random().unwrap();
    assert!(registry.take_over(owner).await.is_err());
}

#[tokio::test]
async fn a_commit_is_on_disk_when_it_is_confirmed_whatever_is_set_for_the_database() {
    let database = Database::create().await;
    let registry = database.registry().await;
    let name = database.name();
    database
        .raw(
            "CREATE TABLE public.seen (setting text);
             CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.seen VALUES (current_setting('synchronous_commit'));
                 RETURN NEW;
             END $$;
             CREATE TRIGGER look BEFORE INSERT ON countersign.audit_entry
             FOR EACH ROW EXECUTE FUNCTION public.look();
             CREATE TRIGGER look BEFORE INSERT OR UPDATE ON countersign.replay_ceiling
             FOR EACH ROW EXECUTE FUNCTION public.look()",
        )
        .await
        .unwrap();
    registry.close().await;
    for (number, (set, seen)) in
        [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
            .into_iter()
            .enumerate()
    {
        database
            .raw(&format!(
                "ALTER DATABASE {name} SET synchronous_commit = {set}; DELETE FROM public.seen"
            ))
            .await
            .unwrap();
        let registry = Registry::open(&database.url()).await.unwrap();
        registry.add_application(&format!("shop{number}"), "live", NOW).await.unwrap();
        let owner = Owner::random().unwrap();
        registry.take_over(owner).await.unwrap();
        registry.raise(owner, NOW).await.unwrap();
        let settings = "SELECT string_agg(DISTINCT setting, ' ') || count(*) FROM public.seen";
        let found = database.ask(settings).await;
        // An insert that meets its row is an update as well.
        assert!(found.starts_with(seen) && !found.contains(' '), "{set}: {found}");
    }
}

/// Ends all connections of others to a database.
async fn cut_all(database: &Database) {
    database
        .raw(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
}

/// Uses all connections of a registry at once.
async fn use_all(registry: &Registry) {
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let registry = registry.clone();
        reads.spawn(async move { applications(&registry).await.unwrap().len() });
    }
    reads.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_noticed_by_no_read_and_by_no_change_that_begins_then() {
    let database = Database::create().await;
    let registry = database.registry().await;
    add(&registry, &key(1)).await;
    for round in 0..20 {
        use_all(&registry).await;
        cut_all(&database).await;
        if round % 2 == 0 {
            assert!(registry.credential(&id(&key(1))).await.is_ok(), "{round}");
        } else {
            registry.add_application(&format!("shop{round}"), "live", NOW).await.unwrap();
        }
    }
    assert_eq!(registry.audit_entries(0, 100).await.unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_in_the_middle_of_a_change_was_made_or_not_and_the_answer_says_which() {
    let database = Database::create().await;
    let registry = database.registry().await;
    let (url, stop) = (database.url(), Arc::new(AtomicBool::new(false)));
    let cutting = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::SeqCst) {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
                drop(connection.execute(cut).await);
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        }
    });
    let mut made = Vec::new();
    for number in 0..150 {
        let name = format!("shop{number}");
        match registry.add_application(&name, "live", NOW).await {
            Ok(_) => made.push(name),
            Err(RegistryError::Server(ServerError::Unreachable(_))) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    stop.store(true, Ordering::SeqCst);
    cutting.await.unwrap();
    assert!(made.len() > 10, "{}", made.len());
    let mut listed: Vec<_> = applications(&registry)
        .await
        .unwrap()
        .into_iter()
        .map(|app| app.unwrap().name.to_string())
        .collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
    let entries = registry.audit_entries(0, 1000).await.unwrap();
    assert_eq!(entries.len(), made.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_connection_is_cut_is_looked_for() {
    let database = Database::create().await;
    database.registry().await;
    for (fault, is_made) in [(Fault::CutBefore, false), (Fault::CutAfter, true)] {
        let relay = Relay::start(database.server().folder(), fault).await;
        let registry = Registry::open(&relay.url(database.name())).await.unwrap();
        let name = format!("shop-{is_made}");
        relay.harm(1);
        let made = registry.add_application(&name, "live", NOW).await;
        let entries = registry.audit_entries(0, 10).await.unwrap();
        if is_made {
            assert_eq!(made.unwrap().name.as_str(), name);
            assert_eq!(entries.len(), 2);
        } else {
            let error = server_error(made);
            assert!(matches!(error, ServerError::Unreachable(_)), "{error:?}");
            assert!(entries.is_empty());
            registry.add_application(&name, "live", NOW).await.unwrap();
        }
        let again = registry.add_application(&name, "live", NOW).await;
        assert!(matches!(again, Err(RegistryError::Exists(Subject::Application))), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_is_looked_for_and_keeps_no_lock() {
    let story = async |fault, database: &Database| {
        let relay = Relay::start(database.server().folder(), fault).await;
        let registry = Registry::open(&relay.url(database.name())).await.unwrap();
        relay.harm(1);
        let began = Instant::now();
        let made = registry.add_application("shop", "live", NOW).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        applications(&registry).await.unwrap();
        made
    };
    let [before, after] = [Database::create().await, Database::create().await];
    after.registry().await;
    let others = before.registry().await;
    // Another program changes the registry as soon as the server has given up the silent connection.
    let other = async {
        let began = Instant::now();
        while before
            .ask("SELECT count(*)::text FROM pg_locks WHERE mode = 'RowExclusiveLock'")
            .await
            == "0"
        {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        loop {
            match others.add_application("other", "live", NOW).await {
                Err(RegistryError::Server(ServerError::Locked))
                    if began.elapsed() < Duration::from_secs(20) => {}
                made => return made.unwrap(),
            }
        }
    };
    let (lost, made, _) =
        tokio::join!(story(Fault::SilentBefore, &before), story(Fault::SilentAfter, &after), other);
    made.unwrap();
    let error = server_error(lost);
    assert!(matches!(error, ServerError::Unreachable(_)), "{error:?}");
    assert_eq!(applications(&others).await.unwrap().len(), 1);
    for database in [before, after] {
        let registry = database.registry().await;
        assert_eq!(registry.audit_entries(0, 10).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_is_used_again() {
    let mut server = Postgres::start();
    let registry = Registry::open_or_create(&server.url()).await.unwrap();
    add(&registry, &key(1)).await;
    for round in 0..3 {
        use_all(&registry).await;
        server.kill();
        let began = Instant::now();
        let refused = server_error(registry.credential(&id(&key(1))).await);
        assert!(matches!(refused, ServerError::Unreachable(_)), "{refused:?}");
        let refused = server_error(registry.add_application("never", "live", NOW).await);
        assert!(matches!(refused, ServerError::Unreachable(_)), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        server.run();
        assert!(registry.credential(&id(&key(1))).await.is_ok());
        registry.add_application(&format!("shop{round}"), "live", NOW).await.unwrap();
    }
    assert_eq!(registry.audit_entries(0, 100).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_replica_is_read_and_not_written() {
    let mut server = Postgres::start();
    let registry = Registry::open_or_create(&server.url()).await.unwrap();
    add(&registry, &key(1)).await;
    registry.close().await;
    server.kill();
    server.run_as_replica();
    let registry = Registry::open(&server.url()).await.unwrap();
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    let refused = server_error(registry.revoke(&id(&key(1)), None, NOW).await);
    assert!(matches!(refused, ServerError::ReadOnly), "{refused:?}");
    assert!(registry.take_over(Owner::random().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_table_whose_pages_are_overwritten_is_called_damaged() {
    let mut server = Postgres::start();
    let registry = Registry::open_or_create(&server.url()).await.unwrap();
    add(&registry, &key(1)).await;
    registry.close().await;
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let file: String = sqlx::query_scalar("SELECT pg_relation_filepath('countersign.application')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.execute("CHECKPOINT").await.unwrap();
    drop(connection);
    server.kill();
    let file = server.data().join(file);
    let mut pages = fs::read(&file).unwrap();
    pages.fill(0xa5);
    fs::write(&file, pages).unwrap();
    server.run();
    let registry = Registry::open(&server.url()).await.unwrap();
    let refused = server_error(applications(&registry).await);
    assert!(matches!(refused, ServerError::Damaged(_)), "{refused:?}");
}

/// The SQL in the documentation that gives a server and an administrator their rights.
fn documented_grants() -> &'static str {
    let page = include_str!("../../../../docs/operate/registry-in-postgres.md");
    let (_, rights) = page.split_once("\n## Rights\n").unwrap();
    let (_, grants) = rights.split_once("\n```sql\n").unwrap();
    grants.split_once("\n```").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_for_servers_and_administrators_and_for_no_more() {
    let database = Database::create().await;
    let owner = database.registry().await;
    add(&owner, &key(1)).await;
    // Roles belong to the server, which other tests use as well.
    let (shop, ops) =
        (format!("shop_of_{}", database.name()), format!("ops_of_{}", database.name()));
    let grants = documented_grants().replace("shop", &shop).replace("ops", &ops);
    database
        .raw(&format!("CREATE ROLE {shop} LOGIN; CREATE ROLE {ops} LOGIN; {grants}"))
        .await
        .unwrap();
    let as_role = |role: &str| database.url().replace("postgres@", &format!("{role}@"));
    let permission = |error: &RegistryError| {
        matches!(error, RegistryError::Server(ServerError::NoPermission(_)))
    };

    // A server looks up, raises the ceiling, notes uses, and changes nothing.
    let server = Registry::open(&as_role(&shop)).await.unwrap();
    let found = server.find(&id(&key(1)), NOW).await.unwrap().unwrap();
    server.used(&found, NOW);
    server.save_last_uses().await.unwrap();
    let ceiling = Owner::random().unwrap();
    server.take_over(ceiling).await.unwrap();
    server.raise(ceiling, NOW).await.unwrap();
    let refused = server.revoke(&id(&key(1)), None, NOW).await.unwrap_err();
    assert!(permission(&refused), "{refused:?}");

    // An administrator does the rest.
    let administrator = Registry::open(&as_role(&ops)).await.unwrap();
    administrator.add_application("desk", "live", NOW).await.unwrap();
    administrator.quarantine(&id(&key(1)), None, NOW).await.unwrap();
    administrator.release(&id(&key(1)), None, NOW).await.unwrap();
    administrator.verify_audit(None, |_, _| ()).await.unwrap();

    // Holders rotate and revoke at a server with the rights of both.
    database.raw(&format!("GRANT {ops} TO {shop}")).await.unwrap();
    let old = key(1).publishable_key();
    let proven = ProvenKey::from(&key(2));
    let rotation = server.hand_over(&old, &proven, Duration::from_secs(60), NOW).await.unwrap();
    assert_eq!(rotation.new.publishable_key(), key(2).publishable_key());
    server.give_up(&old, None, NOW).await.unwrap();

    // Neither may touch what was recorded, nor delete anything.
    for role in [&shop, &ops] {
        let mut connection = PgConnection::connect(&as_role(role)).await.unwrap();
        for statement in [
            "UPDATE countersign.audit_entry SET actor = 'nobody'",
            "DELETE FROM countersign.audit_entry",
            "TRUNCATE countersign.audit_entry",
            "DELETE FROM countersign.credential",
            "DELETE FROM countersign.last_change",
            "DROP TRIGGER audit_entry_edit ON countersign.audit_entry",
        ] {
            let refused = connection.execute(statement).await.unwrap_err();
            let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
        }
    }
}
