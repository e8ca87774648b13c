use std::sync::{Mutex, PoisonError};

use countersign::KeyId;

use crate::{
    master_key::{MasterKeyId, MasterKeys},
    sealed_secret::NotOpened,
};

/// How many missing master keys are looked for and told of.
pub(super) const MOST_MISSING: usize = 16;

/// The missing master keys that the log has told of.
#[derive(Debug, Default)]
pub(super) struct Unopened {
    told: Mutex<Vec<MasterKeyId>>,
}

impl Unopened {
    /// Counts the look-up of a credential whose secret cannot be opened. The first one of a master key is logged.
    pub(super) fn refuse(&self, id: &KeyId, error: NotOpened) {
        metrics::counter!("countersign_sealed_key_refused_total").increment(1);
        let (NotOpened::NoMasterKey { needed } | NotOpened::OtherMasterKey { needed, .. }) = error
        else {
            return;
        };
        if self.is_first(needed) {
            tracing::error!(%id, "a registered key is refused: {error}");
        }
    }

    pub(super) fn tell_once(&self, needed: MasterKeyId, given: Option<&MasterKeys>) {
        if !self.is_first(needed) {
            return;
        }
        match given {
            None => tracing::error!(
                %needed,
                "HMAC keys are refused: their secrets are sealed with a master key, and no master key is given"
            ),
            Some(given) => tracing::error!(
                %needed,
                ?given,
                "HMAC keys are refused: their secrets are sealed with another master key than those given"
            ),
        }
    }

    fn is_first(&self, key: MasterKeyId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !told.contains(&key) && told.len() < MOST_MISSING;
        if is_first {
            told.push(key);
        }
        is_first
    }
}
