-- The registry, as in SQLite: the same tables, columns and names. The collation "C" makes texts compare alike in both.
CREATE TABLE countersign.application (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    environment text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    removed_at bigint,
    contact text COLLATE "C" NOT NULL DEFAULT '',
    notes text COLLATE "C" NOT NULL DEFAULT ''
);

-- A removed application gives its name free, and keeps its row: its keys stay known as used.
CREATE UNIQUE INDEX application_name ON countersign.application (name) WHERE removed_at IS NULL;

CREATE TABLE countersign.credential (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id bigint NOT NULL REFERENCES countersign.application (id),
    publishable_key text COLLATE "C" NOT NULL UNIQUE,
    thumbprint text COLLATE "C" UNIQUE,
    -- Unencrypted, if it was registered without a master key.
    hmac_secret bytea,
    label text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'retiring', 'quarantined', 'revoked')),
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    -- The scopes, with a space between two of them.
    scopes text COLLATE "C" NOT NULL DEFAULT '',
    -- Where it may be used from, as JSON; see the migration of SQLite with this column.
    restrictions text COLLATE "C" NOT NULL DEFAULT '{"version":1,"restrictions":[]}',
    -- An HMAC secret that is encrypted with a master key.
    sealed_secret bytea,
    -- Limits of its own, as JSON; without any, those of the server hold. See the migration of SQLite with this column.
    limits text COLLATE "C",
    -- The credential that took over.
    replaced_by bigint REFERENCES countersign.credential (id),
    -- The first credential of those that took over from each other; NULL in the first one.
    lineage bigint REFERENCES countersign.credential (id),
    revocation_reason text COLLATE "C"
);

-- A page of an application's credentials is a range of this index.
CREATE INDEX credential_application ON countersign.credential (application_id, id);

-- Which secrets are plain, and which master key sealed the others, is found without a walk through the table.
CREATE INDEX credential_plain_secret ON countersign.credential (id) WHERE hmac_secret IS NOT NULL;
CREATE INDEX credential_sealed_secret ON countersign.credential (substr(sealed_secret, 1, 8), id) WHERE sealed_secret IS NOT NULL;

-- Apart from `credential`, so that use never waits for a change, nor a change for use. Row 0 says since when uses are
-- recorded.
CREATE TABLE countersign.last_use (
    credential_id bigint PRIMARY KEY,
    seconds bigint NOT NULL
);

-- No signature with a later `created` was ever accepted by a guard that keeps its nonces in memory. Only its owner raises it:
-- the guard that started last. Before anything was accepted there is an owner alone.
CREATE TABLE countersign.replay_ceiling (
    id bigint PRIMARY KEY CHECK (id = 1),
    owner bigint NOT NULL,
    seconds bigint
);

-- One row: the number of the last change, and the hash of its entry in the audit log. A change locks it before anything else,
-- so that changes become visible in the order of their numbers.
CREATE TABLE countersign.last_change (
    id bigint PRIMARY KEY CHECK (id = 1),
    number bigint NOT NULL,
    hash bytea NOT NULL
);

INSERT INTO countersign.last_change (id, number, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- Who changed what. Entries are only ever added: their hashes are a chain.
CREATE TABLE countersign.audit_entry (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    application text COLLATE "C",
    -- The publishable key; if that is damaged, the thumbprint.
    key_id text COLLATE "C",
    -- What was changed, before and after, as JSON.
    before text COLLATE "C",
    after text COLLATE "C",
    hash bytea NOT NULL
);

CREATE FUNCTION countersign.refuse_edit_of_audit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'entries are only added to the audit log';
END
$$;

CREATE TRIGGER audit_entry_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON countersign.audit_entry
FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_edit_of_audit();
