use std::{sync::Arc, time::Duration};

use countersign::{ProvenKey, PublishableKey, Timestamp};

use super::{
    Registry,
    actor::Actor,
    credentials::Revocation,
    error::{RegistryError, Subject},
    rotation::Replacement,
};
use crate::{
    credential::{Credential, reason::Reason, rotation::Rotation},
    error::StoreError,
    held_keys::{HeldKeys, NotHandedOver},
};

impl HeldKeys for Registry {
    async fn hand_over(
        &self,
        old: &PublishableKey,
        new: &ProvenKey,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Rotation, NotHandedOver> {
        let registry = self.acting_for_holder(old);
        let rotated = registry.rotate(&(*old).into(), Replacement::new(new, overlap), now).await;
        rotated.map_err(|error| match error {
            RegistryError::NotReplaced(reason) => reason.into(),
            RegistryError::Exists(Subject::Credential) => NotHandedOver::Registered,
            RegistryError::Key(reason) => NotHandedOver::Key(reason),
            error => StoreError::because("the registry cannot replace a key", error).into(),
        })
    }

    async fn give_up(
        &self,
        key: &PublishableKey,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, StoreError> {
        let revoked = self.acting_for_holder(key).revoke(&(*key).into(), reason, now).await;
        let revocation = revoked
            .map_err(|error| StoreError::because("the registry cannot revoke a key", error))?;
        let (Revocation::Revoked(credential) | Revocation::WasRevoked(credential)) = revocation;
        Ok(credential)
    }
}

impl Registry {
    /// Names the holder of a key as the actor, in the audit log.
    fn acting_for_holder(&self, key: &PublishableKey) -> Self {
        let actor: Option<Actor> = format!("key {key}").parse().ok();
        match actor {
            Some(actor) => self.clone().acting_as(actor),
            None => self.clone(),
        }
    }
}
