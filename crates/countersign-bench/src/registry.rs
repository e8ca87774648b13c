use std::{
    num::NonZero,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use countersign::{KeyId, PublishableKey, Timestamp};
use countersign_store::{CredentialFilter, KeyStore, Registry, Stage, Standing, system_time};
use ed25519_dalek::SigningKey;
use fastrand::Rng;
use harness::{CountingProxy, Postgres};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    figure::{Figure, Target},
    ratio::median,
};

/// How many keys an application has.
const KEYS: usize = 100;
/// How many rows are inserted by one statement.
const CHUNK: usize = 20_000;
/// How many keys are looked up that are not in the cache.
const LOOKUPS: usize = 10_000;
/// How many keys are revoked.
const REVOKED: usize = 30;

/// All figures, in a file and, where PostgreSQL is installed, on a server.
pub(crate) async fn figures(credentials: usize) -> Vec<Figure> {
    let keys = keys(credentials);
    let folder = TempDir::new().unwrap();
    let mut figures = in_a_file(&keys, folder.path()).await;
    if Postgres::is_installed() {
        figures.extend(on_a_server(&keys).await);
    }
    figures
}

async fn in_a_file(keys: &[PublishableKey], folder: &Path) -> Vec<Figure> {
    let url = |name| format!("sqlite:{}", folder.join(name).display());
    let (empty, full) = (url("empty.db"), url("filled.db"));
    for url in [&empty, &full] {
        Registry::open_or_create(url).await.unwrap().close().await;
    }
    let mut connection = SqliteConnection::connect(&full).await.unwrap();
    // What is written here need not outlive a loss of power.
    connection.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000").await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    for chunk in applications(keys.len()) {
        let insert = "INSERT INTO application (name, environment, created_at)
                      SELECT value, 'live', 1763900000 FROM json_each($1)";
        sqlx::query(insert).bind(chunk).execute(&mut *transaction).await.unwrap();
    }
    for chunk in rows(keys) {
        let insert =
            "INSERT INTO credential (application_id, publishable_key, thumbprint, label, state, created_at, expires_at)
             SELECT value ->> 0, value ->> 1, value ->> 2, 'laptop', 'active', 1763900000, 4102444800 FROM json_each($1)";
        sqlx::query(insert).bind(chunk).execute(&mut *transaction).await.unwrap();
    }
    for statement in rare("", keys.len()) {
        transaction.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    transaction.commit().await.unwrap();
    connection.close().await.unwrap();
    let name = |what: &str| format!("registry/sqlite/{what}");
    let uncached = Target::AtMost(100.0);
    measure(name, &empty, &full, keys, Some(uncached)).await
}

async fn on_a_server(keys: &[PublishableKey]) -> Vec<Figure> {
    let server = Postgres::start();
    let (empty, full) = (server.url_of("empty"), server.url_of("filled"));
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    for (name, url) in [("empty", &empty), ("filled", &full)] {
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        Registry::open_or_create(url).await.unwrap().close().await;
    }
    let mut connection = PgConnection::connect(&full).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    for chunk in applications(keys.len()) {
        let insert = "INSERT INTO countersign.application (name, environment, created_at)
                      SELECT value, 'live', 1763900000 FROM jsonb_array_elements_text($1::jsonb)";
        sqlx::query(insert).bind(chunk).execute(&mut *transaction).await.unwrap();
    }
    for chunk in rows(keys) {
        let insert = "INSERT INTO countersign.credential
                      (application_id, publishable_key, thumbprint, label, state, created_at, expires_at)
             SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, 'laptop', 'active', 1763900000, 4102444800
             FROM jsonb_array_elements($1::jsonb)";
        sqlx::query(insert).bind(chunk).execute(&mut *transaction).await.unwrap();
    }
    for statement in rare("countersign.", keys.len()) {
        transaction.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    transaction.commit().await.unwrap();
    // As autovacuum does a moment later.
    connection.execute("VACUUM ANALYZE").await.unwrap();
    connection.close().await.unwrap();
    let name = |what: &str| format!("registry/postgres/{what}");
    let mut figures = measure(name, &empty, &full, keys, None).await;
    let trips = round_trips(&server, keys).await;
    let target = Some(Target::AtMost(1.05));
    figures.push(Figure::new(name("round trips of an uncached lookup"), trips, "", target));
    figures
}

/// Statements that make a few keys match each filter, and record when all keys were used.
fn rare(schema: &str, keys: usize) -> Vec<String> {
    // Fewer than a page holds.
    let every = keys.div_ceil(50).max(20);
    let settings = [
        "state = 'quarantined'",
        "state = 'retiring', expires_at = 4000000000",
        "state = 'revoked', revoked_at = 1763900000",
        "expires_at = 1763900000",
        "expires_at = 3000000000",
        "expires_at = NULL",
        "created_at = 1600000000",
        "label = 'Needle'",
    ];
    let settings = settings
        .iter()
        .enumerate()
        .map(|(at, set)| format!("UPDATE {schema}credential SET {set} WHERE id % {every} = {at}"));
    let used = format!(
        "INSERT INTO {schema}last_use (credential_id, seconds)
         SELECT id, CASE WHEN id % {every} = 10 THEN 1770000000 ELSE 1790000000 END FROM {schema}credential"
    );
    let since =
        format!("INSERT INTO {schema}last_use (credential_id, seconds) VALUES (0, 1600000000)");
    settings.chain([used, since]).collect()
}

/// The filters that a few keys match.
fn filters() -> Vec<(&'static str, CredentialFilter)> {
    let all = CredentialFilter::default;
    let since = |seconds| system_time().since(Timestamp::from_unix(seconds)).unwrap_or_default();
    let until = |seconds| Timestamp::from_unix(seconds).since(system_time()).unwrap_or_default();
    vec![
        ("quarantined keys", all().stage(Stage::Quarantined)),
        ("retiring keys", all().stage(Stage::Retiring)),
        ("revoked keys", all().stage(Stage::Revoked)),
        ("expired keys", all().stage(Stage::Expired)),
        ("expiring keys", all().expiring_within(until(3_500_000_000))),
        ("keys that never expire", all().never_expires()),
        ("due keys", all().due_after(since(1_700_000_000))),
        ("unused keys", all().unused_for(since(1_780_000_000))),
        ("keys with a text", all().search("needle")),
    ]
}

/// Makes different keys, on all processors.
fn keys(number: usize) -> Vec<PublishableKey> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let per_thread = number.div_ceil(threads);
    let make = |number: usize| {
        let mut seed = [0; 32];
        seed.iter_mut().zip(number.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        PublishableKey::ed25519(SigningKey::from_bytes(&seed).verifying_key().to_bytes())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| (thread * per_thread)..((thread + 1) * per_thread).min(number))
            .map(|range| scope.spawn(|| range.map(make).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn application(number: usize) -> String {
    format!("app{number}")
}

/// The names of applications, as JSON.
fn applications(keys: usize) -> Vec<String> {
    let names: Vec<_> = (0..keys.div_ceil(KEYS)).map(application).collect();
    names.chunks(CHUNK).map(|names| json!(names).to_string()).collect()
}

/// The number of its application, the key and its thumbprint for each row, as JSON. The keys of an application do not lie side by
/// side, as if they had been registered over the years.
fn rows(keys: &[PublishableKey]) -> impl Iterator<Item = String> {
    let applications = keys.len().div_ceil(KEYS);
    keys.chunks(CHUNK).enumerate().map(move |(chunk, keys)| {
        let rows = keys.iter().enumerate().map(|(at, key)| {
            let thumbprint = key.thumbprint().map(|it| KeyId::Thumbprint(it).to_string());
            json!([1 + (chunk * CHUNK + at) % applications, key.to_string(), thumbprint])
        });
        rows.collect::<serde_json::Value>().to_string()
    })
}

async fn measure(
    name: impl Fn(&str) -> String,
    empty: &str,
    full: &str,
    keys: &[PublishableKey],
    uncached: Option<Target>,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut push = |what: &str, value, unit, target| {
        figures.push(Figure::new(name(what), value, unit, target));
    };
    let (of_empty, of_full) = opening(empty, full).await;
    push("opening", of_full.as_secs_f64() * 1e3, "ms", None);
    let ratio = of_full.as_secs_f64() / of_empty.as_secs_f64();
    push("opening/opening when it is empty", ratio, "", Some(Target::AtMost(2.0)));

    let registry = Registry::open(full).await.unwrap();
    let mut random = Rng::with_seed(1);
    let mut chosen = random.choose_multiple(keys, LOOKUPS + REVOKED);
    random.shuffle(&mut chosen);
    let ids: Vec<_> = chosen.into_iter().map(|key| KeyId::Publishable(*key)).collect();
    let (revoked, ids) = ids.split_at(REVOKED.min(ids.len() / 2));
    // In a task, as the requests of a server.
    let (own, of_lookups) = (registry.clone(), ids.to_vec());
    let lookups = tokio::spawn(async move { lookups(&own, &of_lookups).await }).await.unwrap();
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    push("uncached lookup, median", micros(lookups.uncached), "µs", uncached);
    push("uncached lookup, 99 of 100", micros(lookups.uncached_99), "µs", None);
    push("lookup after a minute, median", micros(lookups.again), "µs", None);
    push("cached lookup", micros(lookups.cached), "µs", Some(Target::AtMost(1.0)));

    let mut pages = Vec::new();
    for _ in 0..50 {
        let application = application(random.usize(0..keys.len().div_ceil(KEYS)));
        let start = Instant::now();
        let filter = CredentialFilter::default().application(&application);
        let page = registry.page(&filter, None, 100, system_time()).await.unwrap();
        pages.push(start.elapsed());
        assert!(page.entries.iter().all(Result::is_ok));
    }
    let page = median(pages).as_secs_f64() * 1e3;
    push("the hundred keys of an application", page, "ms", Some(Target::AtMost(20.0)));

    for (what, filter) in filters() {
        let mut pages = Vec::new();
        for _ in 0..10 {
            let start = Instant::now();
            let page = registry.page(&filter, None, 100, system_time()).await.unwrap();
            pages.push(start.elapsed());
            assert!((1..=50).contains(&page.entries.len()), "{what}: {}", page.entries.len());
        }
        let page = median(pages).as_secs_f64() * 1e3;
        push(&format!("the few {what}"), page, "ms", None);
    }

    let elsewhere = Registry::open(full).await.unwrap();
    let mut effect = Vec::new();
    for id in revoked {
        effect.push(until_revoked(&registry, &elsewhere, *id).await);
    }
    let worst = effect.iter().max().copied().unwrap_or_default();
    let target = Some(Target::AtMost(1000.0));
    push("revoked elsewhere, median", median(effect).as_secs_f64() * 1e3, "ms", None);
    push("revoked elsewhere, worst", worst.as_secs_f64() * 1e3, "ms", target);
    registry.close().await;
    elsewhere.close().await;
    figures
}

/// Opens an empty registry and a full one in turn.
async fn opening(empty: &str, full: &str) -> (Duration, Duration) {
    let (mut of_empty, mut of_full) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        for (url, times) in [(empty, &mut of_empty), (full, &mut of_full)] {
            let start = Instant::now();
            let registry = Registry::open(url).await.unwrap();
            times.push(start.elapsed());
            registry.close().await;
        }
    }
    (median(of_empty), median(of_full))
}

struct Lookups {
    uncached: Duration,
    uncached_99: Duration,
    again: Duration,
    cached: Duration,
}

async fn lookups(registry: &Registry, ids: &[KeyId]) -> Lookups {
    let now = system_time();
    let timed = async |id: &KeyId, now: Timestamp| {
        let start = Instant::now();
        let found = registry.find(id, now).await.unwrap();
        let elapsed = start.elapsed();
        assert!(found.is_some());
        elapsed
    };
    // Connections are made, and statements prepared.
    let (first, ids) = ids.split_at(ids.len() / 10);
    for id in first {
        timed(id, now).await;
    }
    let mut uncached = Vec::new();
    for id in ids {
        uncached.push(timed(id, now).await);
    }
    let mut again = Vec::new();
    for id in ids {
        again.push(timed(id, now.plus(Duration::from_secs(60))).await);
    }
    let mut cached = Vec::new();
    for _ in 0..20 {
        let now = now.plus(Duration::from_secs(60));
        let start = Instant::now();
        for id in ids {
            registry.find(id, now).await.unwrap();
        }
        cached.push(start.elapsed().checked_div(u32::try_from(ids.len()).unwrap()).unwrap());
    }
    uncached.sort();
    let uncached_99 = *uncached.get(uncached.len() * 99 / 100).unwrap();
    let (uncached, again, cached) = (median(uncached), median(again), median(cached));
    Lookups { uncached, uncached_99, again, cached }
}

/// Returns the time from a revocation until the last request that another registry let in.
async fn until_revoked(registry: &Registry, elsewhere: &Registry, id: KeyId) -> Duration {
    let is_valid = async || {
        let found = elsewhere.find(&id, system_time()).await.unwrap().unwrap();
        found.standing(system_time()) != Standing::Revoked
    };
    assert!(is_valid().await);
    // At any time between two polls.
    sleep(Duration::from_millis(fastrand::u64(0..500))).await;
    registry.revoke(&id, None, system_time()).await.unwrap();
    let revoked = Instant::now();
    let mut last = Duration::ZERO;
    while is_valid().await {
        last = revoked.elapsed();
        sleep(Duration::from_millis(1)).await;
    }
    last
}

/// How often a lookup waits for the server.
async fn round_trips(server: &Postgres, keys: &[PublishableKey]) -> f64 {
    let folder = TempDir::new().unwrap();
    let proxy = CountingProxy::at_socket(folder.path(), server.folder());
    let url = format!("postgres://postgres@localhost/filled?host={}", folder.path().display());
    let registry = Registry::open(&url).await.unwrap();
    let mut keys = keys.iter().rev().map(|key| KeyId::Publishable(*key));
    let mut look_up = async |number: usize| {
        for id in keys.by_ref().take(number) {
            assert!(registry.find(&id, system_time()).await.unwrap().is_some());
        }
    };
    look_up(100).await;
    let before = proxy.trips();
    // So many that those of the poll do not count.
    look_up(3000).await;
    let trips = u32::try_from(proxy.trips() - before).unwrap();
    registry.close().await;
    f64::from(trips) / 3000.0
}
