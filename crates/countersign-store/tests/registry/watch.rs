//! What becomes of lookups while others change the registry, and while its database is away.

use std::{sync::Arc, time::Duration};

use countersign::{KeyId, PrivateKey, Timestamp};
use countersign_store::{Credential, KeyStore, Registry, RegistryError, Standing, StoreError};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
    log::Log,
};

/// Ends a test that waits for something that never happens. Far longer than a busy machine takes.
const DEADLINE: Duration = Duration::from_secs(300);

on_both! {
    changes_made_elsewhere_take_effect_although_nobody_asks_the_database
    rows_edited_by_hand_take_effect_after_a_minute
    a_row_that_is_damaged_and_mended_by_hand_is_refused_and_accepted_again
    a_registry_whose_numbers_do_not_follow_on_is_read_anew
    known_keys_outlive_an_outage_for_the_time_that_is_set_and_no_longer
    without_a_stale_time_every_lookup_asks_the_database
    a_change_that_was_made_during_an_outage_takes_effect_after_it
    a_closed_registry_follows_nothing
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

async fn find(
    registry: &Registry,
    key: &PrivateKey,
) -> Result<Option<Arc<Credential>>, StoreError> {
    registry.find(&id(key), NOW).await
}

/// The standing of a key; `None` if it is unknown.
async fn standing_at(registry: &Registry, key: &PrivateKey, now: Timestamp) -> Option<Standing> {
    registry.find(&id(key), now).await.unwrap().map(|found| found.standing(NOW))
}

async fn standing(registry: &Registry, key: &PrivateKey) -> Option<Standing> {
    standing_at(registry, key, NOW).await
}

/// Registers a key with another registry, so that there is no change left to follow.
async fn register(home: &Home, key: &PrivateKey) {
    let registry = home.registry().await;
    add(&registry, key).await;
    registry.close().await;
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// Takes away what lookups and polls read, as if the database were gone, and brings it back.
async fn take_away(home: &Home) {
    home.raw("ALTER TABLE countersign.last_change RENAME TO last_change_away").await;
    home.raw("ALTER TABLE countersign.credential RENAME TO credential_away").await;
}

async fn bring_back(home: &Home) {
    home.raw("ALTER TABLE countersign.credential_away RENAME TO credential").await;
    home.raw("ALTER TABLE countersign.last_change_away RENAME TO last_change").await;
}

async fn changes_made_elsewhere_take_effect_although_nobody_asks_the_database(home: Home) {
    let (here, elsewhere) = (home.registry().await, home.registry().await);
    add(&elsewhere, &key(1)).await;
    assert_eq!(standing(&here, &key(1)).await, Some(Standing::Active));
    assert_eq!(standing(&here, &key(2)).await, None);
    // The time does not move: no entry is too old.
    add(&elsewhere, &key(2)).await;
    until("the key is known", async || standing(&here, &key(2)).await.is_some()).await;
    for id in [id(&key(1)), KeyId::Thumbprint(key(2).verifying_key().thumbprint().unwrap())] {
        assert!(here.find(&id, NOW).await.unwrap().is_some());
        elsewhere.revoke(&id, None, NOW).await.unwrap();
        until("the key is revoked", async || {
            let found = here.find(&id, NOW).await.unwrap().unwrap();
            found.standing(NOW) == Standing::Revoked
        })
        .await;
    }
}

async fn rows_edited_by_hand_take_effect_after_a_minute(home: Home) {
    register(&home, &key(1)).await;
    let registry = home.registry().await;
    assert_eq!(standing(&registry, &key(1)).await, Some(Standing::Active));
    home.raw("UPDATE countersign.credential SET state = 'revoked'").await;
    // From three quarters of the time on it is read again beside, and whoever asks next gets the result.
    let found = standing_at(&registry, &key(1), later(45)).await;
    assert_eq!(found, Some(Standing::Active));
    until("it was read again", async || {
        standing_at(&registry, &key(1), later(46)).await == Some(Standing::Revoked)
    })
    .await;
    home.raw("UPDATE countersign.credential SET state = 'active'").await;
    let found = standing_at(&registry, &key(1), later(120)).await;
    assert_eq!(found, Some(Standing::Active), "nobody uses an entry that is older");
}

async fn a_row_that_is_damaged_and_mended_by_hand_is_refused_and_accepted_again(home: Home) {
    register(&home, &key(1)).await;
    let registry = home.registry().await;
    assert!(standing(&registry, &key(1)).await.is_some());
    home.raw("UPDATE countersign.credential SET scopes = 'a,b'").await;
    assert!(standing_at(&registry, &key(1), later(60)).await.is_none());
    home.raw("UPDATE countersign.credential SET scopes = 'a b'").await;
    assert!(standing_at(&registry, &key(1), later(60)).await.is_none(), "it is remembered");
    assert!(standing_at(&registry, &key(1), later(120)).await.is_some());
}

async fn a_registry_whose_numbers_do_not_follow_on_is_read_anew(home: Home) {
    register(&home, &key(1)).await;
    let registry = home.registry().await;
    assert_eq!(standing(&registry, &key(1)).await, Some(Standing::Active));
    // A later number without its entry; an earlier number, as in a copy from before; another change under the same number.
    for (number, state) in [("9", "revoked"), ("1", "active"), ("1", "revoked")] {
        home.raw(&format!("UPDATE countersign.credential SET state = '{state}'")).await;
        let hash = match home {
            Home::Sqlite(_) => "randomblob(32)",
            #[cfg(all(feature = "postgres", unix))]
            Home::Postgres(_) => "sha256(random()::text::bytea)",
        };
        home.raw(&format!("UPDATE countersign.last_change SET number = {number}, hash = {hash}"))
            .await;
        let expected = if state == "revoked" { Standing::Revoked } else { Standing::Active };
        until("it is read anew", async || standing(&registry, &key(1)).await == Some(expected))
            .await;
    }
}

async fn known_keys_outlive_an_outage_for_the_time_that_is_set_and_no_longer(home: Home) {
    register(&home, &key(1)).await;
    let patient = home.registry().await.stale_for(Duration::from_secs(3600));
    let strict = home.registry().await.stale_for(Duration::from_secs(2));
    for registry in [&patient, &strict] {
        assert!(find(registry, &key(1)).await.unwrap().is_some());
        assert!(find(registry, &key(2)).await.unwrap().is_none());
    }
    take_away(&home).await;
    assert!(
        find(&patient, &key(3)).await.is_err(),
        "it cannot be known whether there is such a key"
    );
    for key in [key(1), key(2)] {
        until("it is refused", async || find(&strict, &key).await.is_err()).await;
    }
    // It is read again after a minute, and used all the same.
    for now in [NOW, later(60), later(3600)] {
        assert_eq!(standing_at(&patient, &key(1), now).await, Some(Standing::Active));
        assert_eq!(standing_at(&patient, &key(2), now).await, None);
    }
    bring_back(&home).await;
    assert!(find(&patient, &key(3)).await.unwrap().is_none());
    assert!(find(&strict, &key(1)).await.unwrap().is_some(), "a lookup does not wait for the poll");
}

async fn without_a_stale_time_every_lookup_asks_the_database(home: Home) {
    register(&home, &key(1)).await;
    let registry = home.registry().await.stale_for(Duration::ZERO);
    assert_eq!(standing(&registry, &key(1)).await, Some(Standing::Active));
    home.raw("UPDATE countersign.credential SET state = 'revoked'").await;
    assert_eq!(standing(&registry, &key(1)).await, Some(Standing::Revoked));
}

async fn a_change_that_was_made_during_an_outage_takes_effect_after_it(home: Home) {
    let here = home.registry().await.stale_for(Duration::from_secs(3600));
    let elsewhere = home.registry().await;
    add(&elsewhere, &key(1)).await;
    assert_eq!(standing(&here, &key(1)).await, Some(Standing::Active));
    elsewhere.revoke(&id(&key(1)), None, NOW).await.unwrap();
    take_away(&home).await;
    bring_back(&home).await;
    until("it is revoked", async || standing(&here, &key(1)).await == Some(Standing::Revoked))
        .await;
}

async fn a_closed_registry_follows_nothing(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let clone = registry.clone();
    assert!(find(&clone, &key(1)).await.unwrap().is_some());
    registry.close().await;
    assert!(find(&clone, &key(2)).await.is_err());
    if let Home::Sqlite(folder) = &home {
        assert!(!folder.path().join("registry.db-wal").exists(), "a connection is open");
    }
}

fn lookups(snapshotter: &Snapshotter, outcome: &str) -> u64 {
    let found = snapshotter.snapshot().into_vec().into_iter().find(|(key, ..)| {
        key.key().name() == "countersign_registry_lookups_total"
            && key.key().labels().any(|label| label.value() == outcome)
    });
    match found {
        Some((.., DebugValue::Counter(count))) => count,
        _ => 0,
    }
}

async fn many_who_ask_at_once_make_one_lookup(home: Home) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    // Counts on this thread, on which the runtime of the test runs.
    let _counting = metrics::set_default_local_recorder(&recorder);
    register(&home, &key(1)).await;
    let registry = home.registry().await;
    let all = || {
        let mut asking = JoinSet::new();
        for _ in 0..1000 {
            let (registry, id) = (registry.clone(), id(&key(1)));
            asking.spawn(async move { registry.find(&id, NOW).await });
        }
        asking.join_all()
    };
    let found = all().await;
    assert_eq!(found.len(), 1000);
    assert!(found.into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(lookups(&snapshotter, "known"), 1);
}

async fn an_outage_is_told_once_at_its_beginning_and_once_at_its_end(home: Home) {
    let (log, _listening) = Log::listen();
    register(&home, &key(1)).await;
    let registry = home.registry().await;
    assert!(find(&registry, &key(1)).await.unwrap().is_some());
    for times in 1..=2 {
        take_away(&home).await;
        let begun = || log.lines_with("the registry cannot be reached");
        until("it is told", async || begun().len() == times).await;
        assert!(begun().iter().all(|line| line.contains("last_contact=")), "{:?}", begun());
        bring_back(&home).await;
        let ended = || log.lines_with("the registry is reached again");
        until("its end is told", async || ended().len() == times).await;
        assert_eq!(begun().len(), times);
    }
}

/// In the thread of the test alone.
mod in_one_thread {
    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_make_one_lookup_in_a_file() {
        many_who_ask_at_once_make_one_lookup(Home::sqlite().await).await;
    }

    #[tokio::test]
    async fn an_outage_of_a_file_is_told_once_at_its_beginning_and_once_at_its_end() {
        an_outage_is_told_once_at_its_beginning_and_once_at_its_end(Home::sqlite().await).await;
    }

    #[cfg(all(feature = "postgres", unix))]
    #[tokio::test]
    async fn many_who_ask_at_once_make_one_lookup_on_a_server() {
        many_who_ask_at_once_make_one_lookup(Home::postgres().await).await;
    }

    #[cfg(all(feature = "postgres", unix))]
    #[tokio::test]
    async fn an_outage_of_a_server_is_told_once_at_its_beginning_and_once_at_its_end() {
        an_outage_is_told_once_at_its_beginning_and_once_at_its_end(Home::postgres().await).await;
    }
}

#[cfg(all(feature = "postgres", unix))]
mod on_a_server {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

    use super::*;
    use crate::server::Postgres;

    /// Cuts connections whose last statement is like this, and returns how many there were.
    async fn cut(home: &Home, statement: &str) -> i64 {
        let mut connection = PgConnection::connect(&home.url()).await.unwrap();
        sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE $1",
        )
        .bind(statement)
        .fetch_one(&mut connection)
        .await
        .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_are_seen_while_notices_are_lost() {
        let home = Home::postgres().await;
        let (here, elsewhere) = (home.registry().await, home.registry().await);
        add(&elsewhere, &key(1)).await;
        add(&elsewhere, &key(2)).await;
        assert!(find(&here, &key(1)).await.unwrap().is_some());
        until("it listens", async || cut(&home, "LISTEN %").await > 0).await;
        elsewhere.revoke(&id(&key(1)), None, NOW).await.unwrap();
        until("it is revoked", async || standing(&here, &key(1)).await == Some(Standing::Revoked))
            .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_are_seen_behind_a_pooler_where_nobody_can_listen() {
        let home = Home::postgres().await;
        let elsewhere = home.registry().await;
        add(&elsewhere, &key(1)).await;
        let url = format!("{}&statement-cache-capacity=0", home.url());
        let here = Registry::open(&url).await.unwrap();
        assert_eq!(standing(&here, &key(1)).await, Some(Standing::Active));
        elsewhere.revoke(&id(&key(1)), None, NOW).await.unwrap();
        until("it is revoked", async || standing(&here, &key(1)).await == Some(Standing::Revoked))
            .await;
        assert_eq!(cut(&home, "LISTEN %").await, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_lookup_fails_when_all_connections_are_cut() {
        let home = Home::postgres().await;
        let registry = home.registry().await;
        for seed in 1..=9 {
            add(&registry, &key(seed)).await;
        }
        // As many connections as it makes.
        let mut asking = JoinSet::new();
        for seed in 1..=9 {
            let registry = registry.clone();
            asking.spawn(async move { registry.find(&id(&key(seed)), NOW).await });
        }
        asking.join_all().await;
        for seed in 11..=13 {
            assert!(cut(&home, "%").await > 0);
            assert!(find(&registry, &key(seed)).await.unwrap().is_none());
            assert!(cut(&home, "%").await > 0);
            add(&registry, &key(seed)).await;
            assert!(find(&registry, &key(seed)).await.unwrap().is_some());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_killed_and_started_again_is_used_again() {
        let mut server = Postgres::start();
        let registry = Registry::open_or_create(&server.url()).await.unwrap();
        add(&registry, &key(1)).await;
        registry.close().await;
        let patient = Registry::open(&server.url()).await.unwrap();
        let patient = patient.stale_for(Duration::from_secs(3600));
        let strict = Registry::open(&server.url()).await.unwrap();
        let strict = strict.stale_for(Duration::from_secs(1));
        for registry in [&patient, &strict] {
            assert_eq!(standing(registry, &key(1)).await, Some(Standing::Active));
        }
        server.kill();
        until("it is refused", async || find(&strict, &key(1)).await.is_err()).await;
        assert_eq!(standing(&patient, &key(1)).await, Some(Standing::Active));
        assert!(find(&patient, &key(2)).await.is_err());
        server.run();
        until("it is known again", async || find(&strict, &key(1)).await.is_ok()).await;
        assert_eq!(standing(&patient, &key(2)).await, None);
        strict.revoke(&id(&key(1)), None, NOW).await.unwrap();
        assert_eq!(standing(&strict, &key(1)).await, Some(Standing::Revoked));
        until("it is revoked", async || {
            standing(&patient, &key(1)).await == Some(Standing::Revoked)
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_known_key_does_not_wait_for_a_database_that_hangs() {
        let home = Home::postgres().await;
        register(&home, &key(1)).await;
        let registry = home.registry().await.stale_for(Duration::from_secs(3600));
        let strict = home.registry().await.stale_for(Duration::from_secs(1));
        for registry in [&registry, &strict] {
            assert!(find(registry, &key(1)).await.unwrap().is_some());
        }
        let mut connection = PgConnection::connect(&home.url()).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let lock = "LOCK TABLE countersign.credential, countersign.last_change";
        transaction.execute(AssertSqlSafe(lock)).await.unwrap();
        let within = async |limit, now| timeout(limit, standing_at(&registry, &key(1), now)).await;
        let (at_once, soon) = (Duration::from_millis(900), Duration::from_secs(3));
        assert_eq!(within(at_once, NOW).await, Ok(Some(Standing::Active)));
        assert_eq!(within(at_once, later(50)).await, Ok(Some(Standing::Active)));
        assert_eq!(within(soon, later(60)).await, Ok(Some(Standing::Active)));
        let unknown = timeout(Duration::from_secs(10), find(&registry, &key(2))).await;
        assert!(unknown.unwrap().is_err());
        assert!(find(&strict, &key(1)).await.is_err());
        // By now it is known that the database hangs.
        assert_eq!(within(at_once, later(60)).await, Ok(Some(Standing::Active)));
        transaction.rollback().await.unwrap();
        until("it answers", async || find(&registry, &key(2)).await.is_ok()).await;
        assert!(find(&strict, &key(1)).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_address_without_a_server_is_refused_in_time() {
        let opened = timeout(DEADLINE, Registry::open("postgres://nobody@localhost:1/none")).await;
        assert!(matches!(opened.unwrap(), Err(RegistryError::Server(_))));
    }
}
