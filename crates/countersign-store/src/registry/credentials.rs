use std::sync::Arc;

use countersign::{KeyError, KeyId, PublishableKey, Timestamp};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Registry, applications,
    change::Change,
    damaged::DamagedCredential,
    error::{RegistryError, Subject},
    new_credential::NewCredential,
    row::{seconds, thumbprint},
    sqlite::file::{self, FileError},
    statements, stored_restrictions,
};
use crate::credential::{
    Credential, State, label::Label, restrictions::Restrictions, scope::Scopes,
};

/// What a revocation found.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// The credential is revoked now.
    Revoked(Arc<Credential>),
    /// The credential had been revoked before, and nothing changed.
    WasRevoked(Arc<Credential>),
}

impl Registry {
    /// Registers a key for an application. It is active at once.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Exists`] if any application ever had this key, [`RegistryError::NotFound`] or
    /// [`RegistryError::DamagedApplication`] for the application, [`RegistryError::Key`] for a key that others can sign with: a
    /// published test key, or an HMAC secret that can be guessed; [`RegistryError::BadName`] for the label,
    /// [`FileError::Exposed`] for an HMAC secret in a file that others can read, or the database's.
    pub async fn add_credential(
        &self,
        new: NewCredential<'_>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, RegistryError> {
        let label = new.label.parse()?;
        let key = new.key.key();
        key.require_secret().map_err(RegistryError::Key)?;
        if key.hmac_secret().is_some() {
            let files = file::exposed(&self.file)?;
            if !files.is_empty() {
                return Err(FileError::Exposed { files }.into());
            }
        }
        self.make(Add { new, label, now }).await
    }

    /// The credentials of an application, or of all applications, the oldest first. A damaged row is an error in its place,
    /// and hides no other credential.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] for the application, or the database's.
    pub async fn credentials(
        &self,
        application: Option<&str>,
    ) -> Result<Vec<Result<Arc<Credential>, Box<DamagedCredential>>>, RegistryError> {
        if let Some(name) = application {
            match self.application(name).await {
                // Each of its credentials then tells of the damage.
                Ok(_) | Err(RegistryError::DamagedApplication { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.database.connection().await?;
        let rows: Vec<SqliteRow> = sqlx::query(statements::CREDENTIALS)
            .bind(application)
            .fetch_all(&mut *connection)
            .await?;
        let listed = rows.iter().map(|row| match Credential::read(row) {
            Ok(credential) => Ok(Arc::new(credential)),
            Err(error) => Err(DamagedCredential::of(row, error)),
        });
        Ok(listed.collect())
    }

    /// One credential, past every cache.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`], or the database's.
    pub async fn credential(&self, id: &KeyId) -> Result<Arc<Credential>, RegistryError> {
        let row = self.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        Credential::read(&row).map(Arc::new)
    }

    /// Changes the scopes and restrictions of a credential: at once here, and within 5 s in other processes. Of two processes
    /// that change one credential at the same time, the second is given what the first has left.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`], or the database's.
    pub async fn change_credential(
        &self,
        key: &PublishableKey,
        change: impl FnOnce(&mut Scopes, &mut Restrictions) + Send,
    ) -> Result<Arc<Credential>, RegistryError> {
        self.make(SetRights { key: *key, change }).await
    }

    /// The publishable key of a credential, also of a credential whose row is damaged elsewhere.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`] if it is the key that is damaged, or the database's.
    pub async fn publishable_key(&self, id: &KeyId) -> Result<PublishableKey, RegistryError> {
        if let KeyId::Publishable(key) = id {
            return Ok(*key);
        }
        let row = self.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        let damaged = |error| RegistryError::DamagedRow {
            id: row.try_get("id").unwrap_or_default(),
            what: "its key",
            source: Some(error),
        };
        let key: &str = row.try_get("publishable_key").map_err(|error| damaged(error.into()))?;
        key.parse().map_err(|error: KeyError| damaged(error.into()))
    }

    /// Revokes a key for ever: at once here, and within 5 s in other processes. A key that is revoked already keeps the time
    /// of its revocation.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], or the database's. With [`RegistryError::DamagedRow`] the key is revoked all the same.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<Revocation, RegistryError> {
        // A key that is damaged is known by its thumbprint alone, here and in the cache.
        let id = match self.publishable_key(id).await {
            Ok(key) => KeyId::Publishable(key),
            Err(RegistryError::DamagedRow { .. }) => *id,
            Err(error) => return Err(error),
        };
        self.make(Revoke { id, now }).await?
    }

    /// The row of a credential.
    pub(super) async fn row(&self, id: &KeyId) -> Result<Option<SqliteRow>, RegistryError> {
        row(id, &mut *self.database.connection().await?).await
    }
}

async fn row(
    id: &KeyId,
    connection: &mut SqliteConnection,
) -> Result<Option<SqliteRow>, RegistryError> {
    let statement = match id {
        KeyId::Publishable(_) => statements::CREDENTIAL_OF_KEY,
        KeyId::Thumbprint(_) => statements::CREDENTIAL_OF_THUMBPRINT,
    };
    Ok(sqlx::query(statement).bind(id.to_string()).fetch_optional(connection).await?)
}

/// The row of a credential that has to be there.
async fn registered(
    id: &KeyId,
    connection: &mut SqliteConnection,
) -> Result<SqliteRow, RegistryError> {
    row(id, connection).await?.ok_or(RegistryError::NotFound(Subject::Credential))
}

struct Add<'a> {
    new: NewCredential<'a>,
    label: Label,
    now: Timestamp,
}

impl Change for Add<'_> {
    type Outcome = Arc<Credential>;

    // Somebody may have asked for the key before, and the cache remember it as unknown.
    fn credential(&self) -> Option<KeyId> {
        Some(KeyId::Publishable(self.new.key.key().publishable_key()))
    }

    async fn apply(
        self,
        transaction: &mut SqliteConnection,
    ) -> Result<Arc<Credential>, RegistryError> {
        let Self { new, label, now } = self;
        let NewCredential { application, label: _, key, expires_at, scopes, restrictions } = new;
        let key = key.key();
        applications::named(application, transaction).await?;
        let added = sqlx::query(statements::ADD_CREDENTIAL)
            .bind(key.publishable_key().to_string())
            .bind(thumbprint(key))
            .bind(key.hmac_secret())
            .bind(label.as_str())
            .bind(State::Active.as_str())
            .bind(seconds(now))
            .bind(expires_at.map(seconds))
            .bind(scopes.to_string())
            .bind(stored_restrictions::write(&restrictions))
            .bind(application)
            .execute(&mut *transaction)
            .await?;
        if added.rows_affected() == 0 {
            return Err(RegistryError::Exists(Subject::Credential));
        }
        let id = KeyId::Publishable(key.publishable_key());
        Credential::read(&registered(&id, transaction).await?).map(Arc::new)
    }
}

struct SetRights<F> {
    key: PublishableKey,
    change: F,
}

impl<F: FnOnce(&mut Scopes, &mut Restrictions) + Send> Change for SetRights<F> {
    type Outcome = Arc<Credential>;

    fn credential(&self) -> Option<KeyId> {
        Some(KeyId::Publishable(self.key))
    }

    async fn apply(
        self,
        transaction: &mut SqliteConnection,
    ) -> Result<Arc<Credential>, RegistryError> {
        let id = KeyId::Publishable(self.key);
        let mut credential = Credential::read(&registered(&id, transaction).await?)?;
        (self.change)(&mut credential.scopes, &mut credential.restrictions);
        sqlx::query(statements::SET_RIGHTS)
            .bind(credential.scopes.to_string())
            .bind(stored_restrictions::write(&credential.restrictions))
            .bind(credential.id.get())
            .execute(transaction)
            .await?;
        Ok(Arc::new(credential))
    }
}

struct Revoke {
    id: KeyId,
    now: Timestamp,
}

impl Change for Revoke {
    /// A row that is damaged is revoked, and then told.
    type Outcome = Result<Revocation, RegistryError>;

    fn credential(&self) -> Option<KeyId> {
        Some(self.id)
    }

    async fn apply(
        self,
        transaction: &mut SqliteConnection,
    ) -> Result<Self::Outcome, RegistryError> {
        let number: i64 = registered(&self.id, transaction).await?.try_get("id")?;
        let revoked = sqlx::query(statements::REVOKE)
            .bind(seconds(self.now))
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        let revocation = match revoked.rows_affected() {
            0 => Revocation::WasRevoked,
            _ => Revocation::Revoked,
        };
        let credential = Credential::read(&registered(&self.id, transaction).await?);
        Ok(credential.map(Arc::new).map(revocation))
    }
}
