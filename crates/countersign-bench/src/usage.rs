mod recording;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use countersign::Timestamp;
use countersign_store::{
    CallAccess, CallCount, CallKey, CallOutcome, CredentialId, Registry, RouteLabel, UsageBatch,
    UsageDimension, UsageQuery, UsageSink,
};
use harness::Postgres;
use http::{Method, StatusCode};
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::{
    figure::{Figure, Target},
    ratio::median,
};

/// How many applications there are. Each has one key.
const APPLICATIONS: i64 = 1000;
/// How many kinds of calls each makes, in every hour.
const KINDS: i64 = 10;
/// How many kinds of calls a flush has.
const FLUSHED: i64 = 10_000;
const DAY: u64 = 86_400;
/// In the middle of an hour of a day, so that a range of days begins with some hours.
const NOW: Timestamp = Timestamp::from_unix(20_000 * DAY + 15 * 3600 + 1800);

/// All figures: what recording a call takes, and what a query and a flush take, in a file and, where PostgreSQL is installed, on a server.
pub(crate) async fn figures() -> Vec<Figure> {
    let folder = TempDir::new().unwrap();
    let mut figures = recording::figures();
    figures.extend(queries(folder.path()).await);
    let url = format!("sqlite:{}", folder.path().join("flushed.db").display());
    figures.extend(flushes("sqlite", &url).await);
    if Postgres::is_installed() {
        let server = Postgres::start();
        figures.extend(flushes("postgres", &server.url()).await);
    }
    figures
}

/// Measures queries over 30 days of a thousand applications.
async fn queries(folder: &Path) -> Vec<Figure> {
    let file = folder.join("usage.db");
    let url = format!("sqlite:{}", file.display());
    Registry::open_or_create(&url).await.unwrap().close().await;
    fill(&url).await;
    let registry = Registry::open(&url).await.unwrap();
    let range = UsageQuery::new(NOW.minus(Duration::from_secs(30 * DAY)), NOW);
    let days = 20_000 - 30;
    let whole = UsageQuery::new(Timestamp::from_unix(days * DAY), NOW);
    let by_application = |query: UsageQuery| query.group_by(UsageDimension::Application);
    let most = Some(Target::AtMost(200.0));
    let asked = [
        ("30 days to the second, by application", by_application(range.clone()), most),
        ("30 whole days, by application", by_application(whole.clone()), most),
        ("30 whole days, with latencies", by_application(whole.clone().latencies()), None),
        ("30 whole days, by route", whole.clone().group_by(UsageDimension::Route), None),
        ("30 whole days, by outcome", whole.clone().group_by(UsageDimension::Outcome), None),
        ("30 days, one application", by_application(range.application("app7")), None),
    ];
    let mut figures = Vec::new();
    for (what, query, target) in asked {
        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            let usage = registry.usage(&query, NOW).await.unwrap();
            times.push(start.elapsed());
            assert!(!usage.rows.is_empty());
        }
        let name = format!("usage/sqlite/{what}");
        figures.push(Figure::new(name, median(times).as_secs_f64() * 1e3, "ms", target));
    }
    registry.close().await;
    figures
}

/// Writes the counts of a month by day, and those of its first day and of today by hour.
async fn fill(url: &str) {
    let mut connection = SqliteConnection::connect(url).await.unwrap();
    connection.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000").await.unwrap();
    let numbers = |name: &str, last: i64| {
        format!("{name}(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {name} WHERE n < {last})")
    };
    let application = numbers("application_number", APPLICATIONS);
    let mut statements = vec![
        format!(
            "WITH RECURSIVE {application}
             INSERT INTO application (id, name, environment, created_at)
             SELECT n, 'app' || n, 'live', 0 FROM application_number"
        ),
        format!(
            "WITH RECURSIVE {application}
             INSERT INTO credential (id, application_id, publishable_key, label, state, created_at)
             SELECT n, n, 'key' || n, 'laptop', 'active', 0 FROM application_number"
        ),
    ];
    let today = NOW.unix() / DAY;
    let spans = [
        ("usage_call_day", DAY, today - 30, 31),
        ("usage_call_hour", 3600, (today - 30) * 24, 24),
        ("usage_call_hour", 3600, today * 24, 16),
    ];
    for (table, seconds, first, periods) in spans {
        statements.push(format!(
            "WITH RECURSIVE {application}, {}, {}
             INSERT INTO {table}
             SELECT ({first} + p.n - 1) * {seconds}, a.n, '/v1/orders/' || (k.n / 2), 'GET', 'signed',
                    CASE k.n % 2 WHEN 0 THEN 'passed' ELSE 'signature-invalid' END, 200 + k.n % 2 * 201,
                    a.n, 100 * a.n, 1000 * a.n, 15000 * a.n, 0, 0, 0, 0, a.n, 0, 0, 0, 0, 0, 0, 0, 0
             FROM period p, application_number a, kind k ORDER BY 1, 2, 3, 4, 5, 6, 7",
            numbers("period", periods),
            numbers("kind", KINDS),
        ));
    }
    for statement in statements {
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Measures flushes of kinds of calls that were not counted before, and of those that were.
async fn flushes(database: &str, url: &str) -> Vec<Figure> {
    let registry = Registry::open_or_create(url).await.unwrap();
    let (mut new, mut known) = (Vec::new(), Vec::new());
    let mut number = 0;
    for minute in 0..7_u64 {
        for nth in 0..3 {
            number += 1;
            let now = NOW.plus(Duration::from_secs(60 * minute + number));
            let batch = batch(number, Timestamp::from_unix(NOW.unix() + 60 * minute));
            let start = Instant::now();
            registry.save(&batch, now).await.unwrap();
            let times = if nth == 0 { &mut new } else { &mut known };
            times.push(start.elapsed());
        }
    }
    // The minutes are new in each of them, the hours and days in the first.
    let first = new.remove(0);
    registry.close().await;
    let most = Some(Target::AtMost(500.0));
    let figure = |what: &str, time: Duration, target| {
        let name = format!("usage/{database}/flush of 10,000 rows, {what}");
        Figure::new(name, time.as_secs_f64() * 1e3, "ms", target)
    };
    vec![
        figure("the first of a day", first, None),
        figure("the first of a minute", median(new), most),
        figure("more of a minute", median(known), most),
    ]
}

fn batch(number: u64, minute: Timestamp) -> UsageBatch {
    let mut batch = UsageBatch::new(1, number);
    let mut count = CallCount::default();
    (0..20).for_each(|_| count.add(Duration::from_millis(15), 100, 1000));
    for kind in 0..FLUSHED {
        let key = CallKey {
            minute,
            credential: Some(CredentialId::new(1 + kind / KINDS)),
            route: RouteLabel::Declared(format!("/v1/orders/{}", kind % KINDS).into()),
            method: Method::GET,
            access: CallAccess::Signed,
            outcome: CallOutcome::Passed,
            status: StatusCode::OK,
        };
        batch.calls.insert(key, count.clone());
    }
    batch
}
