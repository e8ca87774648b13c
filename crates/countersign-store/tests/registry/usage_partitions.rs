//! Partitions of usage in PostgreSQL: they are really made, and really dropped.

use countersign_store::{Registry, UsageBatch, UsageQuery, UsageSink};

use crate::{
    home::postgres::Database,
    relay::{Fault, Relay},
    usage::{MIDNIGHT, at, call, calls, client, place, total},
};

/// The partitions of a table, with their bounds and what is in them.
async fn partitions(database: &Database, table: &str) -> Vec<String> {
    let partitions = database
        .ask(&format!(
            "SELECT coalesce(string_agg(c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) || ' ' ||
                    (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM countersign.' || c.relname,
                                                          false, true, '')))[1]::text, ';' ORDER BY c.relname), '')
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'countersign.{table}'::regclass"
        ))
        .await;
    partitions.split_terminator(';').map(str::to_owned).collect()
}

async fn save(registry: &Registry, number: u64, at: countersign::Timestamp) {
    let mut batch = UsageBatch::new(1, number);
    batch.calls.insert(call(1, "/v1", at), calls(1));
    batch.places.insert(place(1, "192.0.2.7", at), 1);
    batch.clients.insert(client(1, "curl", at), 1);
    registry.save(&batch, at).await.unwrap();
}

#[tokio::test]
async fn partitions_are_made_ahead_and_dropped_and_none_is_the_default() {
    let database = Database::create().await;
    let registry = database.registry().await;
    // 2024-10-04, then half an hour before the next day.
    save(&registry, 1, MIDNIGHT).await;
    let minutes = async || partitions(&database, "usage_call_minute").await;
    let bounds = |days: u64| {
        let (from, to) = (at(days, 0, 0).unix(), at(days + 1, 0, 0).unix());
        format!("FOR VALUES FROM ('{from}') TO ('{to}')")
    };
    assert_eq!(minutes().await, [format!("usage_call_minute_2024_10_04 {} 1", bounds(0))]);
    save(&registry, 2, at(0, 23, 30)).await;
    let both = [
        format!("usage_call_minute_2024_10_04 {} 2", bounds(0)),
        format!("usage_call_minute_2024_10_05 {} 0", bounds(1)),
    ];
    assert_eq!(minutes().await, both);
    let (october, november) = (1_727_740_800, 1_730_419_200);
    let month = format!("FOR VALUES FROM ('{october}') TO ('{november}')");
    let hours = ["usage_call_hour", "usage_place_hour", "usage_client_hour"];
    for table in hours {
        assert_eq!(partitions(&database, table).await, [format!("{table}_2024_10 {month} 2")]);
    }
    let days = ["usage_call_day", "usage_place_day", "usage_client_day"];
    for table in days {
        let expected = [format!("{table}_2024 FOR VALUES FROM ('1704067200') TO ('1735689600') 1")];
        assert_eq!(partitions(&database, table).await, expected);
    }
    // A leap day, and the end of a year.
    save(&registry, 3, at(88, 23, 59)).await;
    let years: Vec<_> = partitions(&database, "usage_call_day").await;
    assert_eq!(years.len(), 2, "{years:?}");
    // The flush of a time after the minutes were kept drops them. The month before ends less than 90 days ago.
    let left = minutes().await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("usage_call_minute_2024_12_31 "), "{left:?}");
    assert_eq!(partitions(&database, "usage_call_hour").await.len(), 3);
    let pruned = registry.prune_usage(at(250, 0, 0)).await.unwrap();
    // Two days; for each kind, October and December, and January.
    assert_eq!(pruned.partitions, 2 + 3 * 3);
    assert_eq!(registry.prune_usage(at(250, 0, 0)).await.unwrap().partitions, 0);
    for table in hours {
        assert_eq!(partitions(&database, table).await, Vec::<String>::new());
    }
    assert_eq!(registry.prune_usage(at(4 * 365, 0, 0)).await.unwrap().partitions, 3);
    let defaults = "SELECT count(*)::text FROM pg_partitioned_table WHERE partdefid <> 0";
    assert_eq!(database.ask(defaults).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_need_the_same_partition_at_once_make_it_once() {
    let database = Database::create().await;
    database.registry().await;
    let mut saving = tokio::task::JoinSet::new();
    for server in 0..8 {
        let url = database.url();
        saving.spawn(async move {
            let registry = Registry::open(&url).await.unwrap();
            let mut batch = UsageBatch::new(server, 1);
            for day in 0..20 {
                batch.calls.insert(call(1, "/v1", at(day, 0, 0)), calls(1));
            }
            registry.save(&batch, at(1, 0, 0)).await
        });
    }
    while let Some(saved) = saving.join_next().await {
        saved.unwrap().unwrap();
    }
    let registry = database.registry().await;
    let all = UsageQuery::new(MIDNIGHT, at(100, 0, 0));
    // Those of the future are left out.
    assert_eq!(total(&registry, all, at(20, 0, 0)).await, 8 * 3);
    assert_eq!(partitions(&database, "usage_call_minute").await.len(), 3);
}

#[tokio::test]
async fn a_partition_that_was_dropped_by_hand_is_made_again() {
    let database = Database::create().await;
    let registry = database.registry().await;
    save(&registry, 1, MIDNIGHT).await;
    database.raw("DROP TABLE countersign.usage_call_day_2024").await.unwrap();
    save(&registry, 2, MIDNIGHT).await;
    let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
    assert_eq!(total(&registry, all, MIDNIGHT).await, 1);
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_counts_once() {
    let database = Database::create().await;
    database.registry().await;
    for (number, fault) in [(1, Fault::CutBefore), (2, Fault::CutAfter)] {
        let relay = Relay::start(database.server().folder(), fault).await;
        let registry = Registry::open(&relay.url(database.name())).await.unwrap();
        let mut batch = UsageBatch::new(1, number);
        batch.calls.insert(call(1, "/v1", MIDNIGHT), calls(1));
        relay.harm(1);
        registry.save(&batch, MIDNIGHT).await.unwrap_err();
        registry.save(&batch, MIDNIGHT).await.unwrap();
        let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
        assert_eq!(total(&registry, all, MIDNIGHT).await, number);
    }
}
