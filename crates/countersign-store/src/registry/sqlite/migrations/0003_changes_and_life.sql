-- One row: the number of the last change, and the hash of its entry in the audit log. A change takes its number here, in its
-- own transaction, so that changes become visible in the order of their numbers.
CREATE TABLE last_change (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

INSERT INTO last_change (id, number, hash) VALUES (1, 0, zeroblob(32));

-- Who changed what. Entries are only ever added: their hashes are a chain.
CREATE TABLE audit_entry (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    application TEXT,
    -- The publishable key; if that is damaged, the thumbprint.
    key_id TEXT,
    -- What was changed, before and after, as JSON.
    before TEXT,
    after TEXT,
    hash BLOB NOT NULL
) STRICT;

CREATE TRIGGER audit_entry_update BEFORE UPDATE ON audit_entry
BEGIN
    SELECT RAISE(ABORT, 'entries are only added to the audit log');
END;

CREATE TRIGGER audit_entry_delete BEFORE DELETE ON audit_entry
BEGIN
    SELECT RAISE(ABORT, 'entries are only added to the audit log');
END;

ALTER TABLE application ADD COLUMN contact TEXT NOT NULL DEFAULT '';
ALTER TABLE application ADD COLUMN notes TEXT NOT NULL DEFAULT '';

-- An HMAC secret that is encrypted with a master key. `hmac_secret` holds what was registered without a master key.
ALTER TABLE credential ADD COLUMN sealed_secret BLOB;
-- Limits of its own, as JSON; without any, those of the server hold:
--     {"version": 1, "signed": [{"amount": 600, "window": 60, "burst": 50}], "unsigned": []}
-- A window is in seconds. Without quotas for one of the two, those of the server hold for it. A credential with anything
-- else in it is refused.
ALTER TABLE credential ADD COLUMN limits TEXT;
-- The credential that took over.
ALTER TABLE credential ADD COLUMN replaced_by INTEGER REFERENCES credential (id);
-- The first credential of those that took over from each other; NULL in the first one.
ALTER TABLE credential ADD COLUMN lineage INTEGER REFERENCES credential (id);
ALTER TABLE credential ADD COLUMN revocation_reason TEXT;

-- A page of an application's credentials is a range of this index.
DROP INDEX credential_application;
CREATE INDEX credential_application ON credential (application_id, id);

-- Which secrets are plain, and which master key sealed the others, is found without a walk through the table.
CREATE INDEX credential_plain_secret ON credential (id) WHERE hmac_secret IS NOT NULL;
CREATE INDEX credential_sealed_secret ON credential (substr(sealed_secret, 1, 8), id) WHERE sealed_secret IS NOT NULL;

-- Apart from `credential`, so that use never waits for a change, nor a change for use. Row 0 says since when uses are
-- recorded.
CREATE TABLE last_use (
    credential_id INTEGER PRIMARY KEY,
    seconds INTEGER NOT NULL
) STRICT;
