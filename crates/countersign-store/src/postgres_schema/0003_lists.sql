-- Each filter of a list of all credentials walks the range of an index, in the order of the list. SQLite has
-- the same indices, with the state in front in two of them: PostgreSQL takes no range behind a column that the condition of a partial index has settled.
CREATE INDEX credential_state ON countersign.credential (state, id);

-- In use, and not replaced yet: the oldest are due first.
CREATE INDEX credential_due ON countersign.credential (created_at, id) WHERE state = 'active' AND replaced_by IS NULL;

-- By expiry. Of the retiring apart: most of them expired long ago, and most others never retire.
CREATE INDEX credential_expiry ON countersign.credential (expires_at, id) WHERE state <> 'revoked';
CREATE INDEX credential_retiring ON countersign.credential (coalesce(expires_at, 9223372036854775807), id) WHERE state = 'retiring';
CREATE INDEX credential_never_expires ON countersign.credential (id) WHERE expires_at IS NULL;

CREATE INDEX credential_unrestricted ON countersign.credential (id)
WHERE restrictions IN ('{"version":1,"restrictions":[]}', '{"restrictions":[],"version":1}');

CREATE INDEX application_environment ON countersign.application (environment, name) WHERE removed_at IS NULL;
