-- A registry as it was before scopes and restrictions: what its file holds, to the checksum of its migration.
PRAGMA application_id = 1666410350;
PRAGMA journal_mode = WAL;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'applications and credentials','2026-11-25 04:41:54',1,X'267A5BC72B44273AAB1F50EF5C8B2295A9FFFC71A72517C12135BBC166216D7666B81F0DAF47EB98DC6370D88E7DC0C5',256160);
CREATE TABLE application (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;
INSERT INTO "application" VALUES(1,'shop','live',1795581714,NULL);
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
INSERT INTO "credential" VALUES(1,1,'pk_bSi9UqAUWQHfomMta4b4ryhh2BEdxUd7eEQtSsAqo2WLa2mMjT','s84oUcS1PDqFQe0vOccsMbL7lr1oDa8VwZ1mEUHOGPw',NULL,'laptop','active',1795581714,NULL,NULL);
CREATE TABLE replay_ceiling (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    owner INTEGER NOT NULL,
    seconds INTEGER
) STRICT;
INSERT INTO "replay_ceiling" VALUES(1,7,1795581720);
CREATE UNIQUE INDEX application_name ON application (name) WHERE removed_at IS NULL;
CREATE INDEX credential_application ON credential (application_id);
