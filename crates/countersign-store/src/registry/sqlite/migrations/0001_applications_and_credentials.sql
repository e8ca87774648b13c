CREATE TABLE application (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;

-- A removed application gives its name free, and keeps its row: its keys stay known as used.
CREATE UNIQUE INDEX application_name ON application (name) WHERE removed_at IS NULL;

CREATE TABLE credential (
    -- AUTOINCREMENT: what was remembered of a credential is never taken for another's.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    application_id INTEGER NOT NULL REFERENCES application (id),
    publishable_key TEXT NOT NULL UNIQUE,
    thumbprint TEXT UNIQUE,
    hmac_secret BLOB,
    label TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'quarantined', 'revoked')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE INDEX credential_application ON credential (application_id);

-- No signature with a later `created` was ever accepted by a guard that keeps its nonces in memory.
-- Only its owner raises it: the guard that started last. Before anything was accepted there is an owner alone.
CREATE TABLE replay_ceiling (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    owner INTEGER NOT NULL,
    seconds INTEGER
) STRICT;
