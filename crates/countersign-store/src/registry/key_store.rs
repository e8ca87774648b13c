use std::{error::Error, sync::Arc};

use countersign::{KeyId, Timestamp};

use super::{Registry, cache::Cached};
use crate::{credential::Credential, error::StoreError, key_store::KeyStore};

impl KeyStore for Registry {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        match self.shared.cache.get(id, now) {
            Cached::Credential(credential) => return Ok(Some(credential)),
            Cached::Unknown => return Ok(None),
            Cached::Missing => {}
        }
        let lookup = self.shared.cache.lookup(now);
        let unavailable = |error| StoreError::because("the registry cannot be read", error);
        let row = self.shared.row(id).await.map_err(unavailable)?;
        let credential = match row.as_ref().map(Credential::read).transpose() {
            Ok(credential) => credential.map(Arc::new),
            // A damaged row counts as an unknown key.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn Error,
                    %id,
                    "a registered key is refused, since its row is damaged: `countersign key show` names the damage"
                );
                None
            }
        };
        self.shared.cache.put(id, credential.clone(), lookup);
        Ok(credential)
    }

    fn used(&self, credential: &Credential, now: Timestamp) {
        self.note_use(credential.id, now);
    }
}
