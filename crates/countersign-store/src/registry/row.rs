use std::{error::Error, sync::Arc};

use countersign::{KeyId, PublishableKey, Timestamp, VerifyingKey};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    error::{BadName, RegistryError},
    stored_restrictions,
};
use crate::credential::{Application, Credential, CredentialId, UnknownState, scope::BadScope};

/// The columns of a [`CredentialRow`].
macro_rules! select_credential {
    () => {
        "SELECT c.id, c.publishable_key, c.hmac_secret, c.label, c.state, c.created_at,
                c.expires_at, c.revoked_at, c.scopes, c.restrictions, c.thumbprint, a.name, a.environment, a.created_at AS added_at
         FROM credential c LEFT JOIN application a ON a.id = c.application_id"
    };
}
pub(super) use select_credential;

/// The same of the row that a statement has just written, so that nothing has to be read back.
macro_rules! returning_credential {
    () => {
        " RETURNING id, publishable_key, hmac_secret, label, state, created_at, expires_at, revoked_at,
                    scopes, restrictions, thumbprint,
                    (SELECT a.name FROM application a WHERE a.id = application_id) AS name,
                    (SELECT a.environment FROM application a WHERE a.id = application_id)
                        AS environment,
                    (SELECT a.created_at FROM application a WHERE a.id = application_id)
                        AS added_at"
    };
}
pub(super) use returning_credential;

impl Application {
    /// What a row with the columns `id`, `name`, `environment` and `created_at` says.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        Self::read_columns(row, "created_at").map_err(|source| RegistryError::DamagedApplication {
            id: row.try_get("id").unwrap_or_default(),
            source,
        })
    }

    /// The application of a credential: `name`, `environment` and `added_at`.
    pub(super) fn read_of_credential(row: &SqliteRow) -> Result<Self, BoxError> {
        Self::read_columns(row, "added_at")
    }

    fn read_columns(row: &SqliteRow, created_at: &str) -> Result<Self, BoxError> {
        let (name, environment): (String, String) =
            (row.try_get("name")?, row.try_get("environment")?);
        Self::check(&name, &environment)?;
        Ok(Self { name, environment, created_at: time(row.try_get(created_at)?)? })
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// A row of [`select_credential`] or [`returning_credential`].
struct CredentialRow {
    id: i64,
    publishable_key: String,
    hmac_secret: Option<Vec<u8>>,
    label: String,
    state: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    scopes: String,
    restrictions: String,
    thumbprint: Option<String>,
}

impl Credential {
    /// What a row of [`select_credential`] or [`returning_credential`] says.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let damaged = |what| {
            move |error| RegistryError::DamagedRow {
                id: row.try_get("id").unwrap_or_default(),
                what,
                source: Some(error),
            }
        };
        let columns = CredentialRow::read(row).map_err(damaged("one of its columns"))?;
        let application =
            Application::read_of_credential(row).map_err(damaged("its application"))?;
        columns.into_credential(application)
    }
}

impl CredentialRow {
    fn read(row: &SqliteRow) -> Result<Self, BoxError> {
        let optional_time = |column| row.try_get::<Option<i64>, _>(column)?.map(time).transpose();
        Ok(Self {
            id: row.try_get("id")?,
            publishable_key: row.try_get("publishable_key")?,
            hmac_secret: row.try_get("hmac_secret")?,
            label: row.try_get("label")?,
            state: row.try_get("state")?,
            created_at: time(row.try_get("created_at")?)?,
            expires_at: optional_time("expires_at")?,
            revoked_at: optional_time("revoked_at")?,
            scopes: row.try_get("scopes")?,
            restrictions: row.try_get("restrictions")?,
            thumbprint: row.try_get("thumbprint")?,
        })
    }

    fn into_credential(mut self, application: Application) -> Result<Credential, RegistryError> {
        let id = self.id;
        let secret = self.hmac_secret.take().map(zeroize::Zeroizing::new);
        let key = self.publishable_key.parse().and_then(|publishable: PublishableKey| {
            match (&secret, publishable.as_bytes().try_into()) {
                (Some(secret), Ok(id)) => VerifyingKey::hmac_sha256(id, secret),
                _ => publishable.to_verifying_key(),
            }
        });
        let damaged = |what, source| RegistryError::DamagedRow { id, what, source };
        let key = key.map_err(|error| damaged("its key", Some(error.into())))?;
        if self.thumbprint != thumbprint(&key) {
            let other = "its thumbprint is another key's";
            return Err(damaged("its key", Some(other.into())));
        }
        check_label(&self.label).map_err(|error| damaged("its label", Some(error.into())))?;
        Ok(Credential {
            id: CredentialId::new(id),
            application: Arc::new(application),
            label: self.label,
            state: self.state.parse().map_err(|_: UnknownState| damaged("its state", None))?,
            key,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            scopes: self.scopes.parse().map_err(|_: BadScope| damaged("its scopes", None))?,
            restrictions: stored_restrictions::read(&self.restrictions)
                .map_err(|error| damaged("its restrictions", Some(error)))?,
        })
    }
}

/// A time as a column holds it.
pub(super) fn seconds(time: Timestamp) -> i64 {
    // A timestamp has at most 15 digits, which always fit.
    i64::try_from(time.unix()).unwrap_or(i64::MAX)
}

/// A time before 1970 is damage: no other value is read in its place.
fn time(seconds: i64) -> Result<Timestamp, BoxError> {
    Ok(Timestamp::from_unix(seconds.try_into().map_err(|_| "a time before 1970")?))
}

/// The thumbprint of a key as its column holds it.
pub(super) fn thumbprint(key: &VerifyingKey) -> Option<String> {
    key.thumbprint().map(|thumbprint| KeyId::Thumbprint(thumbprint).to_string())
}

impl Application {
    /// Whether an application may have this name and be in this environment.
    ///
    /// # Errors
    ///
    /// [`RegistryError::BadName`].
    pub fn check(name: &str, environment: &str) -> Result<(), RegistryError> {
        check_name(name)?;
        check_environment(environment)
    }
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if first && name.len() <= 64 && name.bytes().all(rest) {
        return Ok(());
    }
    Err(BadName::Application.into())
}

fn check_environment(environment: &str) -> Result<(), RegistryError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=16).contains(&environment.len()) && environment.bytes().all(allowed) {
        return Ok(());
    }
    Err(BadName::Environment.into())
}

pub(super) fn check_label(label: &str) -> Result<(), RegistryError> {
    if label.chars().count() <= 64 && !label.chars().any(is_invisible) {
        return Ok(());
    }
    Err(BadName::Label.into())
}

/// Control characters, and those that show nothing or turn the direction of what follows: with them one label can look
/// like another.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{2069}'
                | '\u{FEFF}'
        )
}
