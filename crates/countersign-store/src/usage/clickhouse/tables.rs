//! The tables. A row is added for each key of a batch, and rows of one key are added up by ClickHouse in its own time.

pub(super) const CALL: &str = "usage_call";
pub(super) const PLACE: &str = "usage_place";
pub(super) const CLIENT: &str = "usage_client";
pub(super) const EVENT: &str = "usage_event";

/// What makes them, if they are missing.
pub(super) const ALL: [&str; 4] = [
    // `duration` is in microseconds. `latencies` are the calls that took at most 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1, 2, 5 s, and longer.
    "CREATE TABLE IF NOT EXISTS usage_call (
        at DateTime('UTC'),
        credential Int64,
        route LowCardinality(String),
        method LowCardinality(String),
        access LowCardinality(String),
        outcome LowCardinality(String),
        status UInt16,
        calls UInt64,
        bytes_in UInt64,
        bytes_out UInt64,
        duration UInt64,
        latency_0 UInt64, latency_1 UInt64, latency_2 UInt64, latency_3 UInt64, latency_4 UInt64, latency_5 UInt64, latency_6 UInt64,
        latency_7 UInt64, latency_8 UInt64, latency_9 UInt64, latency_10 UInt64, latency_11 UInt64, latency_12 UInt64
    ) ENGINE = SummingMergeTree
    PARTITION BY toYYYYMM(at)
    ORDER BY (credential, at, route, method, access, outcome, status)
    TTL at + INTERVAL 3 YEAR
    SETTINGS non_replicated_deduplication_window = 10000",
    "CREATE TABLE IF NOT EXISTS usage_place (
        at DateTime('UTC'),
        credential Int64,
        access LowCardinality(String),
        prefix String,
        calls UInt64
    ) ENGINE = SummingMergeTree
    PARTITION BY toYYYYMM(at)
    ORDER BY (credential, at, access, prefix)
    TTL at + INTERVAL 3 YEAR
    SETTINGS non_replicated_deduplication_window = 10000",
    "CREATE TABLE IF NOT EXISTS usage_client (
        at DateTime('UTC'),
        credential Int64,
        access LowCardinality(String),
        platform LowCardinality(String),
        product LowCardinality(String),
        calls UInt64
    ) ENGINE = SummingMergeTree
    PARTITION BY toYYYYMM(at)
    ORDER BY (credential, at, access, platform, product)
    TTL at + INTERVAL 3 YEAR
    SETTINGS non_replicated_deduplication_window = 10000",
    // A row for each batch: how often since the batch before, the first time and the last.
    "CREATE TABLE IF NOT EXISTS usage_event (
        at DateTime('UTC'),
        first DateTime('UTC'),
        credential Int64,
        kind LowCardinality(String),
        detail String,
        count UInt64,
        verified UInt64
    ) ENGINE = MergeTree
    PARTITION BY toYYYYMM(at)
    ORDER BY (credential, kind, detail, at)
    TTL at + INTERVAL 3 YEAR
    SETTINGS non_replicated_deduplication_window = 10000",
];
