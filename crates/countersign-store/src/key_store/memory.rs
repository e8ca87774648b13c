use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use countersign::{KeyId, PublishableKey, Timestamp};

use crate::{credential::Credential, error::StoreError, key_store::KeyStore};

/// A key store in memory, for tests and for servers that load their credentials from elsewhere.
///
/// ```
/// use countersign::{PrivateKey, Timestamp};
/// use countersign_store::{Application, Credential, CredentialId, MemoryKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = Timestamp::from_unix(1_763_900_000);
/// let shop = Application::new("shop".parse()?, "live".parse()?, now);
/// let key = PrivateKey::ed25519(&[7; 32]).verifying_key();
/// let keys = MemoryKeys::default();
/// keys.insert(Credential::new(CredentialId::new(1), shop, key, now))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryKeys {
    capacity: usize,
    by_id: RwLock<HashMap<KeyId, Arc<Credential>>>,
}

impl Default for MemoryKeys {
    /// Makes a store with room for 100,000 credentials.
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl MemoryKeys {
    /// Makes a store with room for this many credentials.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, by_id: RwLock::default() }
    }

    /// Adds a credential, or replaces the credential with the same key.
    ///
    /// A key keeps its number for ever, also after [`MemoryKeys::remove`]: used nonces are stored by number, and would be
    /// fresh again under another number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is full, or if it has the key under another number.
    pub fn insert(&self, credential: Credential) -> Result<(), StoreError> {
        let ids = ids(&credential);
        let credential = Arc::new(credential);
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let own_id = KeyId::Publishable(credential.publishable_key());
        if by_id.get(&own_id).is_some_and(|known| known.id != credential.id) {
            return Err(StoreError::new("the key has another number already"));
        }
        // Each credential has one publishable key and at most one thumbprint.
        if !by_id.contains_key(&own_id) && by_id.len() >= self.capacity.saturating_mul(2) {
            return Err(StoreError::new("there is no room for another credential"));
        }
        by_id.extend(ids.map(|id| (id, Arc::clone(&credential))));
        Ok(())
    }

    /// Removes and returns a credential.
    pub fn remove(&self, key: &PublishableKey) -> Option<Arc<Credential>> {
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let removed = by_id.remove(&KeyId::Publishable(*key))?;
        by_id.retain(|_, other| other.publishable_key() != *key);
        Some(removed)
    }
}

fn ids(credential: &Credential) -> impl Iterator<Item = KeyId> + use<> {
    let thumbprint = credential.key.thumbprint().map(KeyId::Thumbprint);
    [KeyId::Publishable(credential.publishable_key())].into_iter().chain(thumbprint)
}

impl KeyStore for MemoryKeys {
    async fn find(&self, id: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        Ok(by_id.get(id).cloned())
    }
}

#[cfg(test)]
mod tests {
    use countersign::PrivateKey;

    use super::*;
    use crate::credential::{CredentialId, State, application::Application};

    fn credential(number: i64, seed: u8, state: State) -> Credential {
        let created_at = Timestamp::from_unix(1);
        let application =
            Application::new("shop".parse().unwrap(), "live".parse().unwrap(), created_at);
        let key = PrivateKey::ed25519(&[seed; 32]).verifying_key();
        Credential::new(CredentialId::new(number), application, key, created_at).with_state(state)
    }

    #[tokio::test]
    async fn a_key_is_replaced_under_its_own_number_alone() {
        let keys = MemoryKeys::default();
        keys.insert(credential(1, 5, State::Active)).unwrap();
        assert!(keys.insert(credential(2, 5, State::Active)).is_err());
        keys.insert(credential(2, 6, State::Active)).unwrap();
        keys.insert(credential(1, 5, State::Revoked)).unwrap();
        let key = credential(1, 5, State::Active).key;
        let by_key = KeyId::Publishable(key.publishable_key());
        let by_thumbprint = KeyId::Thumbprint(key.thumbprint().unwrap());
        for id in [by_key, by_thumbprint] {
            let found = keys.find(&id, Timestamp::from_unix(1)).await.unwrap().unwrap();
            assert_eq!((found.id, found.state), (CredentialId::new(1), State::Revoked));
        }
    }
}
