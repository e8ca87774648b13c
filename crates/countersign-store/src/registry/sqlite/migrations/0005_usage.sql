-- Who calls what, from where and with what: counts by minute, hour and day. A batch is added to all three in one transaction.
-- `at` is the first second of the minute, hour or day; `credential` is 0 where none is known, and refers to no row of
-- `credential`, so that counting never waits for a change. Numbers alone are updated, so what changes most lies together at the
-- end of the primary key.

-- The batches that were saved, so that none counts twice.
CREATE TABLE usage_flush (
    server INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (server, number)
) STRICT, WITHOUT ROWID;

-- `route` is '' for all that have no row of their own. `duration` is in microseconds; `latency_0` to `latency_12` are the calls
-- that took at most 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1, 2, 5 s, and longer.
CREATE TABLE usage_call_minute (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    route TEXT NOT NULL,
    method TEXT NOT NULL,
    access TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    latency_0 INTEGER NOT NULL,
    latency_1 INTEGER NOT NULL,
    latency_2 INTEGER NOT NULL,
    latency_3 INTEGER NOT NULL,
    latency_4 INTEGER NOT NULL,
    latency_5 INTEGER NOT NULL,
    latency_6 INTEGER NOT NULL,
    latency_7 INTEGER NOT NULL,
    latency_8 INTEGER NOT NULL,
    latency_9 INTEGER NOT NULL,
    latency_10 INTEGER NOT NULL,
    latency_11 INTEGER NOT NULL,
    latency_12 INTEGER NOT NULL,
    PRIMARY KEY (at, credential, route, method, access, outcome, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_call_hour (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    route TEXT NOT NULL,
    method TEXT NOT NULL,
    access TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    latency_0 INTEGER NOT NULL,
    latency_1 INTEGER NOT NULL,
    latency_2 INTEGER NOT NULL,
    latency_3 INTEGER NOT NULL,
    latency_4 INTEGER NOT NULL,
    latency_5 INTEGER NOT NULL,
    latency_6 INTEGER NOT NULL,
    latency_7 INTEGER NOT NULL,
    latency_8 INTEGER NOT NULL,
    latency_9 INTEGER NOT NULL,
    latency_10 INTEGER NOT NULL,
    latency_11 INTEGER NOT NULL,
    latency_12 INTEGER NOT NULL,
    PRIMARY KEY (at, credential, route, method, access, outcome, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_call_day (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    route TEXT NOT NULL,
    method TEXT NOT NULL,
    access TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    latency_0 INTEGER NOT NULL,
    latency_1 INTEGER NOT NULL,
    latency_2 INTEGER NOT NULL,
    latency_3 INTEGER NOT NULL,
    latency_4 INTEGER NOT NULL,
    latency_5 INTEGER NOT NULL,
    latency_6 INTEGER NOT NULL,
    latency_7 INTEGER NOT NULL,
    latency_8 INTEGER NOT NULL,
    latency_9 INTEGER NOT NULL,
    latency_10 INTEGER NOT NULL,
    latency_11 INTEGER NOT NULL,
    latency_12 INTEGER NOT NULL,
    PRIMARY KEY (at, credential, route, method, access, outcome, status)
) STRICT, WITHOUT ROWID;

-- `prefix` is '' for networks that have no row of their own, and where no address is known.
CREATE TABLE usage_place_hour (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    access TEXT NOT NULL,
    prefix TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (at, credential, access, prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_place_day (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    access TEXT NOT NULL,
    prefix TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (at, credential, access, prefix)
) STRICT, WITHOUT ROWID;

-- Whether a credential was ever used from a network.
CREATE INDEX usage_place_day_prefix ON usage_place_day (credential, prefix) WHERE access = 'signed';

-- `product` is '' for products that have no row of their own, and where none is known.
CREATE TABLE usage_client_hour (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    access TEXT NOT NULL,
    platform TEXT NOT NULL,
    product TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (at, credential, access, platform, product)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_client_day (
    at INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    access TEXT NOT NULL,
    platform TEXT NOT NULL,
    product TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (at, credential, access, platform, product)
) STRICT, WITHOUT ROWID;

-- Whether a credential was ever used on a platform.
CREATE INDEX usage_client_day_platform ON usage_client_day (credential, platform) WHERE access = 'signed';

-- What looks like a stolen or forgotten key. `detail` is '' for none, and for details that have no row of their own.
CREATE TABLE usage_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    credential INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    UNIQUE (credential, kind, detail)
) STRICT;

CREATE INDEX usage_event_last ON usage_event (last, id);
