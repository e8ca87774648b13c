-- Who calls what, from where and with what: the tables of SQLite's migration of the same name, in partitions by `at`. The primary
-- keys begin with the credential: a range of time is found by its partitions and, inside of one, by its blocks.

-- The batches that were saved, so that none counts twice.
CREATE TABLE countersign.usage_flush (
    server bigint NOT NULL,
    number bigint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (server, number)
);

-- `route` is '' for all that have no row of their own. `duration` is in microseconds; `latency_0` to `latency_12` are the calls
-- that took at most 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1, 2, 5 s, and longer.
CREATE TABLE countersign.usage_call_minute (
    at bigint NOT NULL,
    credential bigint NOT NULL,
    route text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    access text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    status bigint NOT NULL,
    calls bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    duration bigint NOT NULL,
    latency_0 bigint NOT NULL,
    latency_1 bigint NOT NULL,
    latency_2 bigint NOT NULL,
    latency_3 bigint NOT NULL,
    latency_4 bigint NOT NULL,
    latency_5 bigint NOT NULL,
    latency_6 bigint NOT NULL,
    latency_7 bigint NOT NULL,
    latency_8 bigint NOT NULL,
    latency_9 bigint NOT NULL,
    latency_10 bigint NOT NULL,
    latency_11 bigint NOT NULL,
    latency_12 bigint NOT NULL,
    PRIMARY KEY (credential, at, route, method, access, outcome, status)
) PARTITION BY RANGE (at);

CREATE INDEX ON countersign.usage_call_minute USING brin (at) WITH (pages_per_range = 32);

CREATE TABLE countersign.usage_call_hour (LIKE countersign.usage_call_minute INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE countersign.usage_call_day (LIKE countersign.usage_call_minute INCLUDING ALL) PARTITION BY RANGE (at);

-- `prefix` is '' for networks that have no row of their own, and where no address is known.
CREATE TABLE countersign.usage_place_hour (
    at bigint NOT NULL,
    credential bigint NOT NULL,
    access text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (credential, at, access, prefix)
) PARTITION BY RANGE (at);

CREATE INDEX ON countersign.usage_place_hour USING brin (at) WITH (pages_per_range = 32);

CREATE TABLE countersign.usage_place_day (LIKE countersign.usage_place_hour INCLUDING ALL) PARTITION BY RANGE (at);

-- Whether a credential was ever used from a network.
CREATE INDEX ON countersign.usage_place_day (credential, prefix) WHERE access = 'signed';

-- `product` is '' for products that have no row of their own, and where none is known.
CREATE TABLE countersign.usage_client_hour (
    at bigint NOT NULL,
    credential bigint NOT NULL,
    access text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    product text COLLATE "C" NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (credential, at, access, platform, product)
) PARTITION BY RANGE (at);

CREATE INDEX ON countersign.usage_client_hour USING brin (at) WITH (pages_per_range = 32);

CREATE TABLE countersign.usage_client_day (LIKE countersign.usage_client_hour INCLUDING ALL) PARTITION BY RANGE (at);

-- Whether a credential was ever used on a platform.
CREATE INDEX ON countersign.usage_client_day (credential, platform) WHERE access = 'signed';

-- What looks like a stolen or forgotten key. `detail` is '' for none, and for details that have no row of their own.
CREATE TABLE countersign.usage_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    count bigint NOT NULL,
    verified bigint NOT NULL,
    UNIQUE (credential, kind, detail)
);

CREATE INDEX usage_event_last ON countersign.usage_event (last, id);

-- Makes the partition of a table for a time, if it is missing: of a day for minutes, a month for hours, a year for days. It is
-- made apart and then attached, which lets others read and write meanwhile. A server calls it without the right to make tables:
-- it runs as the owner of the schema, for these tables alone.
CREATE FUNCTION countersign.make_usage_partition(parent text, moment bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unit text;
    first timestamp;
    name text;
BEGIN
    IF parent = 'usage_call_minute' THEN
        unit := 'day';
    ELSIF parent IN ('usage_call_hour', 'usage_place_hour', 'usage_client_hour') THEN
        unit := 'month';
    ELSIF parent IN ('usage_call_day', 'usage_place_day', 'usage_client_day') THEN
        unit := 'year';
    ELSE
        RAISE EXCEPTION 'there is no such table of usage';
    END IF;
    first := date_trunc(unit, to_timestamp(moment) AT TIME ZONE 'UTC');
    name := parent || '_' || to_char(first, CASE unit WHEN 'day' THEN 'YYYY_MM_DD' WHEN 'month' THEN 'YYYY_MM' ELSE 'YYYY' END);
    IF to_regclass('countersign.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One at a time: the others then find it made. They look at the rows, for a name that was not found is remembered.
    PERFORM pg_advisory_xact_lock('pg_class'::regclass::oid::int, 'countersign.usage_flush'::regclass::oid::int);
    IF EXISTS (SELECT 1 FROM pg_class c WHERE c.relname = name AND c.relnamespace = 'countersign'::regnamespace) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE countersign.%I (LIKE countersign.%I INCLUDING ALL)', name, parent);
    EXECUTE format('ALTER TABLE countersign.%I ATTACH PARTITION countersign.%I FOR VALUES FROM (%s) TO (%s)', parent, name,
        extract(epoch FROM first AT TIME ZONE 'UTC')::bigint,
        extract(epoch FROM (first + ('1 ' || unit)::interval) AT TIME ZONE 'UTC')::bigint);
    RETURN true;
END
$$;

-- Drops the partitions of a table that end before a time, and returns how many there were.
CREATE FUNCTION countersign.drop_usage_partitions(parent text, before bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
    dropped bigint := 0;
BEGIN
    IF parent NOT IN ('usage_call_minute', 'usage_call_hour', 'usage_call_day', 'usage_place_hour', 'usage_place_day',
                      'usage_client_hour', 'usage_client_day') THEN
        RAISE EXCEPTION 'there is no such table of usage';
    END IF;
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ('countersign.' || quote_ident(parent))::regclass
        AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''?(-?\d+)')::bigint <= before
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS countersign.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- Those who may use them are named by the owner.
REVOKE EXECUTE ON FUNCTION countersign.make_usage_partition(text, bigint), countersign.drop_usage_partitions(text, bigint) FROM PUBLIC;
