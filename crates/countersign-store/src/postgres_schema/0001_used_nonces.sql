-- By time first: what is claimed together lies together, and what is forgotten is one end of the index.
CREATE TABLE countersign.used_nonce (
    created bigint NOT NULL,
    fingerprint bytea NOT NULL,
    PRIMARY KEY (created, fingerprint)
);

-- What was created before its last value may have been forgotten, and is refused. A sequence, since it is the one thing in
-- PostgreSQL that every transaction sees as it is now, whatever its isolation level and however old its snapshot. Until it
-- is set for the first time, nothing can be claimed.
CREATE SEQUENCE countersign.low_water_mark AS bigint MINVALUE 0 START 0;

-- Inserts first, which waits for whoever is claiming the same nonce or forgetting it, and only then looks at the mark. What
-- is not fresh is an exception: it aborts the transaction, so that nobody can commit what they did beside it.
CREATE FUNCTION countersign.claim(used_created bigint, used_fingerprint bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    claimed_by xid;
    mark bigint;
BEGIN
    INSERT INTO countersign.used_nonce (created, fingerprint)
    VALUES (used_created, used_fingerprint)
    ON CONFLICT DO NOTHING
    RETURNING xmin INTO claimed_by;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the nonce was used before' USING ERRCODE = 'NC001';
    END IF;
    -- A savepoint could be rolled back, with the claim or the refusal, and what is outside of it committed.
    IF claimed_by <> pg_current_xact_id()::xid THEN
        RAISE EXCEPTION 'nonces are not claimed after a savepoint';
    END IF;
    SELECT last_value INTO mark FROM countersign.low_water_mark WHERE is_called;
    IF mark IS NULL THEN
        RAISE EXCEPTION 'the low-water mark of the used nonces is not set';
    END IF;
    IF used_created < mark THEN
        RAISE EXCEPTION 'the request was signed before the low-water mark'
            USING ERRCODE = 'NC002', DETAIL = mark;
    END IF;
END
$$;

-- Raises the mark, and then deletes what is below it. It is raised only over what is there to be deleted: a clock that jumps
-- ahead and back refuses no more than it made us forget.
CREATE FUNCTION countersign.forget(oldest_live bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mark bigint;
    forgotten bigint;
BEGIN
    -- One at a time, or the lower of two marks could be written last.
    PERFORM pg_advisory_xact_lock('pg_class'::regclass::oid::int, 'countersign.low_water_mark'::regclass::oid::int);
    SELECT max(created) + 1 INTO mark FROM countersign.used_nonce WHERE created < oldest_live;
    IF mark IS NULL THEN
        RETURN 0;
    END IF;
    SELECT greatest(mark, last_value) INTO mark FROM countersign.low_water_mark WHERE is_called;
    IF mark IS NULL THEN
        RAISE EXCEPTION 'the low-water mark of the used nonces is not set';
    END IF;
    PERFORM setval('countersign.low_water_mark', mark);
    DELETE FROM countersign.used_nonce WHERE created < mark;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;
