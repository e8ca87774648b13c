//! The SQL statements of the registry, each defined once, in the SQL that both databases understand. Comments name the columns
//! and the parameters.

macro_rules! select_application {
    () => {
        "SELECT id, name, environment, created_at, contact, notes FROM countersign.application
         WHERE removed_at IS NULL"
    };
}

/// Selects an application. Parameter: `name`.
pub(super) const APPLICATION: &str = concat!(select_application!(), " AND name = $1");

/// Parameters: `name`, `environment`, `created_at`, `contact`, `notes`. Changes nothing if the name is taken.
pub(super) const ADD_APPLICATION: &str =
    "INSERT INTO countersign.application (name, environment, created_at, contact, notes)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// Parameters: `environment`, `contact`, `notes`, `name`.
pub(super) const SET_APPLICATION: &str =
    "UPDATE countersign.application SET environment = $1, contact = $2, notes = $3
     WHERE name = $4 AND removed_at IS NULL";

/// Parameters: `removed_at`, `name`. Changes nothing if a credential is not revoked.
pub(super) const REMOVE_APPLICATION: &str = "UPDATE countersign.application SET removed_at = $1
     WHERE name = $2 AND removed_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM countersign.credential
                     WHERE application_id = application.id AND state <> 'revoked')";

// Outer joins: a credential whose application is missing is reported as damaged, not hidden.
macro_rules! select_credential {
    () => {
        "SELECT c.id, c.publishable_key, c.thumbprint, c.hmac_secret, c.sealed_secret, c.label, c.state, c.created_at,
                c.expires_at, c.revoked_at, c.revocation_reason, c.scopes, c.restrictions, c.limits, c.lineage,
                a.name, a.environment, a.created_at AS added_at, a.contact, a.notes,
                r.publishable_key AS replaced_by, u.seconds AS last_used_at
         FROM countersign.credential c
         LEFT JOIN countersign.application a ON a.id = c.application_id
         LEFT JOIN countersign.credential r ON r.id = c.replaced_by
         LEFT JOIN countersign.last_use u ON u.credential_id = c.id"
    };
}

/// Selects credentials. Conditions follow.
pub(super) const PAGE_OF_CREDENTIALS: &str = concat!(select_credential!(), " WHERE TRUE");

// Conditions of a page. Values are ?1, ?2 in each. Constants are written out where a partial index has them: a database uses such
// an index only if it sees the same condition in the statement.

/// Value: the name of the application.
pub(super) const OF_APPLICATION: &str = "c.application_id =
     (SELECT id FROM countersign.application WHERE name = ?1 AND removed_at IS NULL)";
pub(super) const OF_NO_REMOVED_APPLICATION: &str = "a.removed_at IS NULL";
pub(super) const ACTIVE: &str = "c.state = 'active'";
pub(super) const RETIRING: &str = "c.state = 'retiring'";
pub(super) const QUARANTINED: &str = "c.state = 'quarantined'";
pub(super) const REVOKED: &str = "c.state = 'revoked'";
/// Value: the time.
pub(super) const EXPIRED: &str = "c.state <> 'revoked' AND c.expires_at <= ?1";
/// Value: the time.
pub(super) const NOT_EXPIRED: &str = "(c.expires_at IS NULL OR c.expires_at > ?1)";
/// Value: the pattern. The names of applications are searched once, and not for each credential.
pub(super) const SEARCHED: &str = "(lower(c.label) LIKE ?1 ESCAPE '\\' OR c.application_id IN
     (SELECT s.id FROM countersign.application s WHERE lower(s.name) LIKE ?1 ESCAPE '\\'))";
pub(super) const NEVER_EXPIRES: &str = "c.expires_at IS NULL";
/// In the order of the migration, and in that of this program.
pub(super) const UNRESTRICTED: &str = r#"c.restrictions IN ('{"version":1,"restrictions":[]}',
                                                            '{"restrictions":[],"version":1}')"#;
/// Value: the time.
pub(super) const UNUSED_SINCE: &str = "c.state <> 'revoked' AND COALESCE(u.seconds, c.created_at) <= ?1
     AND c.created_at <= ?1
     AND EXISTS (SELECT 1 FROM countersign.last_use s WHERE s.credential_id = 0 AND s.seconds <= ?1)";
/// Values: the time since which it is due, and the time.
pub(super) const DUE_SINCE: &str =
    "c.state = 'active' AND c.created_at <= ?1 AND c.replaced_by IS NULL
     AND (c.expires_at IS NULL OR c.expires_at > ?2)";
/// Values: the time, and the time until which it expires.
pub(super) const EXPIRING_UNTIL: &str =
    "c.state <> 'revoked' AND c.expires_at > ?1 AND c.expires_at <= ?2";
/// Value: the number of the credential before.
pub(super) const AFTER_NUMBER: &str = "c.id > ?1";
/// Value: the last number.
pub(super) const UP_TO_NUMBER: &str = "c.id <= ?1";
pub(super) const IN_ORDER_OF_NUMBER: &str = "ORDER BY c.id";
/// Values: the time and the number of the credential before.
pub(super) const AFTER_CREATION: &str = "(c.created_at, c.id) > (?1, ?2)";
pub(super) const IN_ORDER_OF_CREATION: &str = "ORDER BY c.created_at, c.id";
/// Values: the time and the number of the credential before.
pub(super) const AFTER_EXPIRY: &str = "(c.expires_at, c.id) > (?1, ?2)";
pub(super) const IN_ORDER_OF_EXPIRY: &str = "ORDER BY c.expires_at, c.id";
/// Values: the time and the number of the credential before. The first part is a range of the index.
pub(super) const AFTER_END: &str = "coalesce(c.expires_at, 9223372036854775807) >= ?1
     AND (coalesce(c.expires_at, 9223372036854775807) > ?1 OR c.id > ?2)";
pub(super) const IN_ORDER_OF_END: &str =
    "ORDER BY coalesce(c.expires_at, 9223372036854775807), c.id";

/// Selects the number of the first credential after a number. Parameter: that number.
pub(super) const NEXT_CREDENTIAL: &str =
    "SELECT min(id) AS id FROM countersign.credential WHERE id > $1";

/// Counts the credentials of applications that are not removed.
pub(super) const COUNT_CREDENTIALS: &str = "SELECT COUNT(*) AS count FROM countersign.credential c
     LEFT JOIN countersign.application a ON a.id = c.application_id WHERE a.removed_at IS NULL";

/// Selects applications. Conditions follow.
pub(super) const PAGE_OF_APPLICATIONS: &str = select_application!();
/// Value: the environment.
pub(super) const IN_ENVIRONMENT: &str = "environment = ?1";
/// Value: the pattern.
pub(super) const SEARCHED_APPLICATION: &str = "(lower(name) LIKE ?1 ESCAPE '\\'
     OR lower(contact) LIKE ?1 ESCAPE '\\' OR lower(notes) LIKE ?1 ESCAPE '\\')";
/// Value: the number of the application before. Its name stays with it, also if it is removed.
pub(super) const AFTER_APPLICATION: &str =
    "name > (SELECT before.name FROM countersign.application before WHERE before.id = ?1)";
pub(super) const IN_ORDER_OF_NAME: &str = "ORDER BY name";

/// Selects a credential. Parameter: `publishable_key`.
pub(super) const CREDENTIAL_OF_KEY: &str =
    concat!(select_credential!(), " WHERE c.publishable_key = $1");

/// Selects a credential. Parameter: `thumbprint`.
pub(super) const CREDENTIAL_OF_THUMBPRINT: &str =
    concat!(select_credential!(), " WHERE c.thumbprint = $1");

/// Parameters: `publishable_key`, `thumbprint`, `hmac_secret`, `label`, `state`, `created_at`, `expires_at`, `scopes`,
/// `restrictions`, `limits`, `lineage`, and the application's `name`. Changes nothing if the key is known.
pub(super) const ADD_CREDENTIAL: &str =
    "INSERT INTO countersign.credential (application_id, publishable_key, thumbprint, hmac_secret, label, state,
                                         created_at, expires_at, scopes, restrictions, limits, lineage)
     SELECT id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM countersign.application
     WHERE name = $12 AND removed_at IS NULL
     ON CONFLICT DO NOTHING";

/// Parameters: `label`, `expires_at`, `scopes`, `restrictions`, `limits`, `id`.
pub(super) const SET_CREDENTIAL: &str = "UPDATE countersign.credential
     SET label = $1, expires_at = $2, scopes = $3, restrictions = $4, limits = $5 WHERE id = $6";

/// Parameters: `state`, `id`.
pub(super) const SET_STATE: &str = "UPDATE countersign.credential SET state = $1 WHERE id = $2";

/// Parameters: `revoked_at`, `revocation_reason`, `id`. Changes nothing if the credential is revoked already.
pub(super) const REVOKE: &str = "UPDATE countersign.credential
     SET state = 'revoked', revoked_at = $1, revocation_reason = $2
     WHERE id = $3 AND state <> 'revoked'";

/// Parameters: `state`, `expires_at`, `replaced_by`, `id`.
pub(super) const RETIRE: &str =
    "UPDATE countersign.credential SET state = $1, expires_at = $2, replaced_by = $3 WHERE id = $4";

/// Parameters: `state`, `revoked_at`, `revocation_reason`, `replaced_by`, `id`.
pub(super) const RETIRE_AT_ONCE: &str = "UPDATE countersign.credential
     SET state = $1, revoked_at = $2, revocation_reason = $3, replaced_by = $4 WHERE id = $5";

/// Saves uses: `VALUES`, and then rows of `credential_id` and `seconds`. Touches no row of a credential.
pub(super) const SAVE_LAST_USES_HEAD: &str =
    "INSERT INTO countersign.last_use (credential_id, seconds) VALUES ";

/// The end of that statement: a later use is never lowered, nor is the start of the records, which is in row 0.
pub(super) const SAVE_LAST_USES_TAIL: &str =
    " ON CONFLICT (credential_id) DO UPDATE SET seconds = excluded.seconds
     WHERE excluded.credential_id <> 0 AND excluded.seconds > last_use.seconds";

/// Selects whether any credential has an HMAC secret that is not encrypted.
pub(super) const HAS_SECRETS: &str = "SELECT EXISTS (SELECT 1 FROM countersign.credential
                                                     WHERE hmac_secret IS NOT NULL) AS has_secrets";

/// Parameter: `owner`. Returns the ceiling.
pub(super) const TAKE_CEILING_OVER: &str =
    "INSERT INTO countersign.replay_ceiling (id, owner) VALUES (1, $1)
     ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING seconds";

/// Parameters: `seconds`, `owner`. Changes and returns nothing if there is another owner.
pub(super) const RAISE_CEILING: &str = "UPDATE countersign.replay_ceiling
     SET seconds = CASE WHEN seconds > $1 THEN seconds ELSE $1 END WHERE owner = $2 RETURNING seconds";

/// Locks the row of the last change, and returns its `number` and `hash`.
pub(super) const LOCK_LAST_CHANGE: &str =
    "UPDATE countersign.last_change SET number = number WHERE id = 1 RETURNING number, hash";

/// Parameters: `number`, `hash`.
pub(super) const SET_LAST_CHANGE: &str =
    "UPDATE countersign.last_change SET number = $1, hash = $2 WHERE id = 1";

/// Parameters: the columns, in the order of the table.
pub(super) const ADD_AUDIT_ENTRY: &str =
    "INSERT INTO countersign.audit_entry (number, at, actor, action, application, key_id, before, after, hash)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Selects entries after a number, the oldest first. Parameters: the number, and how many entries at most.
pub(super) const AUDIT_ENTRIES: &str =
    "SELECT number, at, actor, action, application, key_id, before, after, hash
     FROM countersign.audit_entry WHERE number > $1 ORDER BY number LIMIT $2";

/// Selects the `number` and `hash` of the last change.
pub(super) const LAST_CHANGE: &str =
    "SELECT number, hash FROM countersign.last_change WHERE id = 1";

/// Selects what changes after a number concern, the oldest first. Parameters: the number, and how many changes at most.
pub(super) const CHANGES: &str =
    "SELECT number, application, key_id, hash FROM countersign.audit_entry
                                  WHERE number > $1 ORDER BY number LIMIT $2";

/// Parameters: `sealed_secret`, `id`.
pub(super) const SEAL_SECRET: &str =
    "UPDATE countersign.credential SET hmac_secret = NULL, sealed_secret = $1 WHERE id = $2";

/// Selects credentials with plain secrets, the oldest first. Parameters: the number of the last credential before them, and how
/// many at most.
pub(super) const PLAIN_SECRETS: &str =
    "SELECT c.id, c.publishable_key, c.hmac_secret, c.sealed_secret, a.name
     FROM countersign.credential c LEFT JOIN countersign.application a ON a.id = c.application_id
     WHERE c.hmac_secret IS NOT NULL AND c.id > $1 ORDER BY c.id LIMIT $2";

/// Selects credentials with secrets that a master key sealed, the oldest first. Parameters: its id, the number of the last
/// credential before them, and how many at most.
pub(super) const SEALED_SECRETS: &str =
    "SELECT c.id, c.publishable_key, c.hmac_secret, c.sealed_secret, a.name
     FROM countersign.credential c LEFT JOIN countersign.application a ON a.id = c.application_id
     WHERE c.sealed_secret IS NOT NULL AND substr(c.sealed_secret, 1, 8) = $1 AND c.id > $2
     ORDER BY c.id LIMIT $3";

/// Counts the plain secrets.
pub(super) const COUNT_PLAIN_SECRETS: &str =
    "SELECT COUNT(*) AS count FROM countersign.credential WHERE hmac_secret IS NOT NULL";

/// Counts the sealed secrets, by the id of their master key.
pub(super) const COUNT_SEALED_SECRETS: &str =
    "SELECT substr(sealed_secret, 1, 8) AS master_key, COUNT(*) AS count FROM countersign.credential
     WHERE sealed_secret IS NOT NULL GROUP BY substr(sealed_secret, 1, 8) ORDER BY 1";

/// Selects the id of a master key that sealed a secret: the first one after another id. Parameter: that id.
pub(super) const NEXT_MASTER_KEY: &str =
    "SELECT substr(sealed_secret, 1, 8) AS master_key FROM countersign.credential
     WHERE sealed_secret IS NOT NULL AND substr(sealed_secret, 1, 8) > $1
     ORDER BY substr(sealed_secret, 1, 8) LIMIT 1";

/// Selects the latest entries, the latest first. Parameters: a number behind them, the application, both names of the key, the
/// actor, the action, the times from which and before which they were made, each of them or `NULL`; and how many entries at most.
pub(super) const LATEST_AUDIT_ENTRIES: &str =
    "SELECT number, at, actor, action, application, key_id, before, after, hash FROM countersign.audit_entry
     WHERE (number < $1 OR $1 IS NULL) AND (application = $2 OR $2 IS NULL) AND (key_id IN ($3, $4) OR $3 IS NULL)
     AND (actor = $5 OR $5 IS NULL) AND (action = $6 OR $6 IS NULL) AND (at >= $7 OR $7 IS NULL)
     AND (at < $8 OR $8 IS NULL) ORDER BY number DESC LIMIT $9";

/// Selects entries, the oldest first. Parameters: the first and the last number, and how many entries at most.
pub(super) const AUDIT_RANGE: &str =
    "SELECT number, at, actor, action, application, key_id, before, after, hash
     FROM countersign.audit_entry WHERE number >= $1 AND number <= $2 ORDER BY number LIMIT $3";

/// Selects the `number` and `hash` that are recorded of the last change, and the number of the `last` entry: each as it was at the
/// same moment, or `NULL`.
pub(super) const AUDIT_BOUNDS: &str =
    "SELECT (SELECT number FROM countersign.last_change WHERE id = 1) AS number,
            (SELECT hash FROM countersign.last_change WHERE id = 1) AS hash,
            (SELECT max(number) FROM countersign.audit_entry) AS last";

/// Selects applications, for a text. Parameters: the number of the application before them, and how many at most.
#[cfg(feature = "registry-text")]
pub(super) const TEXT_APPLICATIONS: &str =
    "SELECT id, name, environment, contact, notes, created_at FROM countersign.application
     WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT $2";

#[cfg(feature = "registry-text")]
macro_rules! select_text_credential {
    () => {
        "SELECT c.id, c.publishable_key, c.label, c.state, c.created_at, c.expires_at, c.revoked_at, c.revocation_reason, c.scopes,
                c.restrictions, c.limits, r.publishable_key AS replaced_by, a.name, a.removed_at
         FROM countersign.credential c
         LEFT JOIN countersign.application a ON a.id = c.application_id
         LEFT JOIN countersign.credential r ON r.id = c.replaced_by"
    };
}

/// Selects credentials, also of removed applications, for a text. Parameters: the number of the credential before them, and how
/// many at most.
#[cfg(feature = "registry-text")]
pub(super) const TEXT_CREDENTIALS: &str =
    concat!(select_text_credential!(), " WHERE c.id > $1 ORDER BY c.id LIMIT $2");

/// Selects a credential, for a text. Parameter: `publishable_key`.
#[cfg(feature = "registry-text")]
pub(super) const TEXT_CREDENTIAL: &str =
    concat!(select_text_credential!(), " WHERE c.publishable_key = $1");

/// Parameters: `name`, `environment`, `contact`, `notes`, `created_at`. Changes nothing if the name is taken.
#[cfg(feature = "registry-text")]
pub(super) const ADD_TEXT_APPLICATION: &str =
    "INSERT INTO countersign.application (name, environment, contact, notes, created_at) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT DO NOTHING";

/// Parameters: `publishable_key`, `thumbprint`, `label`, `state`, `created_at`, `expires_at`, `revoked_at`, `revocation_reason`,
/// `scopes`, `restrictions`, `limits`, and the application's `name`. Changes nothing if the key is known.
#[cfg(feature = "registry-text")]
pub(super) const ADD_TEXT_CREDENTIAL: &str =
    "INSERT INTO countersign.credential (application_id, publishable_key, thumbprint, label, state, created_at, expires_at,
                                         revoked_at, revocation_reason, scopes, restrictions, limits)
     SELECT id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM countersign.application
     WHERE name = $12 AND removed_at IS NULL
     ON CONFLICT DO NOTHING";

/// Lets a credential be replaced by another. Parameters: the publishable keys of the other and of the credential.
#[cfg(feature = "registry-text")]
pub(super) const SET_REPLACED_BY: &str = "UPDATE countersign.credential
     SET replaced_by = (SELECT r.id FROM countersign.credential r WHERE r.publishable_key = $1)
     WHERE publishable_key = $2";

/// Gives a credential the lineage of the credential that it replaced. Parameters: the publishable keys of the new and of the
/// replaced credential.
#[cfg(feature = "registry-text")]
pub(super) const SET_LINEAGE: &str = "UPDATE countersign.credential
     SET lineage = (SELECT coalesce(o.lineage, o.id) FROM countersign.credential o WHERE o.publishable_key = $2)
     WHERE publishable_key = $1";

/// Parameters: the new `state`, `id`, and the state before.
#[cfg(feature = "registry-text")]
pub(super) const SET_STATE_FROM: &str =
    "UPDATE countersign.credential SET state = $1 WHERE id = $2 AND state = $3";

/// Parameters: `revoked_at`, `revocation_reason`, `id`. Changes nothing if the credential is revoked already.
#[cfg(feature = "registry-text")]
pub(super) const REVOKE_BY_TEXT: &str =
    "UPDATE countersign.credential SET state = 'revoked', revoked_at = $1, revocation_reason = $2
     WHERE id = $3 AND state <> 'revoked'";
