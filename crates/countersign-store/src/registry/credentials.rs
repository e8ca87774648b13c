use std::sync::Arc;

use countersign::{KeyError, KeyId, ProvenKey, PublishableKey, Timestamp, VerifyingKey};
use serde_json::{Value, json};

use super::{
    Registry, applications,
    audit::act::{Act, ActSubject, Action},
    change::{Change, Transaction},
    credential_settings::CredentialSettings,
    damaged::DamagedCredential,
    error::{RegistryError, Subject},
    new_credential::NewCredential,
    query::{Query, Row},
    row::{seconds, thumbprint},
    sealing,
    session::Session,
    shared::Shared,
    statements, stored_limits, stored_restrictions,
};
use crate::credential::{Credential, State, application::Application, reason::Reason};

/// The outcome of a revocation.
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
    /// [`RegistryError::Exists`] if any application ever had this key; [`RegistryError::NotFound`] or
    /// [`RegistryError::DamagedApplication`] for the application; [`RegistryError::Key`] for a published test key or a
    /// guessable HMAC secret, with which others can sign; [`RegistryError::BadName`] for the label; `FileError::Exposed`
    /// for an HMAC secret in a file that other users can read; or an error of the database.
    pub async fn add_credential(
        &self,
        new: NewCredential<'_>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, RegistryError> {
        let NewCredential { application, label, key, expires_at, scopes, restrictions, limits } =
            new;
        let label = label.parse()?;
        let settings = CredentialSettings { label, expires_at, scopes, restrictions, limits };
        let (application, key) = (application.to_owned(), self.registrable(key)?);
        self.make(Add { application, key, settings, replaces: None, now }).await
    }

    /// Returns a key if it can be registered here.
    pub(super) fn registrable(&self, key: &ProvenKey) -> Result<VerifyingKey, RegistryError> {
        let key = key.key();
        key.require_secret().map_err(RegistryError::Key)?;
        if key.hmac_secret().is_some() && self.shared.master_keys.is_none() {
            self.shared.require_closed()?;
        }
        Ok(key.clone())
    }

    /// Returns a credential as in a list: if it cannot be used, with what can be read of it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], or an error of the database.
    pub async fn listed_credential(
        &self,
        id: &KeyId,
    ) -> Result<Result<Arc<Credential>, Box<DamagedCredential>>, RegistryError> {
        let row = self.shared.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        Ok(self.shared.listed(&row))
    }

    /// Returns a credential from the database, without the cache.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedCredential`], [`RegistryError::Sealed`], or the database's.
    pub async fn credential(&self, id: &KeyId) -> Result<Arc<Credential>, RegistryError> {
        let row = self.shared.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        Credential::read(&row, self.shared.master_keys()).map(Arc::new)
    }

    /// Changes the settings of a credential: at once here, and within 1 s in other processes. If two processes change a
    /// credential at the same time, the second receives the settings that the first has made.
    ///
    /// ```no_run
    /// # async fn run(registry: countersign_store::Registry, key: countersign::KeyId) -> Result<(), countersign_store::RegistryError> {
    /// use countersign_store::system_time;
    ///
    /// registry.change_credential(&key, system_time(), |settings| settings.expires_at = None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedCredential`], [`RegistryError::Sealed`], or the database's.
    pub async fn change_credential(
        &self,
        id: &KeyId,
        now: Timestamp,
        change: impl FnOnce(&mut CredentialSettings) + Send + 'static,
    ) -> Result<Arc<Credential>, RegistryError> {
        self.make(Set { id: *id, change, now }).await
    }

    /// Returns the publishable key of a credential, even if other columns of its row are damaged.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedCredential`] if it is the key that is damaged, or the database's.
    pub async fn publishable_key(&self, id: &KeyId) -> Result<PublishableKey, RegistryError> {
        if let KeyId::Publishable(key) = id {
            return Ok(*key);
        }
        let row = self.shared.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        let damaged = |error| RegistryError::DamagedCredential {
            id: row.get("id").unwrap_or_default(),
            what: "its key",
            source: Some(error),
        };
        let key: String = row.get("publishable_key").map_err(|error| damaged(error.into()))?;
        key.parse().map_err(|error: KeyError| damaged(error.into()))
    }

    /// Revokes a key for ever: at once here, and within 1 s in other processes. A key that is already revoked keeps its time
    /// of revocation, and its reason.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], or the database's. With [`RegistryError::DamagedCredential`] and [`RegistryError::Sealed`] the
    /// key is revoked all the same.
    pub async fn revoke(
        &self,
        id: &KeyId,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Revocation, RegistryError> {
        // A damaged key is known only by its thumbprint, here and in the cache.
        let id = match self.publishable_key(id).await {
            Ok(key) => KeyId::Publishable(key),
            Err(RegistryError::DamagedCredential { .. }) => *id,
            Err(error) => return Err(error),
        };
        self.make(Revoke { id, reason, now }).await?
    }
}

impl Shared {
    /// Reads a row of a list.
    pub(super) fn listed(&self, row: &Row) -> Result<Arc<Credential>, Box<DamagedCredential>> {
        match Credential::read(row, self.master_keys()) {
            Ok(credential) => Ok(Arc::new(credential)),
            Err(error) => Err(DamagedCredential::of(row, error)),
        }
    }

    /// Returns the row of a credential.
    pub(super) async fn row(&self, id: &KeyId) -> Result<Option<Row>, RegistryError> {
        let mut connection = self.database.connection().await?;
        row(id, &mut connection.session()).await
    }
}

async fn row(id: &KeyId, session: &mut Session<'_>) -> Result<Option<Row>, RegistryError> {
    let statement = match id {
        KeyId::Publishable(_) => statements::CREDENTIAL_OF_KEY,
        KeyId::Thumbprint(_) => statements::CREDENTIAL_OF_THUMBPRINT,
    };
    Ok(session.fetch_optional(Query::new(statement).bind(id.to_string())).await?)
}

/// Returns the row of a credential, or an error if the credential is missing.
pub(super) async fn registered(
    id: &KeyId,
    session: &mut Session<'_>,
) -> Result<Row, RegistryError> {
    row(id, session).await?.ok_or(RegistryError::NotFound(Subject::Credential))
}

impl Credential {
    /// Describes it for the audit log: what can be changed of it.
    pub(super) fn described(&self) -> Value {
        json!({
            "label": self.label.as_str(),
            "state": self.state.as_str(),
            "expires_at": self.expires_at.map(Timestamp::unix),
            "scopes": self.scopes.to_string(),
            "restrictions": stored_restrictions::stored(&self.restrictions),
            "limits": stored_limits::stored(&self.limits),
            "replaced_by": self.replaced_by.map(|key| key.to_string()),
            "revocation_reason": self.revocation_reason.as_ref().map(Reason::as_str),
        })
    }

    pub(super) fn subject(&self) -> ActSubject {
        ActSubject {
            application: Some(self.application.name.clone()),
            key: Some(KeyId::Publishable(self.publishable_key())),
        }
    }
}

pub(super) struct Add {
    pub(super) application: String,
    pub(super) key: VerifyingKey,
    pub(super) settings: CredentialSettings,
    /// The credential from which it takes over.
    pub(super) replaces: Option<Credential>,
    pub(super) now: Timestamp,
}

impl Change for Add {
    type Outcome = Arc<Credential>;

    async fn apply(self, transaction: &mut Transaction) -> Result<Arc<Credential>, RegistryError> {
        let master_keys = transaction.master_keys();
        let mut session = transaction.session();
        applications::named(&self.application, &mut session).await?;
        // A sealed secret is bound to the number of its credential, which the row has to have first.
        let plain = if master_keys.is_none() { self.key.hmac_secret() } else { None };
        let query = Query::new(statements::ADD_CREDENTIAL)
            .bind(self.key.publishable_key().to_string())
            .bind(thumbprint(&self.key))
            .bind(plain)
            .bind(self.settings.label.as_str())
            .bind(State::Active.as_str())
            .bind(seconds(self.now))
            .bind(self.settings.expires_at.map(seconds))
            .bind(self.settings.scopes.to_string())
            .bind(stored_restrictions::write(&self.settings.restrictions))
            .bind(stored_limits::write(&self.settings.limits))
            .bind(self.replaces.as_ref().map(|old| old.lineage.get()))
            .bind(self.application);
        if session.execute(query).await? == 0 {
            return Err(RegistryError::Exists(Subject::Credential));
        }
        let id = KeyId::Publishable(self.key.publishable_key());
        if let Some(keys) = &master_keys
            && self.key.hmac_secret().is_some()
        {
            sealing::seal(&registered(&id, &mut session).await?, &self.key, keys, &mut session)
                .await?;
        }
        let row = registered(&id, &mut session).await?;
        let credential = Credential::read(&row, master_keys.as_deref())?;
        let mut after = credential.described();
        if let (Some(old), Some(after)) = (self.replaces, after.as_object_mut()) {
            after.insert("replaces".into(), old.publishable_key().to_string().into());
        }
        transaction.record(Act {
            at: self.now,
            action: Action::AddKey,
            subject: credential.subject(),
            before: None,
            after: Some(after),
        });
        Ok(Arc::new(credential))
    }
}

struct Set<F> {
    id: KeyId,
    change: F,
    now: Timestamp,
}

impl<F: FnOnce(&mut CredentialSettings) + Send + 'static> Change for Set<F> {
    type Outcome = Arc<Credential>;

    async fn apply(self, transaction: &mut Transaction) -> Result<Arc<Credential>, RegistryError> {
        let master_keys = transaction.master_keys();
        let mut session = transaction.session();
        let row = registered(&self.id, &mut session).await?;
        let credential = Credential::read(&row, master_keys.as_deref())?;
        let before = credential.described();
        let mut settings = CredentialSettings::of(&credential);
        (self.change)(&mut settings);
        if settings == CredentialSettings::of(&credential) {
            return Ok(Arc::new(credential));
        }
        let query = Query::new(statements::SET_CREDENTIAL)
            .bind(settings.label.as_str())
            .bind(settings.expires_at.map(seconds))
            .bind(settings.scopes.to_string())
            .bind(stored_restrictions::write(&settings.restrictions))
            .bind(stored_limits::write(&settings.limits))
            .bind(credential.id.get());
        session.execute(query).await?;
        let CredentialSettings { label, expires_at, scopes, restrictions, limits } = settings;
        let credential =
            Credential { label, expires_at, scopes, restrictions, limits, ..credential };
        transaction.record(Act {
            at: self.now,
            action: Action::ChangeKey,
            subject: credential.subject(),
            before: Some(before),
            after: Some(credential.described()),
        });
        Ok(Arc::new(credential))
    }
}

struct Revoke {
    id: KeyId,
    reason: Option<Reason>,
    now: Timestamp,
}

impl Change for Revoke {
    /// A damaged row is revoked too, and returned as an error.
    type Outcome = Result<Revocation, RegistryError>;

    async fn apply(self, transaction: &mut Transaction) -> Result<Self::Outcome, RegistryError> {
        let master_keys = transaction.master_keys();
        let read = |row: &Row| Credential::read(row, master_keys.as_deref());
        let mut session = transaction.session();
        let row = registered(&self.id, &mut session).await?;
        let number: i64 = row.get("id")?;
        let before = read(&row).ok();
        let query = Query::new(statements::REVOKE)
            .bind(seconds(self.now))
            .bind(self.reason.map(|reason| reason.to_string()))
            .bind(number);
        let revoked = session.execute(query).await? > 0;
        let row = registered(&self.id, &mut session).await?;
        let credential = read(&row);
        if !revoked {
            return Ok(credential.map(Arc::new).map(Revocation::WasRevoked));
        }
        let application = Application::read_of_credential(&row).ok();
        let damaged = ActSubject {
            application: application.map(|application| application.name),
            key: Some(self.id),
        };
        transaction.record(Act {
            at: self.now,
            action: Action::RevokeKey,
            subject: credential.as_ref().map_or(damaged, Credential::subject),
            before: before.as_ref().map(Credential::described),
            after: credential.as_ref().ok().map(Credential::described),
        });
        Ok(credential.map(Arc::new).map(Revocation::Revoked))
    }
}
