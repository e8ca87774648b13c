//! The SQL statements of the registry, each defined once. Comments name the columns and the parameters.

macro_rules! select_application {
    () => {
        "SELECT id, name, environment, created_at FROM application WHERE removed_at IS NULL"
    };
}

/// Selects all applications, by name.
pub(super) const APPLICATIONS: &str = concat!(select_application!(), " ORDER BY name");

/// Selects an application. Parameter: `name`.
pub(super) const APPLICATION: &str = concat!(select_application!(), " AND name = ?");

/// Parameters: `name`, `environment`, `created_at`. Changes nothing if the name is taken.
pub(super) const ADD_APPLICATION: &str =
    "INSERT INTO application (name, environment, created_at) VALUES (?, ?, ?)
     ON CONFLICT DO NOTHING";

/// Parameters: `removed_at`, `name`. Changes nothing if a credential is not revoked.
pub(super) const REMOVE_APPLICATION: &str =
    "UPDATE application SET removed_at = ? WHERE name = ? AND removed_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM credential
                     WHERE application_id = application.id AND state <> 'revoked')";

// An outer join: a credential whose application is missing is reported as damaged, not hidden.
macro_rules! select_credential {
    () => {
        "SELECT c.id, c.publishable_key, c.thumbprint, c.hmac_secret, c.label, c.state, c.created_at, c.expires_at,
                c.revoked_at, c.scopes, c.restrictions, a.name, a.environment, a.created_at AS added_at
         FROM credential c LEFT JOIN application a ON a.id = c.application_id"
    };
}

/// Selects the credentials of an application, the oldest first. Parameter: its name, or `NULL` for all applications.
pub(super) const CREDENTIALS: &str = concat!(
    select_credential!(),
    " WHERE a.removed_at IS NULL AND (?1 IS NULL OR a.name = ?1) ORDER BY c.id"
);

/// Selects a credential. Parameter: `publishable_key`.
pub(super) const CREDENTIAL_OF_KEY: &str =
    concat!(select_credential!(), " WHERE c.publishable_key = ?");

/// Selects a credential. Parameter: `thumbprint`.
pub(super) const CREDENTIAL_OF_THUMBPRINT: &str =
    concat!(select_credential!(), " WHERE c.thumbprint = ?");

/// Parameters: `publishable_key`, `thumbprint`, `hmac_secret`, `label`, `state`, `created_at`, `expires_at`, `scopes`,
/// `restrictions`, and the application's `name`. Changes nothing if the key is known.
pub(super) const ADD_CREDENTIAL: &str =
    "INSERT INTO credential (application_id, publishable_key, thumbprint, hmac_secret, label, state,
                             created_at, expires_at, scopes, restrictions)
     SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM application WHERE name = ? AND removed_at IS NULL
     ON CONFLICT DO NOTHING";

/// Parameters: `scopes`, `restrictions`, `id`.
pub(super) const SET_RIGHTS: &str =
    "UPDATE credential SET scopes = ?, restrictions = ? WHERE id = ?";

/// Parameters: `revoked_at`, `id`. Changes nothing if the credential is revoked already.
pub(super) const REVOKE: &str = "UPDATE credential SET state = 'revoked', revoked_at = ?
     WHERE id = ? AND state <> 'revoked'";

/// Selects whether any credential has an HMAC secret.
pub(super) const HAS_SECRETS: &str =
    "SELECT EXISTS (SELECT 1 FROM credential WHERE hmac_secret IS NOT NULL)";

/// Parameter: `owner`. Returns the ceiling.
pub(super) const TAKE_CEILING_OVER: &str = "INSERT INTO replay_ceiling (id, owner) VALUES (1, ?)
     ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING seconds";

/// Parameters: `seconds`, `owner`. Changes nothing if there is another owner.
pub(super) const RAISE_CEILING: &str =
    "UPDATE replay_ceiling SET seconds = max(coalesce(seconds, 0), ?) WHERE owner = ?";
