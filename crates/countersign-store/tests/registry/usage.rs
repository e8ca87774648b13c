//! Usage: what servers count, saved and asked for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use countersign::{Code, Timestamp};
use countersign_store::{
    AddressPrefix, BadUsageQuery, CallAccess, CallCount, CallKey, CallOutcome, ClientKey,
    CredentialId, PlaceKey, Platform, Registry, RegistryError, RouteLabel, UsageBatch,
    UsageDimension, UsageQuery, UsageRetention, UsageSink, UsageStep,
};
use http::{Method, StatusCode};

use crate::{
    home::{Home, on_both},
    life::{add, id, key},
};

on_both! {
    a_day_of_traffic_from_two_servers_is_counted_exactly
    a_batch_that_is_saved_again_counts_once
    servers_that_save_at_the_same_time_lose_nothing
    counts_are_divided_and_filtered
    what_comes_late_is_counted_as_long_as_its_time_is_kept
    what_is_too_old_is_removed
    whoever_expects_minutes_that_a_server_removed_reads_whole_hours
    what_is_beyond_a_bound_is_counted_with_others
    whatever_a_label_is_it_is_saved
}

/// The first second of a day.
pub(crate) const MIDNIGHT: Timestamp = Timestamp::from_unix(20_000 * 86_400);

pub(crate) const fn at(days: u64, hours: u64, minutes: u64) -> Timestamp {
    MIDNIGHT.plus(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60))
}

pub(crate) fn call(credential: i64, route: &str, minute: Timestamp) -> CallKey {
    CallKey {
        minute,
        credential: (credential != 0).then_some(CredentialId::new(credential)),
        route: RouteLabel::Declared(route.into()),
        method: Method::GET,
        access: CallAccess::Signed,
        outcome: CallOutcome::Passed,
        status: StatusCode::OK,
    }
}

pub(crate) fn calls(number: u64) -> CallCount {
    let mut count = CallCount::default();
    (0..number).for_each(|_| count.add(Duration::from_millis(15), 100, 1000));
    count
}

pub(crate) fn place(credential: i64, address: &str, hour: Timestamp) -> PlaceKey {
    PlaceKey {
        hour,
        credential: Some(CredentialId::new(credential)),
        prefix: Some(AddressPrefix::of(address.parse().unwrap())),
        access: CallAccess::Signed,
    }
}

pub(crate) fn client(credential: i64, product: &str, hour: Timestamp) -> ClientKey {
    ClientKey {
        hour,
        credential: Some(CredentialId::new(credential)),
        platform: Platform::Server,
        product: Some(product.into()),
        access: CallAccess::Signed,
    }
}

pub(crate) async fn total(registry: &Registry, query: UsageQuery, now: Timestamp) -> u64 {
    let usage = registry.usage(&query, now).await.unwrap();
    usage.rows.iter().map(|row| row.count.calls).sum()
}

/// What is known of the calls of a day, from which any count follows.
#[derive(Default)]
struct Truth {
    calls: HashMap<CallKey, CallCount>,
}

type Counted = BTreeMap<(Option<Timestamp>, Vec<Option<String>>), CallCount>;

fn merge(into: &mut CallCount, other: &CallCount) {
    into.calls += other.calls;
    into.bytes_in += other.bytes_in;
    into.bytes_out += other.bytes_out;
    into.duration += other.duration;
    let mut counts = *into.latencies.counts();
    counts.iter_mut().zip(other.latencies.counts()).for_each(|(sum, count)| *sum += count);
    into.latencies = countersign_store::LatencyHistogram::of(counts);
}

impl Truth {
    fn count(
        &self,
        range: std::ops::Range<Timestamp>,
        groups: &[UsageDimension],
        step: Option<u64>,
    ) -> Counted {
        let mut counted = Counted::new();
        for (key, count) in &self.calls {
            if !range.contains(&key.minute) {
                continue;
            }
            let text = |dimension: &UsageDimension| match dimension {
                UsageDimension::Application => key.credential.map(|_| "shop".to_owned()),
                UsageDimension::Route => match &key.route {
                    RouteLabel::Declared(route) => Some(route.to_string()),
                    RouteLabel::Other => None,
                },
                UsageDimension::Method => Some(key.method.to_string()),
                UsageDimension::Access => Some(key.access.as_str().to_owned()),
                UsageDimension::Outcome => Some(key.outcome.as_str().to_owned()),
                UsageDimension::Status => Some(key.status.as_str().to_owned()),
                other => panic!("{other:?}"),
            };
            let at = step.map(|step| Timestamp::from_unix(key.minute.unix() / step * step));
            let row = counted.entry((at, groups.iter().map(text).collect())).or_default();
            merge(row, count);
        }
        counted
    }

    async fn agrees(
        &self,
        registry: &Registry,
        range: std::ops::Range<Timestamp>,
        groups: &[UsageDimension],
        step: Option<(UsageStep, u64)>,
        now: Timestamp,
    ) {
        let mut query = UsageQuery::new(range.start, range.end).latencies();
        query = groups.iter().fold(query, |query, group| query.group_by(*group));
        if let Some((step, _)) = step {
            query = query.step(step);
        }
        let usage = registry.usage(&query, now).await.unwrap();
        let truth = self.count(range.clone(), groups, step.map(|(_, seconds)| seconds));
        assert_eq!(usage.rows.len(), truth.len(), "{query:?}");
        for row in usage.rows {
            assert_eq!(truth.get(&(row.at, row.group.clone())), Some(&row.count), "{row:?}");
        }
    }
}

/// A call of any kind in a minute.
fn any_call(random: &mut fastrand::Rng, minute: Timestamp) -> CallKey {
    let credential = random.i64(0..4);
    let outcome = match random.u8(0..4) {
        0 => CallOutcome::Refused(Code::SignatureInvalid),
        1 => CallOutcome::Refused(Code::RateLimited),
        _ => CallOutcome::Passed,
    };
    let access = [CallAccess::Open, CallAccess::Publishable, CallAccess::Signed];
    CallKey {
        minute,
        credential: (credential != 0).then_some(CredentialId::new(credential)),
        route: match random.u8(0..3) {
            0 => RouteLabel::Other,
            number => RouteLabel::Declared(format!("/v1/orders/{number}").into()),
        },
        method: if random.bool() { Method::GET } else { Method::POST },
        access: access[random.usize(0..3)],
        outcome,
        status: if random.bool() { StatusCode::OK } else { StatusCode::UNAUTHORIZED },
    }
}

async fn a_day_of_traffic_from_two_servers_is_counted_exactly(home: Home) {
    let mut random = fastrand::Rng::with_seed(7);
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &key(seed)).await;
    }
    let mut truth = Truth::default();
    let mut servers = Vec::new();
    for number in 0..2 {
        servers.push((Registry::open(&home.url()).await.unwrap(), number, 0));
    }
    // From the morning of a day to the next morning.
    for minute in (8 * 60..32 * 60).step_by(11) {
        let now = at(0, 0, minute).plus(Duration::from_secs(30));
        for (registry, server, number) in &mut servers {
            if random.u8(0..20) == 0 {
                // The server starts again.
                *registry = Registry::open(&home.url()).await.unwrap();
                (*server, *number) = (random.u64(..), 0);
            }
            *number += 1;
            let mut batch = UsageBatch::new(*server, *number);
            for _ in 0..random.usize(0..12) {
                // Some calls are counted a minute later than they began.
                let began = at(0, 0, minute - random.u64(0..2));
                let key = any_call(&mut random, began);
                let counts = [batch.calls.entry(key.clone()), truth.calls.entry(key)];
                let (duration, bytes) = (random.u64(0..9_000_000), random.u64(0..5000));
                for count in counts {
                    count.or_default().add(Duration::from_micros(duration), bytes, bytes * 2);
                }
            }
            registry.save(&batch, now).await.unwrap();
            if random.u8(0..4) == 0 {
                // The response was lost.
                registry.save(&batch, now.plus(Duration::from_secs(5))).await.unwrap();
            }
        }
    }
    let now = at(1, 8, 0);
    use UsageDimension::{Access, Application, Method, Outcome, Route, Status};
    let ranges = [
        at(0, 0, 0)..at(2, 0, 0),
        at(0, 0, 0)..at(1, 0, 0),
        at(0, 9, 7)..at(1, 7, 31),
        at(0, 23, 58)..at(1, 0, 3),
        at(0, 12, 0)..at(0, 13, 0),
    ];
    let steps = [
        None,
        Some((UsageStep::Minute, 60)),
        Some((UsageStep::Hour, 3600)),
        Some((UsageStep::Day, 86_400)),
    ];
    for range in ranges {
        for step in steps {
            for groups in [
                &[][..],
                &[Application],
                &[Route, Method],
                &[Outcome],
                &[Status, Access, Outcome, Method, Route, Application],
            ] {
                truth.agrees(&registry, range.clone(), groups, step, now).await;
            }
        }
    }
}

async fn a_batch_that_is_saved_again_counts_once(home: Home) {
    let registry = home.registry().await;
    let mut batch = UsageBatch::new(u64::MAX, 1);
    batch.calls.insert(call(1, "/v1", at(0, 1, 2)), calls(3));
    batch.places.insert(place(1, "192.0.2.7", at(0, 1, 0)), 3);
    let now = at(0, 1, 3);
    registry.save(&batch, now).await.unwrap();
    // By this process, and by one that found the batch on its disk.
    registry.save(&batch, now).await.unwrap();
    let other = Registry::open(&home.url()).await.unwrap();
    let (one, two) = tokio::join!(other.save(&batch, now), registry.save(&batch, now));
    one.unwrap();
    two.unwrap();
    let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
    assert_eq!(total(&registry, all.clone(), now).await, 3);
    batch.number = 2;
    registry.save(&batch, now).await.unwrap();
    assert_eq!(total(&registry, all.clone(), now).await, 6);
    batch.server = 1;
    registry.save(&batch, now).await.unwrap();
    assert_eq!(total(&registry, all.clone(), now).await, 9);
    let by_network = all.group_by(UsageDimension::Network);
    let usage = registry.usage(&by_network, now).await.unwrap();
    assert_eq!(usage.rows[0].group, [Some("192.0.2.0/24".to_owned())]);
    assert_eq!(usage.rows[0].count.calls, 9);
    let nothing = UsageBatch::new(1, 2);
    registry.save(&nothing, now).await.unwrap();
    assert_eq!(registry.audit_entries(0, 10).await.unwrap().len(), 0, "no use is a change");
}

async fn servers_that_save_at_the_same_time_lose_nothing(home: Home) {
    home.registry().await;
    let mut saving = tokio::task::JoinSet::new();
    for server in 0..4_u64 {
        let url = home.url();
        saving.spawn(async move {
            let registry = Registry::open(&url).await.unwrap();
            for number in 1..=10 {
                let mut batch = UsageBatch::new(server, number);
                // The same rows, in an order of its own.
                for credential in 1..=60 {
                    let minute = at(0, 1, number);
                    batch.calls.insert(call(credential, "/v1", minute), calls(1));
                    batch.places.insert(place(credential, "192.0.2.7", at(0, 1, 0)), 1);
                    batch.clients.insert(client(credential, "curl", at(0, 1, 0)), 1);
                }
                while registry.save(&batch, at(0, 1, number)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(saved) = saving.join_next().await {
        saved.unwrap();
    }
    let registry = home.registry().await;
    let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
    for query in [
        all.clone(),
        all.clone().group_by(UsageDimension::Network),
        all.clone().group_by(UsageDimension::Product),
        all.step(UsageStep::Minute),
    ] {
        assert_eq!(total(&registry, query, at(0, 2, 0)).await, 4 * 10 * 60);
    }
}

async fn counts_are_divided_and_filtered(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=2 {
        add(&registry, &key(seed)).await;
    }
    registry.add_application("empty", "live", MIDNIGHT).await.unwrap();
    let mut batch = UsageBatch::new(1, 1);
    let refused = |mut key: CallKey| {
        key.outcome = CallOutcome::Refused(Code::SignatureReplayed);
        key.status = StatusCode::UNAUTHORIZED;
        key
    };
    batch.calls.insert(call(1, "/v1/a", at(0, 1, 0)), calls(5));
    batch.calls.insert(call(2, "/v1/b", at(0, 2, 0)), calls(7));
    batch.calls.insert(refused(call(2, "/v1/b", at(0, 3, 0))), calls(2));
    batch.calls.insert(call(0, "/v1/b", at(0, 4, 0)), calls(1));
    batch.places.insert(place(1, "192.0.2.7", at(0, 1, 0)), 5);
    batch.places.insert(place(2, "2001:db8::1", at(0, 1, 0)), 9);
    batch.clients.insert(client(1, "okhttp", at(0, 1, 0)), 5);
    let now = at(0, 5, 0);
    registry.save(&batch, now).await.unwrap();
    let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
    let (one, two) = (id(&key(1)), id(&key(2)));
    let filtered = [
        (all.clone(), 15),
        (all.clone().application("shop"), 14),
        (all.clone().application("empty"), 0),
        (all.clone().key(one), 5),
        (all.clone().key(two), 9),
        (all.clone().key(two).refused(), 2),
        (all.clone().route("/v1/b"), 10),
        (all.clone().route("/v1/b").application("shop").step(UsageStep::Minute), 9),
        (all.clone().outcome(CallOutcome::Refused(Code::SignatureReplayed)), 2),
        (all.clone().status(StatusCode::UNAUTHORIZED), 2),
        (all.clone().method(&Method::POST), 0),
        (all.clone().access(CallAccess::Open), 0),
        (all.clone().network(AddressPrefix::of("192.0.2.99".parse().unwrap())), 5),
        (all.clone().platform(Platform::Server), 5),
        (all.clone().product("curl"), 0),
        (UsageQuery::new(at(0, 2, 0), at(0, 3, 0)), 7),
        (UsageQuery::new(at(0, 3, 0), at(0, 2, 0)), 0),
    ];
    for (query, expected) in filtered {
        assert_eq!(total(&registry, query.clone(), now).await, expected, "{query:?}");
    }
    let rows = async |query: &UsageQuery| {
        let usage = registry.usage(query, now).await.unwrap();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows = usage.rows.iter().map(|row| {
            let group: Vec<_> = row.group.iter().map(text).collect();
            (group.join(" "), row.count.calls, row.last)
        });
        rows.collect::<Vec<_>>()
    };
    // Today by the day, for the range ends later.
    let by_route = all.clone().group_by(UsageDimension::Route);
    let routes = [("/v1/b".to_owned(), 10, MIDNIGHT), ("/v1/a".to_owned(), 5, MIDNIGHT)];
    assert_eq!(rows(&by_route).await, routes);
    assert_eq!(rows(&by_route.limit(1)).await, routes[..1]);
    let by_key = UsageQuery::new(MIDNIGHT, now)
        .group_by(UsageDimension::Application)
        .group_by(UsageDimension::Label)
        .group_by(UsageDimension::Key);
    let expected = [
        (format!("shop laptop {two}"), 9, at(0, 3, 0)),
        (format!("shop laptop {one}"), 5, at(0, 1, 0)),
        ("- - -".to_owned(), 1, at(0, 4, 0)),
    ];
    assert_eq!(rows(&by_key).await, expected);
    let bad = all.clone().group_by(UsageDimension::Network).refused();
    let bad = registry.usage(&bad, now).await.unwrap_err();
    assert!(matches!(bad, RegistryError::Usage(BadUsageQuery::Combined)), "{bad:?}");
    let bad = all.clone().platform(Platform::Ios).step(UsageStep::Minute);
    let bad = registry.usage(&bad, now).await.unwrap_err();
    assert!(matches!(bad, RegistryError::Usage(BadUsageQuery::Minutes)), "{bad:?}");
    for missing in [all.clone().application("nobody"), all.key(id(&key(9)))] {
        let missing = registry.usage(&missing, now).await.unwrap_err();
        assert!(matches!(missing, RegistryError::NotFound(_)), "{missing:?}");
    }
}

async fn what_comes_late_is_counted_as_long_as_its_time_is_kept(home: Home) {
    let registry = home.registry().await;
    let now = at(1200, 12, 30);
    let mut batch = UsageBatch::new(1, 1);
    // A server that could not save for long; the last two are older than what is kept, and of a clock that is wrong.
    for minute in [at(1200, 12, 29), at(1195, 1, 1), at(1100, 1, 1), at(100, 1, 1), at(1203, 0, 0)]
    {
        batch.calls.insert(call(1, "/v1", minute), calls(1));
    }
    registry.save(&batch, now).await.unwrap();
    let all = UsageQuery::new(MIDNIGHT, at(2000, 0, 0));
    assert_eq!(total(&registry, all.clone(), now).await, 3);
    assert_eq!(total(&registry, all.clone().step(UsageStep::Hour), now).await, 2);
    assert_eq!(total(&registry, all.step(UsageStep::Minute), now).await, 1);
    // The range grows to whole hours and days.
    let usage =
        registry.usage(&UsageQuery::new(at(1195, 1, 30), at(1195, 1, 31)), now).await.unwrap();
    assert_eq!((usage.from, usage.to, usage.rows.len()), (at(1195, 1, 0), at(1195, 2, 0), 1));
    let usage =
        registry.usage(&UsageQuery::new(at(1100, 9, 0), at(1100, 10, 0)), now).await.unwrap();
    assert_eq!((usage.from, usage.to, usage.rows.len()), (at(1100, 0, 0), at(1101, 0, 0), 1));
}

async fn what_is_too_old_is_removed(home: Home) {
    let registry = home.registry().await;
    let mut number = 0;
    let mut save = async |now: Timestamp| {
        number += 1;
        let mut batch = UsageBatch::new(1, number);
        batch.calls.insert(call(1, "/v1", now), calls(1));
        batch.places.insert(place(1, "192.0.2.7", now), 1);
        batch.clients.insert(client(1, "curl", now), 1);
        registry.save(&batch, now).await.unwrap();
    };
    for days in 0..10 {
        save(at(days, 12, 0)).await;
    }
    let now = at(9, 12, 0);
    let all = UsageQuery::new(MIDNIGHT, at(2000, 0, 0));
    let minutes = all.clone().step(UsageStep::Minute);
    let hours = all.clone().step(UsageStep::Hour);
    // Removed by the flushes themselves: the day before yesterday is the last that is kept.
    assert_eq!(total(&registry, minutes.clone(), now).await, 3);
    assert_eq!(total(&registry, hours.clone(), now).await, 10);
    assert_eq!(registry.prune_usage(now).await.unwrap(), Default::default());
    // After a year there are no hours any more, and after four years nothing.
    let pruned = registry.prune_usage(at(400, 0, 0)).await.unwrap();
    assert!(pruned.rows + pruned.partitions >= 3, "{pruned:?}");
    assert_eq!(total(&registry, minutes, now).await, 0);
    assert_eq!(total(&registry, hours, now).await, 0);
    assert_eq!(total(&registry, all.clone(), now).await, 10);
    assert_eq!(total(&registry, all.clone().group_by(UsageDimension::Network), now).await, 10);
    assert_eq!(total(&registry, all.clone().group_by(UsageDimension::Product), now).await, 10);
    registry.prune_usage(at(1500, 0, 0)).await.unwrap();
    assert_eq!(total(&registry, all.clone(), now).await, 0);
    // Of another setting.
    let registry = registry.usage_retention(
        UsageRetention::default()
            .minutes(Duration::from_secs(3600))
            .days(Duration::from_secs(86_400)),
    );
    let mut batch = UsageBatch::new(2, 1);
    batch.calls.insert(call(1, "/v1", at(1999, 0, 0)), calls(1));
    batch.calls.insert(call(1, "/v1", at(1997, 0, 0)), calls(1));
    registry.save(&batch, at(2000, 0, 0)).await.unwrap();
    let now = at(2000, 0, 0);
    assert_eq!(total(&registry, all.clone(), now).await, 1);
    assert_eq!(total(&registry, all.step(UsageStep::Minute), now).await, 0);
}

async fn whoever_expects_minutes_that_a_server_removed_reads_whole_hours(home: Home) {
    let hour = Duration::from_secs(3600);
    let short = UsageRetention::default().minutes(hour).hours(hour.saturating_mul(5));
    let server = home.registry().await.usage_retention(short);
    let mut batch = UsageBatch::new(1, 1);
    for minute in [at(0, 2, 10), at(0, 2, 50), at(1, 2, 10), at(1, 2, 50), at(2, 2, 10)] {
        batch.calls.insert(call(1, "/v1", minute), calls(1));
        server.save(&batch, minute).await.unwrap();
        batch = UsageBatch::new(1, batch.number + 1);
    }
    let now = at(2, 2, 20);
    server.prune_usage(now).await.unwrap();
    // A program with the default setting.
    let other = home.registry().await;
    let half = |days: u64| UsageQuery::new(at(days, 2, 40), at(days, 3, 0));
    for registry in [&server, &other] {
        let usage = registry.usage(&half(0), now).await.unwrap();
        assert_eq!((usage.from, usage.to), (at(0, 0, 0), at(1, 0, 0)));
        assert_eq!(total(registry, half(0), now).await, 2);
        assert_eq!(total(registry, half(1), now).await, 2);
        assert_eq!(total(registry, half(2), now).await, 0);
        let usage = registry.usage(&UsageQuery::new(at(2, 2, 5), at(2, 2, 15)), now).await.unwrap();
        assert_eq!((usage.from, usage.to, usage.rows.len()), (at(2, 2, 5), at(2, 2, 15), 1));
    }
}

async fn what_is_beyond_a_bound_is_counted_with_others(home: Home) {
    let registry = home.registry().await;
    let now = at(0, 1, 0);
    for number in 0..3_u64 {
        let mut batch = UsageBatch::new(1, number);
        for network in 0..600_u64 {
            let [.., high, low] = (number * 600 + network).to_be_bytes();
            batch.places.insert(place(1, &format!("10.{high}.{low}.9"), at(0, 1, 0)), 1);
        }
        // The same for everybody who knows the publishable key, which pushes nobody out.
        batch.places.insert(
            PlaceKey { access: CallAccess::Publishable, ..place(1, "192.0.2.1", at(0, 1, 0)) },
            5,
        );
        for product in 0..60 {
            let product = format!("product {}", number * 60 + product);
            batch.clients.insert(client(1, &product, at(0, 1, 0)), 2);
        }
        registry.save(&batch, now).await.unwrap();
    }
    for end in [at(0, 2, 0), at(1, 0, 0)] {
        let all = UsageQuery::new(at(0, 1, 0), end);
        let by_network = all.clone().group_by(UsageDimension::Network);
        let usage =
            registry.usage(&by_network.clone().access(CallAccess::Signed), now).await.unwrap();
        assert_eq!(usage.rows.len(), 1001);
        assert_eq!(usage.rows[0].group, [None]);
        assert_eq!(usage.rows[0].count.calls, 800);
        assert_eq!(total(&registry, by_network, now).await, 1815);
        let usage = registry.usage(&all.group_by(UsageDimension::Product), now).await.unwrap();
        assert_eq!(usage.rows.len(), 101);
        assert_eq!((&usage.rows[0].group[0], usage.rows[0].count.calls), (&None, 160));
    }
}

async fn whatever_a_label_is_it_is_saved(home: Home) {
    let registry = home.registry().await;
    let now = at(0, 1, 0);
    let long = "é".repeat(5000);
    let mut batch = UsageBatch::new(1, 1);
    for route in
        [long.as_str(), "nul\0l", "", "/v1/{id}", "'); DROP TABLE credential; --", "$1 ?1 {rows}"]
    {
        batch.calls.insert(call(1, route, now), calls(1));
    }
    let huge = CallCount {
        calls: u64::MAX,
        bytes_in: u64::MAX,
        bytes_out: u64::MAX,
        duration: Duration::MAX,
        ..CallCount::default()
    };
    batch.calls.insert(call(1, "/v1/huge", now), huge);
    batch.clients.insert(client(1, &long, now), 1);
    batch.clients.insert(ClientKey { product: Some(Arc::from("a\0")), ..client(1, "", now) }, 1);
    for number in 1..=50 {
        batch.number = number;
        registry.save(&batch, now).await.unwrap();
    }
    let by_route = UsageQuery::new(MIDNIGHT, at(1, 0, 0)).group_by(UsageDimension::Route);
    let usage = registry.usage(&by_route, now).await.unwrap();
    assert_eq!(usage.rows.len(), 7);
    assert!(usage.rows.iter().any(|row| row.group == [Some("$1 ?1 {rows}".to_owned())]));
    assert!(usage.rows.iter().all(|row| row.count.calls >= 50));
}
