use std::{error::Error, sync::Arc};

use countersign::{KeyId, PublishableKey, Timestamp, VerifyingKey};
use zeroize::Zeroizing;

use super::{error::RegistryError, query::Row, stored_limits, stored_restrictions};
use crate::{
    credential::{
        Credential, CredentialId, UnknownState, application::Application, name::BadName,
        scope::BadScope,
    },
    master_key::MasterKeys,
    sealed_secret::{NotOpened, SealedSecret},
};

impl Application {
    /// Reads an application from its row.
    pub(super) fn read(row: &Row) -> Result<Self, RegistryError> {
        Self::read_columns(row, "created_at").map_err(|source| RegistryError::DamagedApplication {
            id: row.get("id").unwrap_or_default(),
            source,
        })
    }

    /// Reads the application from the row of a credential.
    pub(super) fn read_of_credential(row: &Row) -> Result<Self, BoxError> {
        Self::read_columns(row, "added_at")
    }

    fn read_columns(row: &Row, created_at: &str) -> Result<Self, BoxError> {
        let text = |column| row.get::<String>(column);
        let (name, environment) = (text("name")?.parse()?, text("environment")?.parse()?);
        let created_at = time(row.get(created_at)?)?;
        Ok(Self::new(name, environment, created_at)
            .with_contact(text("contact")?.parse()?)
            .with_notes(text("notes")?.parse()?))
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The columns of a credential.
struct CredentialRow {
    id: i64,
    publishable_key: String,
    hmac_secret: Option<Zeroizing<Vec<u8>>>,
    sealed_secret: Option<Vec<u8>>,
    label: String,
    state: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revocation_reason: Option<String>,
    scopes: String,
    restrictions: String,
    limits: Option<String>,
    thumbprint: Option<String>,
    lineage: Option<i64>,
    replaced_by: Option<String>,
    last_used_at: Option<Timestamp>,
}

impl Credential {
    /// Reads a credential from its row, and opens its secret if that is sealed.
    pub(super) fn read(row: &Row, master_keys: Option<&MasterKeys>) -> Result<Self, RegistryError> {
        Self::read_with_key(row, master_keys, None)
    }

    /// Reads a credential from its row. If the row has the public key that was checked before, the checked key is taken over:
    /// checking a key takes longer than reading the row.
    pub(super) fn read_with_key(
        row: &Row,
        master_keys: Option<&MasterKeys>,
        checked: Option<&VerifyingKey>,
    ) -> Result<Self, RegistryError> {
        let damaged = |what| {
            move |error| RegistryError::DamagedCredential {
                id: row.get("id").unwrap_or_default(),
                what,
                source: Some(error),
            }
        };
        let columns = CredentialRow::read(row).map_err(damaged("one of its columns"))?;
        let application =
            Application::read_of_credential(row).map_err(damaged("its application"))?;
        columns.into_credential(application, master_keys, checked)
    }
}

impl CredentialRow {
    fn read(row: &Row) -> Result<Self, BoxError> {
        let optional_time = |column| row.get::<Option<i64>>(column)?.map(time).transpose();
        // First, so that a damaged row leaves no copy of it behind.
        let hmac_secret = row.get::<Option<Vec<u8>>>("hmac_secret")?.map(Zeroizing::new);
        Ok(Self {
            id: row.get("id")?,
            publishable_key: row.get("publishable_key")?,
            hmac_secret,
            sealed_secret: row.get("sealed_secret")?,
            label: row.get("label")?,
            state: row.get("state")?,
            created_at: time(row.get("created_at")?)?,
            expires_at: optional_time("expires_at")?,
            revoked_at: optional_time("revoked_at")?,
            revocation_reason: row.get("revocation_reason")?,
            scopes: row.get("scopes")?,
            restrictions: row.get("restrictions")?,
            limits: row.get("limits")?,
            thumbprint: row.get("thumbprint")?,
            lineage: row.get("lineage")?,
            replaced_by: row.get("replaced_by")?,
            last_used_at: optional_time("last_used_at")?,
        })
    }

    fn into_credential(
        self,
        application: Application,
        master_keys: Option<&MasterKeys>,
        checked: Option<&VerifyingKey>,
    ) -> Result<Credential, RegistryError> {
        let id = self.id;
        let damaged = |what, source| RegistryError::DamagedCredential { id, what, source };
        let publishable: PublishableKey = self
            .publishable_key
            .parse()
            .map_err(|error: countersign::KeyError| damaged("its key", Some(error.into())))?;
        let key = match (&self.sealed_secret, &self.hmac_secret, publishable.as_bytes().try_into())
        {
            (Some(_), Some(_), _) => {
                return Err(damaged("its secret", Some("it is there plain and sealed".into())));
            }
            (Some(sealed), None, _) => {
                let opened = SealedSecret::parse(sealed).and_then(|sealed| {
                    sealed.open(master_keys, CredentialId::new(id), &publishable)
                });
                opened.map_err(|error| match error {
                    NotOpened::Damaged => damaged("its secret", Some(error.into())),
                    source => RegistryError::Sealed { id, source },
                })?
            }
            (None, Some(secret), Ok(name)) => VerifyingKey::hmac_sha256(name, secret)
                .map_err(|error| damaged("its key", Some(error.into())))?,
            // The key alone decides the verdict of its check: there is no secret.
            (None, ..) => match checked {
                Some(checked)
                    if checked.hmac_secret().is_none()
                        && checked.publishable_key() == publishable =>
                {
                    checked.clone()
                }
                _ => publishable
                    .to_verifying_key()
                    .map_err(|error| damaged("its key", Some(error.into())))?,
            },
        };
        if self.thumbprint != thumbprint(&key) {
            let other = "its thumbprint is another key's";
            return Err(damaged("its key", Some(other.into())));
        }
        let label = self.label.parse();
        let replaced_by = self.replaced_by.map(|key| key.parse()).transpose();
        let reason = self.revocation_reason.map(|reason| reason.parse()).transpose();
        Ok(Credential {
            id: CredentialId::new(id),
            lineage: CredentialId::new(self.lineage.unwrap_or(id)),
            application: Arc::new(application),
            label: label.map_err(|error: BadName| damaged("its label", Some(error.into())))?,
            state: self.state.parse().map_err(|_: UnknownState| damaged("its state", None))?,
            key,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            revocation_reason: reason
                .map_err(|error: BadName| damaged("why it was revoked", Some(error.into())))?,
            replaced_by: replaced_by.map_err(|error: countersign::KeyError| {
                damaged("the key that replaced it", Some(error.into()))
            })?,
            last_used_at: self.last_used_at,
            scopes: self.scopes.parse().map_err(|_: BadScope| damaged("its scopes", None))?,
            restrictions: stored_restrictions::read(&self.restrictions)
                .map_err(|error| damaged("its restrictions", Some(error)))?,
            limits: stored_limits::read(self.limits.as_deref())
                .map_err(|error| damaged("its limits", Some(error)))?,
        })
    }
}

/// Returns a time in the form of a column.
pub(super) fn seconds(time: Timestamp) -> i64 {
    // A timestamp has at most 15 digits, which always fit.
    i64::try_from(time.unix()).unwrap_or(i64::MAX)
}

/// Reads a time. A time before 1970 is damage: no other value replaces it.
pub(super) fn time(seconds: i64) -> Result<Timestamp, BoxError> {
    Ok(Timestamp::from_unix(seconds.try_into().map_err(|_| "a time before 1970")?))
}

/// Returns the thumbprint of a key in the form of its column.
pub(super) fn thumbprint(key: &VerifyingKey) -> Option<String> {
    key.thumbprint().map(|thumbprint| KeyId::Thumbprint(thumbprint).to_string())
}
