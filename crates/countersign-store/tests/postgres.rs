//! Nonces on a real PostgreSQL server.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(unreachable_pub, dead_code, reason = "the harness of the other tests has it as well")]
#[path = "../../../tests/harness/postgres.rs"]
mod harness;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{Claim, Code, Nonce, NonceUse, Timestamp, Window};
use countersign_store::{NonceStore, NotClaimed, PostgresNonces, Readiness, StoreError};
use harness::Postgres;
use proptest::prelude::*;
use sqlx::{
    Connection, PgConnection, PgPool, PgTransaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Barrier;

const NOW: u64 = 1_763_900_000;
/// `max_age` and twice the skew of the default window.
const LIFETIME: u64 = 80;

/// How a transaction is begun at each isolation level.
const LEVELS: [&str; 3] = [
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
];

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn used(credential: i64, created: u64, nonce: u8) -> NonceUse {
    NonceUse::new(credential, at(created), Nonce::from_random([nonce; 16]))
}

/// The server of all tests that run at the same time; the last of them stops it.
fn server() -> Arc<Postgres> {
    static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.upgrade().unwrap_or_else(|| Arc::new(Postgres::start()));
    *shared = Arc::downgrade(&server);
    server
}

/// A database of a test's own.
async fn database(server: &Postgres) -> PgConnectOptions {
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("bank{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let options: PgConnectOptions = server.url().parse().unwrap();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    options.database(&name)
}

async fn connect(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(70).connect_with(options.clone()).await.unwrap()
}

/// A database in which payments are written.
struct Bank {
    server: Arc<Postgres>,
    options: PgConnectOptions,
    pool: PgPool,
    nonces: PostgresNonces,
}

impl Bank {
    async fn open() -> Self {
        Self::open_on(server()).await
    }

    async fn open_on(server: Arc<Postgres>) -> Self {
        let options = database(&server).await;
        let pool = connect(&options).await;
        sqlx::query("CREATE TABLE payment (id bigint NOT NULL)").execute(&pool).await.unwrap();
        // Long enough ago that it refuses nothing of now.
        let nonces = PostgresNonces::prepare(pool.clone(), Window::default(), at(NOW - 3600));
        let nonces = nonces.await.unwrap();
        Self { server, options, pool, nonces }
    }

    /// Again, after its server, which is its alone, was killed.
    async fn reopen(mut self) -> Self {
        let server = Arc::get_mut(&mut self.server).unwrap();
        server.kill();
        server.run();
        let pool = connect(&self.options).await;
        let nonces = PostgresNonces::prepare(pool.clone(), Window::default(), at(NOW));
        let nonces = nonces.await.unwrap();
        Self { pool, nonces, ..self }
    }

    /// As if it were new.
    async fn forget_everything(&self) {
        sqlx::query("DROP SCHEMA countersign CASCADE").execute(&self.pool).await.unwrap();
        let again = PostgresNonces::prepare(self.pool.clone(), Window::default(), at(NOW - 3600));
        again.await.unwrap();
    }

    async fn begin(&self, how: &'static str) -> PgTransaction<'static> {
        self.pool.begin_with(how).await.unwrap()
    }

    async fn claim(
        &self,
        transaction: &mut PgTransaction<'_>,
        used: &NonceUse,
    ) -> Result<(), NotClaimed> {
        self.nonces.claim_in(transaction, used, at(NOW)).await
    }

    /// What a handler does.
    async fn pay(&self, how: &'static str, used: &NonceUse) -> Result<(), NotClaimed> {
        let mut transaction = self.begin(how).await;
        self.claim(&mut transaction, used).await?;
        write(&mut transaction).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(())
    }

    async fn payments(&self) -> i64 {
        number(&self.pool, "SELECT count(*) FROM payment").await
    }

    async fn remembered(&self) -> i64 {
        number(&self.pool, "SELECT count(*) FROM countersign.used_nonce").await
    }

    async fn mark(&self) -> i64 {
        number(&self.pool, "SELECT last_value FROM countersign.low_water_mark").await
    }

    /// Waits until so many transactions wait for others.
    async fn waiting(&self, transactions: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while number(&self.pool, waiting).await != transactions {}
    }
}

async fn number(executor: impl sqlx::PgExecutor<'_>, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(executor).await.unwrap()
}

async fn write(transaction: &mut PgTransaction<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO payment VALUES (1)").execute(&mut **transaction).await.map(drop)
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::because("the bank is closed", error)
}

/// Whether a claim was refused for good, as one of two at the same time is: at the higher levels PostgreSQL may say first
/// that there are two.
fn is_second(how: &str, outcome: &Result<(), NotClaimed>) -> bool {
    match outcome {
        Err(NotClaimed::Replayed) => true,
        Err(NotClaimed::Conflict(_)) => !how.contains("READ COMMITTED"),
        _ => false,
    }
}

#[tokio::test]
async fn a_nonce_is_claimed_once_per_credential_and_time() {
    let bank = Bank::open().await;
    for how in LEVELS {
        let before = bank.payments().await;
        let credential = before + 1;
        let first = used(credential, NOW, 1);
        bank.pay(how, &first).await.unwrap();
        let again = bank.pay(how, &first).await.unwrap_err();
        assert!(matches!(again, NotClaimed::Replayed), "{how}: {again:?}");
        assert_eq!(again.code(), Code::SignatureReplayed);
        for other in
            [used(credential, NOW, 2), used(credential, NOW - 1, 1), used(-1 - before, NOW, 1)]
        {
            bank.pay(how, &other).await.unwrap();
        }
        assert_eq!(bank.payments().await, before + 4, "{how}");
    }
}

#[tokio::test]
async fn nothing_can_be_committed_beside_a_claim_that_was_refused() {
    let bank = Bank::open().await;
    let first = used(1, NOW, 1);
    bank.pay(LEVELS[0], &first).await.unwrap();
    for how in LEVELS {
        let mut transaction = bank.begin(how).await;
        write(&mut transaction).await.unwrap();
        assert!(bank.claim(&mut transaction, &first).await.is_err());
        // Whoever takes no notice gets no further.
        assert!(write(&mut transaction).await.is_err());
        assert!(bank.claim(&mut transaction, &used(1, NOW, 2)).await.is_err());
        drop(transaction.commit().await);
        assert_eq!((bank.payments().await, bank.remembered().await), (1, 1), "{how}");
    }
}

#[tokio::test]
async fn nothing_is_claimed_after_a_savepoint_which_could_be_rolled_back_alone() {
    let bank = Bank::open().await;
    for (nonce, how) in (1..).zip(LEVELS) {
        let used = used(1, NOW, nonce);
        let mut transaction = bank.begin(how).await;
        let mut savepoint = transaction.begin().await.unwrap();
        let refused = bank.claim(&mut savepoint, &used).await.unwrap_err();
        assert!(matches!(refused, NotClaimed::Unavailable(_)), "{how}: {refused:?}");
        savepoint.rollback().await.unwrap();
        // PostgreSQL goes back to a savepoint, and not before it.
        assert!(bank.claim(&mut transaction, &used).await.is_err());
        transaction.rollback().await.unwrap();
        let mut transaction = bank.begin(how).await;
        bank.claim(&mut transaction, &used).await.unwrap();
        let mut savepoint = transaction.begin().await.unwrap();
        write(&mut savepoint).await.unwrap();
        savepoint.commit().await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(bank.payments().await, i64::from(nonce), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_simultaneous_transactions_with_one_nonce_one_commits() {
    let bank = Arc::new(Bank::open().await);
    for (nonce, how) in (1..).zip(LEVELS) {
        let barrier = Arc::new(Barrier::new(64));
        let pay = || {
            let (bank, barrier) = (Arc::clone(&bank), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                bank.pay(how, &used(1, NOW, nonce)).await
            })
        };
        let transactions: Vec<_> = (0..64).map(|_| pay()).collect();
        let (mut committed, mut second) = (0, 0);
        for transaction in transactions {
            let outcome = transaction.await.unwrap();
            committed += usize::from(outcome.is_ok());
            second += usize::from(is_second(how, &outcome));
        }
        assert_eq!((committed, second), (1, 63), "{how}");
        assert_eq!(bank.payments().await, i64::from(nonce), "{how}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_gives_its_nonce_back() {
    let bank = Bank::open().await;
    for (nonce, how) in (1..).zip(LEVELS) {
        let used = used(1, NOW, nonce);
        let mut transaction = bank.begin(how).await;
        bank.claim(&mut transaction, &used).await.unwrap();
        write(&mut transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        // Also by a handler that fails, or is gone since its client is.
        let mut transaction = bank.begin(how).await;
        bank.claim(&mut transaction, &used).await.unwrap();
        drop(transaction);
        bank.pay(how, &used).await.unwrap();
        assert_eq!(bank.payments().await, i64::from(nonce), "{how}");
    }
}

#[tokio::test]
async fn a_claim_waits_for_an_earlier_one_of_the_same_nonce() {
    let bank = Arc::new(Bank::open().await);
    for (nonce, how) in (1..).zip(LEVELS) {
        for commits in [false, true] {
            let used = used(1, NOW - u64::from(commits), nonce);
            let mut earlier = bank.begin(how).await;
            bank.claim(&mut earlier, &used).await.unwrap();
            let later = Arc::clone(&bank);
            let later = tokio::spawn(async move { later.pay(how, &used).await });
            bank.waiting(1).await;
            if commits {
                earlier.commit().await.unwrap();
            } else {
                earlier.rollback().await.unwrap();
            }
            let outcome = later.await.unwrap();
            assert_eq!(outcome.is_ok(), !commits, "{how}");
            assert_eq!(is_second(how, &outcome), commits, "{how}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_began_before_the_forgetting_cannot_claim_what_was_forgotten() {
    let bank = Bank::open().await;
    for (nonce, how) in (1..).zip(LEVELS) {
        let now = NOW + 1000 * u64::from(nonce);
        let used = used(1, now, nonce);
        bank.pay(how, &used).await.unwrap();
        let mut transaction = bank.begin(how).await;
        let remembered = "SELECT count(*) FROM countersign.used_nonce";
        assert_eq!(number(&mut *transaction, remembered).await, 1, "its snapshot is taken");
        let later = at(now + LIFETIME + 1);
        assert_eq!(bank.nonces.forget(later).await.unwrap(), 1);
        let still_seen = i64::from(!how.contains("READ COMMITTED"));
        assert_eq!(number(&mut *transaction, remembered).await, still_seen, "{how}");
        let outcome = bank.nonces.claim_in(&mut transaction, &used, at(now)).await;
        let refused = outcome.unwrap_err();
        let NotClaimed::TooOld { retry_after } = refused else { panic!("{how}: {refused:?}") };
        assert_eq!(retry_after, Duration::from_secs(1));
        assert_eq!(refused.code(), Code::SignatureStale);
    }
}

/// Why the mark is a sequence: in a table, the race of the test above is lost.
#[tokio::test]
async fn a_mark_in_a_table_would_be_as_old_as_the_snapshot_of_who_reads_it() {
    let bank = Bank::open().await;
    let run = async |statement| {
        sqlx::query(statement).execute(&bank.pool).await.unwrap();
    };
    run("CREATE TABLE mark AS SELECT 0::bigint AS seconds").await;
    bank.pay(LEVELS[1], &used(1, NOW, 1)).await.unwrap();
    let mut transaction = bank.begin(LEVELS[1]).await;
    assert_eq!(number(&mut *transaction, "SELECT seconds FROM mark").await, 0);
    run("WITH raised AS (UPDATE mark SET seconds = 2000000000) DELETE FROM countersign.used_nonce")
        .await;
    bank.claim(&mut transaction, &used(1, NOW, 1)).await.unwrap();
    assert_eq!(number(&mut *transaction, "SELECT seconds FROM mark").await, 0);
}

#[tokio::test]
async fn a_claim_waits_for_whoever_is_forgetting_its_nonce() {
    let bank = Arc::new(Bank::open().await);
    for (nonce, how) in (1..).zip(LEVELS) {
        for commits in [false, true] {
            let now = NOW + 1000 * u64::from(nonce) + 500 * u64::from(commits);
            let used = used(1, now, nonce);
            bank.pay(how, &used).await.unwrap();
            let mut forgetting = bank.begin(LEVELS[0]).await;
            let forget = sqlx::query("SELECT countersign.forget($1)").bind(now.cast_signed() + 1);
            forget.execute(&mut *forgetting).await.unwrap();
            let later = Arc::clone(&bank);
            let later = tokio::spawn(async move { later.pay(how, &used).await });
            bank.waiting(1).await;
            let refused = if commits {
                forgetting.commit().await.unwrap();
                later.await.unwrap().unwrap_err()
            } else {
                forgetting.rollback().await.unwrap();
                later.await.unwrap().unwrap_err()
            };
            match refused {
                NotClaimed::TooOld { .. } => assert!(commits, "{how}"),
                NotClaimed::Replayed => assert!(!commits, "{how}"),
                other => panic!("{how}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_claim_looks_at_the_mark_after_it_has_waited() {
    let bank = Arc::new(Bank::open().await);
    for (nonce, how) in (1..).zip(LEVELS) {
        let used = used(1, NOW + u64::from(nonce), nonce);
        bank.pay(how, &used).await.unwrap();
        // A forgetting whose mark is raised at the worst moment: when the claim waits already.
        let mut forgetting = bank.begin(LEVELS[0]).await;
        let delete = sqlx::query("DELETE FROM countersign.used_nonce");
        delete.execute(&mut *forgetting).await.unwrap();
        let later = Arc::clone(&bank);
        let later = tokio::spawn(async move { later.pay(how, &used).await });
        bank.waiting(1).await;
        let raise = sqlx::query("SELECT setval('countersign.low_water_mark', $1)");
        let raise = raise.bind(NOW.cast_signed() + 1 + i64::from(nonce));
        raise.execute(&mut *forgetting).await.unwrap();
        forgetting.commit().await.unwrap();
        let refused = later.await.unwrap().unwrap_err();
        assert!(matches!(refused, NotClaimed::TooOld { .. }), "{how}: {refused:?}");
    }
}

#[tokio::test]
async fn only_what_no_server_accepts_any_more_is_forgotten() {
    let bank = Bank::open().await;
    let created = [NOW - 1, NOW, NOW + 1];
    for created in created {
        bank.pay(LEVELS[0], &used(1, created, 1)).await.unwrap();
    }
    let mark = bank.mark().await;
    assert_eq!(bank.nonces.forget(at(NOW - 1 + LIFETIME)).await.unwrap(), 0);
    assert_eq!(bank.mark().await, mark);
    assert_eq!(bank.nonces.forget(at(NOW + LIFETIME)).await.unwrap(), 1);
    assert_eq!(bank.mark().await, NOW.cast_signed());
    assert_eq!(bank.nonces.forget(at(NOW + LIFETIME)).await.unwrap(), 0);
    let refused = async |created| bank.pay(LEVELS[0], &used(1, created, 1)).await.unwrap_err();
    assert!(matches!(refused(NOW - 1).await, NotClaimed::TooOld { .. }));
    assert!(matches!(refused(NOW).await, NotClaimed::Replayed));
    assert!(matches!(refused(NOW + 1).await, NotClaimed::Replayed));
    assert_eq!(bank.payments().await, 3);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_back_refuses_no_more_than_it_made_be_forgotten() {
    let bank = Bank::open().await;
    bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap();
    assert_eq!(bank.nonces.forget(at(NOW + 1_000_000)).await.unwrap(), 1);
    assert_eq!(bank.nonces.forget(at(NOW - 1_000_000)).await.unwrap(), 0);
    let again = bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap_err();
    assert!(matches!(again, NotClaimed::TooOld { .. }), "{again:?}");
    bank.pay(LEVELS[0], &used(1, NOW + 1, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_that_forget_at_once_never_lower_the_mark() {
    let bank = Arc::new(Bank::open().await);
    for created in 0..20 {
        bank.pay(LEVELS[0], &used(1, NOW + created, 1)).await.unwrap();
    }
    let forget = |to| {
        let bank = Arc::clone(&bank);
        tokio::spawn(async move { bank.nonces.forget(at(NOW + LIFETIME + to)).await.unwrap() })
    };
    let forgetting: Vec<_> = (1..=20).rev().map(forget).collect();
    let mut forgotten = 0;
    for one in forgetting {
        forgotten += one.await.unwrap();
    }
    assert_eq!(forgotten, 20);
    assert_eq!((bank.mark().await, bank.remembered().await), (NOW.cast_signed() + 20, 0));
}

#[tokio::test]
async fn of_two_that_forget_the_second_waits_until_the_first_has_raised_the_mark() {
    let bank = Bank::open().await;
    let forget = || sqlx::query_scalar("SELECT countersign.forget(0)");
    let mut first = bank.begin(LEVELS[0]).await;
    let forgotten: i64 = forget().fetch_one(&mut *first).await.unwrap();
    assert_eq!(forgotten, 0);
    let mut second = bank.begin(LEVELS[0]).await;
    let impatient = sqlx::query("SET LOCAL lock_timeout = '1ms'");
    impatient.execute(&mut *second).await.unwrap();
    let outcome: Result<i64, sqlx::Error> = forget().fetch_one(&mut *second).await;
    let timed_out = outcome.unwrap_err();
    assert_eq!(timed_out.as_database_error().unwrap().code().unwrap(), "55P03");
}

#[tokio::test]
async fn killed_before_the_commit_it_has_neither_claim_nor_write_and_after_it_both() {
    let bank = Bank::open_on(Arc::new(Postgres::start())).await;
    let used = used(1, NOW, 1);
    let mut transaction = bank.begin(LEVELS[0]).await;
    bank.claim(&mut transaction, &used).await.unwrap();
    write(&mut transaction).await.unwrap();
    let bank = bank.reopen().await;
    assert!(transaction.commit().await.is_err());
    assert_eq!((bank.payments().await, bank.remembered().await), (0, 0));
    bank.pay(LEVELS[0], &used).await.unwrap();
    let bank = bank.reopen().await;
    assert_eq!((bank.payments().await, bank.remembered().await), (1, 1));
    let again = bank.pay(LEVELS[0], &used).await.unwrap_err();
    assert!(matches!(again, NotClaimed::Replayed), "{again:?}");
}

#[tokio::test]
async fn what_was_forgotten_stays_refused_after_the_server_is_killed() {
    let bank = Bank::open_on(Arc::new(Postgres::start())).await;
    bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap();
    assert_eq!(bank.nonces.forget(at(NOW + LIFETIME + 1)).await.unwrap(), 1);
    let bank = bank.reopen().await;
    let again = bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap_err();
    assert!(matches!(again, NotClaimed::TooOld { .. }), "{again:?}");
}

#[tokio::test]
async fn a_new_schema_refuses_what_one_before_it_can_have_accepted() {
    let bank = Bank::open().await;
    bank.pay(LEVELS[0], &used(1, NOW + 10, 1)).await.unwrap();
    sqlx::query("DROP SCHEMA countersign CASCADE").execute(&bank.pool).await.unwrap();
    let lost = bank.pay(LEVELS[0], &used(1, NOW + 10, 1)).await.unwrap_err();
    assert!(matches!(lost, NotClaimed::Unavailable(_)), "{lost:?}");
    assert_eq!(lost.code(), Code::ReplayStoreUnavailable);
    for later in [0, 60] {
        let prepare =
            PostgresNonces::prepare(bank.pool.clone(), Window::default(), at(NOW + later));
        let nonces = prepare.await.unwrap();
        let claim = async |created| nonces.claim(&used(1, created, 1), at(NOW)).await.unwrap();
        let retry_after = Duration::from_secs(11);
        assert_eq!(claim(NOW + 10).await, Claim::TooOld { retry_after });
        let first = if later == 0 { Claim::Fresh } else { Claim::Replayed };
        assert_eq!(claim(NOW + 11).await, first, "preparing again changes nothing");
    }
}

#[tokio::test]
async fn without_a_mark_nothing_is_claimed_or_forgotten() {
    let bank = Bank::open().await;
    let run = async |statement| {
        sqlx::query(statement).execute(&bank.pool).await.unwrap();
    };
    bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap();
    // As after a restoration without the values of sequences.
    run("ALTER SEQUENCE countersign.low_water_mark RESTART").await;
    let refused = bank.pay(LEVELS[0], &used(1, NOW, 2)).await.unwrap_err();
    assert!(matches!(refused, NotClaimed::Unavailable(_)), "{refused:?}");
    assert!(bank.nonces.forget(at(NOW + LIFETIME + 1)).await.is_err());
    assert_eq!((bank.payments().await, bank.remembered().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_servers_can_prepare_one_database_at_once() {
    let server = server();
    let options = database(&server).await;
    let pool = connect(&options.options([("default_transaction_isolation", "serializable")])).await;
    let prepare = |_| {
        let pool = pool.clone();
        tokio::spawn(PostgresNonces::prepare(pool, Window::default(), at(NOW - 3600)))
    };
    let preparing: Vec<_> = (0..8).map(prepare).collect();
    let mut claims = Vec::new();
    for one in preparing {
        let nonces = one.await.unwrap().unwrap();
        claims.push(NonceStore::claim(&nonces, &used(1, NOW, 1), at(NOW)).await.unwrap());
    }
    assert_eq!(claims.iter().filter(|&&claim| claim == Claim::Fresh).count(), 1);
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let bank = Bank::open().await;
    let newer = "INSERT INTO countersign.migration (version, description, success, checksum, execution_time)
                 VALUES (9999, 'to come', true, '', 0)";
    sqlx::query(newer).execute(&bank.pool).await.unwrap();
    let prepare = PostgresNonces::prepare(bank.pool.clone(), Window::default(), at(NOW));
    assert!(prepare.await.is_err());
}

#[tokio::test]
async fn a_schema_whose_migrations_are_not_ours_is_left_alone() {
    let bank = Bank::open().await;
    let other = "UPDATE countersign.migration SET checksum = 'other'";
    sqlx::query(other).execute(&bank.pool).await.unwrap();
    let prepare = PostgresNonces::prepare(bank.pool.clone(), Window::default(), at(NOW));
    assert!(prepare.await.is_err());
}

#[tokio::test]
async fn a_schema_without_a_mark_gets_one_for_the_nonces() {
    let bank = Bank::open().await;
    // As after a restoration without the values of sequences, and as another store would make the schema.
    let restart = "ALTER SEQUENCE countersign.low_water_mark RESTART";
    sqlx::query(restart).execute(&bank.pool).await.unwrap();
    let prepare = || PostgresNonces::prepare(bank.pool.clone(), Window::default(), at(NOW));
    let preparing: Vec<_> = (0..8).map(|_| tokio::spawn(prepare())).collect();
    for prepared in preparing {
        prepared.await.unwrap().unwrap();
    }
    assert_eq!(bank.mark().await, i64::try_from(NOW + 11).unwrap());
}

#[tokio::test]
async fn a_role_that_can_claim_needs_no_right_to_forget() {
    let bank = Bank::open().await;
    // As docs/how-to/write-once.md has it.
    for grant in [
        "CREATE ROLE shop LOGIN",
        "GRANT USAGE ON SCHEMA countersign TO shop",
        "GRANT SELECT ON countersign.migration, countersign.low_water_mark TO shop",
        "GRANT SELECT, INSERT ON countersign.used_nonce TO shop",
        "GRANT INSERT ON payment TO shop",
    ] {
        sqlx::query(grant).execute(&bank.pool).await.unwrap();
    }
    let pool = connect(&bank.options.clone().username("shop")).await;
    let nonces = PostgresNonces::prepare(pool.clone(), Window::default(), at(NOW)).await.unwrap();
    for how in LEVELS {
        let mut transaction = pool.begin_with(how).await.unwrap();
        nonces.claim_in(&mut transaction, &used(1, NOW, 1), at(NOW)).await.unwrap();
        let again = nonces.claim_in(&mut transaction, &used(1, NOW, 1), at(NOW)).await;
        assert!(matches!(again, Err(NotClaimed::Replayed)), "{how}: {again:?}");
    }
    bank.pay(LEVELS[0], &used(1, NOW, 1)).await.unwrap();
    assert!(nonces.forget(at(NOW + LIFETIME + 1)).await.is_err());
    assert_eq!(bank.remembered().await, 1);
    for grant in [
        "GRANT DELETE ON countersign.used_nonce TO shop",
        "GRANT UPDATE ON countersign.low_water_mark TO shop",
    ] {
        sqlx::query(grant).execute(&bank.pool).await.unwrap();
    }
    assert_eq!(nonces.forget(at(NOW + LIFETIME + 1)).await.unwrap(), 1);
}

#[tokio::test]
async fn as_a_guard_it_answers_what_guards_answer() {
    let bank = Bank::open().await;
    let claim =
        async |created| NonceStore::claim(&bank.nonces, &used(1, created, 1), at(NOW)).await;
    assert_eq!(claim(NOW).await.unwrap(), Claim::Fresh);
    assert_eq!(claim(NOW).await.unwrap(), Claim::Replayed);
    bank.nonces.forget(at(NOW + LIFETIME + 1)).await.unwrap();
    let retry_after = Duration::from_secs(1);
    assert_eq!(claim(NOW).await.unwrap(), Claim::TooOld { retry_after });
    assert_eq!(claim(NOW + 1).await.unwrap(), Claim::Fresh);
    bank.pool.close().await;
    assert!(claim(NOW + 2).await.is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Claim {
        how: &'static str,
        later: i64,
        nonce: u8,
        commits: bool,
    },
    /// Begins a transaction that claims later.
    Begin {
        how: &'static str,
    },
    /// Claims in the oldest transaction that has begun.
    ClaimLate {
        later: i64,
        nonce: u8,
    },
    Forget {
        ahead: i64,
    },
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = || prop::sample::select(&LEVELS[..]);
    // Few times, so that they come again.
    let (later, nonce) = (prop::sample::select(&[-90, -50, 0, 10][..]), 0..2u8);
    let step = prop_oneof![
        6 => (how(), later.clone(), nonce.clone(), any::<bool>())
            .prop_map(|(how, later, nonce, commits)| Step::Claim { how, later, nonce, commits }),
        2 => how().prop_map(|how| Step::Begin { how }),
        2 => (later, nonce).prop_map(|(later, nonce)| Step::ClaimLate { later, nonce }),
        2 => (-100..200i64).prop_map(|ahead| Step::Forget { ahead }),
        1 => prop::sample::select(&[-90, -50, 50, 90][..]).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 1..40)
}

#[test]
fn whatever_the_clocks_do_no_claim_is_committed_twice() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bank = runtime.block_on(Bank::open());
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in steps())| {
        runtime.block_on(async {
            bank.forget_everything().await;
            let mut now = NOW;
            let mut begun = Vec::new();
            let mut committed = HashSet::new();
            for step in steps {
                let used =
                    |later: i64, nonce| used(1, now.saturating_add_signed(later), nonce);
                match step {
                    Step::Claim { how, later, nonce, commits } => {
                        let used = used(later, nonce);
                        let mut transaction = bank.begin(how).await;
                        if bank.claim(&mut transaction, &used).await.is_ok() && commits {
                            transaction.commit().await.unwrap();
                            assert!(committed.insert(used), "{used:?} twice");
                        }
                    }
                    Step::Begin { how } => {
                        let mut transaction = bank.begin(how).await;
                        assert_eq!(number(&mut *transaction, "SELECT 1::bigint").await, 1);
                        begun.push(transaction);
                    }
                    Step::ClaimLate { later, nonce } => {
                        let used = used(later, nonce);
                        if begun.is_empty() {
                            continue;
                        }
                        let mut transaction = begun.remove(0);
                        if bank.claim(&mut transaction, &used).await.is_ok()
                            && transaction.commit().await.is_ok()
                        {
                            assert!(committed.insert(used), "{used:?} twice");
                        }
                    }
                    Step::Forget { ahead } => {
                        bank.nonces.forget(at(now.saturating_add_signed(ahead))).await.unwrap();
                    }
                    Step::Clock(by) => now = now.saturating_add_signed(by),
                }
            }
        });
    });
}

#[tokio::test]
async fn nonces_in_a_database_are_ready_when_its_mark_is_passed() {
    let bank = Bank::open().await;
    assert_eq!(bank.nonces.ready_at(at(NOW)).await.unwrap(), at(NOW - 3600 + 11));
    sqlx::query("DROP SCHEMA countersign CASCADE").execute(&bank.pool).await.unwrap();
    assert!(bank.nonces.ready_at(at(NOW)).await.is_err());
    PostgresNonces::prepare(bank.pool.clone(), Window::default(), at(NOW)).await.unwrap();
    assert_eq!(bank.nonces.ready_at(at(NOW)).await.unwrap(), at(NOW + 11));
    for (created, is_fresh) in [(NOW + 10, false), (NOW + 11, true)] {
        assert_eq!(bank.pay(LEVELS[0], &used(1, created, 1)).await.is_ok(), is_fresh);
    }
}
