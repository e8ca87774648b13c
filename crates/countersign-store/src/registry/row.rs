use std::{error::Error, sync::Arc};

use countersign::{KeyId, PublishableKey, Timestamp, VerifyingKey};
use sqlx::{Row, sqlite::SqliteRow};

use super::{error::RegistryError, stored_restrictions};
use crate::credential::{
    Credential, CredentialId, UnknownState, application::Application, name::BadName,
    scope::BadScope,
};

impl Application {
    /// Reads an application from its row.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        Self::read_columns(row, "created_at").map_err(|source| RegistryError::DamagedApplication {
            id: row.try_get("id").unwrap_or_default(),
            source,
        })
    }

    /// Reads the application from the row of a credential.
    pub(super) fn read_of_credential(row: &SqliteRow) -> Result<Self, BoxError> {
        Self::read_columns(row, "added_at")
    }

    fn read_columns(row: &SqliteRow, created_at: &str) -> Result<Self, BoxError> {
        let text = |column| row.try_get::<&str, _>(column);
        let (name, environment) = (text("name")?.parse()?, text("environment")?.parse()?);
        Ok(Self::new(name, environment, time(row.try_get(created_at)?)?))
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The columns of a credential.
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
    /// Reads a credential from its row.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let damaged = |what| {
            move |error| RegistryError::DamagedCredential {
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
        let damaged = |what, source| RegistryError::DamagedCredential { id, what, source };
        let key = key.map_err(|error| damaged("its key", Some(error.into())))?;
        if self.thumbprint != thumbprint(&key) {
            let other = "its thumbprint is another key's";
            return Err(damaged("its key", Some(other.into())));
        }
        let label = self.label.parse();
        Ok(Credential {
            id: CredentialId::new(id),
            application: Arc::new(application),
            label: label.map_err(|error: BadName| damaged("its label", Some(error.into())))?,
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

/// Returns a time in the form of a column.
pub(super) fn seconds(time: Timestamp) -> i64 {
    // A timestamp has at most 15 digits, which always fit.
    i64::try_from(time.unix()).unwrap_or(i64::MAX)
}

/// Reads a time. A time before 1970 is damage: no other value replaces it.
fn time(seconds: i64) -> Result<Timestamp, BoxError> {
    Ok(Timestamp::from_unix(seconds.try_into().map_err(|_| "a time before 1970")?))
}

/// Returns the thumbprint of a key in the form of its column.
pub(super) fn thumbprint(key: &VerifyingKey) -> Option<String> {
    key.thumbprint().map(|thumbprint| KeyId::Thumbprint(thumbprint).to_string())
}
