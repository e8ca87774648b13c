use std::{sync::Arc, time::Duration};

use countersign::{KeyId, ProvenKey, PublishableKey, Timestamp, VerifyingKey};

use super::{
    Registry,
    audit::act::{Act, Action},
    change::{Change, Transaction},
    credential_settings::CredentialSettings,
    credentials::{Add, registered},
    error::RegistryError,
    query::Query,
    row::seconds,
    statements,
};
use crate::credential::{
    Credential, Standing, State,
    label::Label,
    rotation::{Made, NotReplaced, Rotation},
};

/// A key that takes over from another, for [`Registry::rotate`].
///
/// ```
/// use std::time::Duration;
///
/// use countersign::{PrivateKey, ProvenKey};
/// use countersign_store::Replacement;
///
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// let key = ProvenKey::from(&PrivateKey::ed25519(&[8; 32]));
/// let replacement = Replacement::new(&key, DAY).label("laptop, since May");
/// ```
#[derive(Clone, Debug)]
pub struct Replacement<'a> {
    key: &'a ProvenKey,
    label: Option<&'a str>,
    overlap: Duration,
    expiry: Expiry,
}

/// When a key expires that takes over from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// When the old key was to expire.
    Inherited,
    /// At this time, or never.
    At(Option<Timestamp>),
}

impl<'a> Replacement<'a> {
    /// Takes a new key. For the time of `overlap`, both keys are valid; with an overlap of less than a second, the old key is
    /// revoked at once.
    pub const fn new(key: &'a ProvenKey, overlap: Duration) -> Self {
        Self { key, label: None, overlap, expiry: Expiry::Inherited }
    }

    /// Sets the [`Label`] of the new credential. The registry parses the text. Default: the label of the old credential.
    pub const fn label(mut self, label: &'a str) -> Self {
        self.label = Some(label);
        self
    }

    /// Sets when the new credential expires; `None` is never. Default: when the old credential was to expire, so that a
    /// holder who rotates a key cannot use it for longer than was granted.
    pub const fn expires_at(mut self, time: Option<Timestamp>) -> Self {
        self.expiry = Expiry::At(time);
        self
    }
}

impl Registry {
    /// Replaces a key by a new one, which takes over its application, scopes, restrictions and limits, and its
    /// [lineage](Credential::lineage).
    ///
    /// The old key is [retiring](State::Retiring) from now on, and expires when the overlap ends or, if that is earlier, when
    /// it was to expire anyway. To end the overlap early, revoke the old key.
    ///
    /// A rotation can be run again: if the same new key has taken over already, nothing changes, whatever else the
    /// replacement says, and the two credentials are returned as they are now.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotReplaced`] for the old key; [`RegistryError::NotFound`] or [`RegistryError::DamagedCredential`] as
    /// well; and for the new key the errors of [`Registry::add_credential`].
    pub async fn rotate(
        &self,
        old: &KeyId,
        new: Replacement<'_>,
        now: Timestamp,
    ) -> Result<Rotation, RegistryError> {
        let Replacement { key, label, overlap, expiry } = new;
        let label = label.map(str::parse).transpose()?;
        let key = self.registrable(key)?;
        self.make(Rotate { old: *old, key, label, overlap, expiry, now }).await
    }
}

struct Rotate {
    old: KeyId,
    key: VerifyingKey,
    label: Option<Label>,
    overlap: Duration,
    expiry: Expiry,
    now: Timestamp,
}

impl Change for Rotate {
    type Outcome = Rotation;

    async fn apply(self, transaction: &mut Transaction) -> Result<Rotation, RegistryError> {
        let Self { old, key, label, overlap, expiry, now } = self;
        let row = registered(&old, &mut transaction.session()).await?;
        let master_keys = transaction.master_keys();
        let old = Credential::read(&row, master_keys.as_deref())?;
        let publishable = key.publishable_key();
        if old.replaced_by == Some(publishable) {
            let new = registered(&publishable.into(), &mut transaction.session()).await?;
            let new = Credential::read(&new, master_keys.as_deref())?;
            return Ok(Rotation { new: Arc::new(new), old: Arc::new(old), made: Made::Before });
        }
        require_replaceable(&old, publishable, now)?;
        let mut settings = CredentialSettings::of(&old);
        if let Some(label) = label {
            settings.label = label;
        }
        match expiry {
            Expiry::Inherited => {}
            Expiry::At(time) => settings.expires_at = time,
        }
        let add = Add {
            application: old.application.name.to_string(),
            key,
            settings,
            replaces: Some(old.clone()),
            now,
        };
        let new = add.apply(transaction).await?;
        let old = retire(old, new.id.get(), overlap, now, transaction).await?;
        Ok(Rotation { new, old: Arc::new(old), made: Made::Now })
    }
}

fn require_replaceable(
    old: &Credential,
    new: PublishableKey,
    now: Timestamp,
) -> Result<(), NotReplaced> {
    if old.publishable_key() == new {
        return Err(NotReplaced::SameKey);
    }
    if let Some(by) = old.replaced_by {
        return Err(NotReplaced::Replaced(by));
    }
    match old.standing(now) {
        Standing::Active => Ok(()),
        Standing::Quarantined => Err(NotReplaced::Quarantined),
        Standing::Expired => Err(NotReplaced::Expired),
        Standing::Revoked => Err(NotReplaced::Revoked),
    }
}

/// Lets the old credential of a rotation run out.
async fn retire(
    old: Credential,
    new: i64,
    overlap: Duration,
    now: Timestamp,
    transaction: &mut Transaction,
) -> Result<Credential, RegistryError> {
    let end = now.plus(overlap);
    let end = old.expires_at.map_or(end, |expiry| expiry.min(end));
    let query = if end > now {
        Query::new(statements::RETIRE).bind(State::Retiring.as_str()).bind(seconds(end))
    } else {
        Query::new(statements::RETIRE_AT_ONCE)
            .bind(State::Revoked.as_str())
            .bind(seconds(now))
            .bind("replaced")
    };
    let mut session = transaction.session();
    session.execute(query.bind(new).bind(old.id.get())).await?;
    let row = registered(&old.publishable_key().into(), &mut session).await?;
    let retired = Credential::read(&row, transaction.master_keys().as_deref())?;
    transaction.record(Act {
        at: now,
        action: Action::RotateKey,
        subject: retired.subject(),
        before: Some(old.described()),
        after: Some(retired.described()),
    });
    Ok(retired)
}
