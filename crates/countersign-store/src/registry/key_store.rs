use std::{error::Error, sync::Arc};

use countersign::{KeyId, Timestamp};

use super::{Registry, cache::Cached, error::RegistryError};
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
        let credential = match row
            .as_ref()
            .map(|row| Credential::read(row, self.shared.master_keys()))
            .transpose()
        {
            Ok(credential) => credential.map(Arc::new),
            // A key that cannot be used counts as an unknown key.
            Err(RegistryError::Sealed { source, .. }) => {
                self.shared.unopened.refuse(id, source);
                None
            }
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
}
