use std::sync::Arc;

use countersign::{KeyId, Timestamp};

use super::{
    Registry,
    audit::act::{Act, Action},
    change::{Change, Transaction},
    credentials::registered,
    error::RegistryError,
    query::Query,
    statements,
};
use crate::credential::{Credential, State, reason::Reason};

impl Registry {
    /// Limits a key to reads, until it is released. A key in quarantine stays in quarantine, and nothing changes.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Revoked`], [`RegistryError::NotFound`], [`RegistryError::DamagedCredential`], or the database's.
    pub async fn quarantine(
        &self,
        id: &KeyId,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, RegistryError> {
        self.make(Isolate { id: *id, into: Into::Quarantine, reason, now }).await
    }

    /// Ends the quarantine of a key: it is then in use or retiring, as it was before. Changes nothing if the key is not in
    /// quarantine.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::quarantine`].
    pub async fn release(
        &self,
        id: &KeyId,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, RegistryError> {
        self.make(Isolate { id: *id, into: Into::Use, reason, now }).await
    }
}

/// Where a key is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Into {
    Quarantine,
    Use,
}

struct Isolate {
    id: KeyId,
    into: Into,
    reason: Option<Reason>,
    now: Timestamp,
}

impl Change for Isolate {
    type Outcome = Arc<Credential>;

    async fn apply(self, transaction: &mut Transaction) -> Result<Arc<Credential>, RegistryError> {
        let master_keys = transaction.master_keys();
        let mut session = transaction.session();
        let row = registered(&self.id, &mut session).await?;
        let mut credential = Credential::read(&row, master_keys.as_deref())?;
        let before = credential.described();
        let (state, action) = match (self.into, credential.state) {
            (_, State::Revoked) => return Err(RegistryError::Revoked),
            (Into::Quarantine, State::Active | State::Retiring) => {
                (State::Quarantined, Action::QuarantineKey)
            }
            (Into::Use, State::Quarantined) if credential.replaced_by.is_some() => {
                (State::Retiring, Action::ReleaseKey)
            }
            (Into::Use, State::Quarantined) => (State::Active, Action::ReleaseKey),
            (Into::Quarantine, State::Quarantined)
            | (Into::Use, State::Active | State::Retiring) => {
                return Ok(Arc::new(credential));
            }
        };
        let query =
            Query::new(statements::SET_STATE).bind(state.as_str()).bind(credential.id.get());
        session.execute(query).await?;
        credential.state = state;
        let mut after = credential.described();
        if let (Some(reason), Some(after)) = (self.reason, after.as_object_mut()) {
            after.insert("reason".into(), reason.as_str().into());
        }
        transaction.record(Act {
            at: self.now,
            action,
            subject: credential.subject(),
            before: Some(before),
            after: Some(after),
        });
        Ok(Arc::new(credential))
    }
}
