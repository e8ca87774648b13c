use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use countersign::{KeyId, PublishableKey, Timestamp};

use crate::{Credential, KeyStore, StoreError};

/// Credentials in memory, for servers that get them from elsewhere, and for tests.
#[derive(Debug)]
pub struct MemoryKeys {
    capacity: usize,
    by_id: RwLock<HashMap<KeyId, Arc<Credential>>>,
}

impl Default for MemoryKeys {
    /// Room for 100,000 credentials.
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl MemoryKeys {
    /// Room for this many credentials.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity, by_id: RwLock::default() }
    }

    /// Adds a credential, or replaces the one with the same key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if there is no room for another one.
    pub fn insert(&self, credential: Credential) -> Result<(), StoreError> {
        let ids = ids(&credential);
        let credential = Arc::new(credential);
        let mut by_id = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let own_id = KeyId::Publishable(credential.publishable_key());
        // Each credential has one publishable key, and at most one thumbprint beside it.
        if !by_id.contains_key(&own_id) && by_id.len() >= self.capacity.saturating_mul(2) {
            return Err(StoreError::new("there is no room for another credential"));
        }
        by_id.extend(ids.map(|id| (id, Arc::clone(&credential))));
        Ok(())
    }

    /// Takes a credential away.
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
