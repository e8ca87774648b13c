use std::sync::atomic::{AtomicBool, Ordering};

use countersign::{Algorithm, KeyId, VerifyingKey};

/// Checks a key while the database looks for its row, which takes as long.
///
/// For a key that is not registered the check is in vain, and a stranger can send any number of such keys. So a check needs
/// the turn, of which there is one: it is lost if no credential has the key, and comes back with the next credential that is
/// found. At most one check more is in vain than credentials are found in the database.
#[derive(Debug)]
pub(super) struct EarlyCheck {
    has_turn: AtomicBool,
}

impl Default for EarlyCheck {
    fn default() -> Self {
        Self { has_turn: AtomicBool::new(true) }
    }
}

impl EarlyCheck {
    /// Returns the checked key of a key id: `None` without the turn, for a bad key, and for an id that does not have the whole key.
    pub(super) fn key(&self, id: &KeyId) -> Option<VerifyingKey> {
        let KeyId::Publishable(key) = id else { return None };
        let has_whole_key = key.algorithm() == Algorithm::Ed25519;
        if !has_whole_key || !self.has_turn.swap(false, Ordering::Relaxed) {
            return None;
        }
        key.to_verifying_key().ok()
    }

    /// Notes that a credential was found in the database.
    pub(super) fn found(&self) {
        self.has_turn.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use countersign::{PrivateKey, PublishableKey};

    use super::*;

    fn id(seed: u8) -> KeyId {
        KeyId::Publishable(PrivateKey::ed25519(&[seed; 32]).publishable_key())
    }

    #[test]
    fn keys_that_nobody_has_are_checked_once_for_each_credential_that_is_found() {
        let early_check = EarlyCheck::default();
        let checked = |id: &KeyId| early_check.key(id).map(|key| key.publishable_key());
        for seed in 1..4 {
            let KeyId::Publishable(key) = id(seed) else { panic!() };
            assert_eq!(checked(&id(seed)), Some(key));
            assert_eq!((checked(&id(seed)), checked(&id(9))), (None, None));
            early_check.found();
            early_check.found();
        }
    }

    #[test]
    fn only_an_id_that_has_the_whole_key_takes_the_turn() {
        let early_check = EarlyCheck::default();
        let secret = KeyId::Publishable(PublishableKey::hmac_sha256([7; 16]));
        assert!(early_check.key(&secret).is_none());
        assert!(early_check.key(&KeyId::Thumbprint([7; 32])).is_none());
        assert!(early_check.key(&id(1)).is_some());
    }

    #[test]
    fn a_weak_key_is_no_checked_key() {
        let early_check = EarlyCheck::default();
        assert!(early_check.key(&KeyId::Publishable(PublishableKey::ed25519([0; 32]))).is_none());
    }
}
