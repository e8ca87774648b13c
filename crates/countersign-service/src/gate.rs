use std::{num::NonZeroU32, sync::Arc};

use countersign::{NonceUse, Timestamp, Window};
use countersign_server::SavedNonces;
use countersign_store::{
    ClientAddress, Credential, Gate, GateVerdict, Limited, Limits, NoClientAddress, Readiness,
    Redis, RedisGate, Registry, StoreError, Verdict, system_time,
};

use crate::config::LimitSettings;

/// The replay guard of a service, which lasts as long as its process.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    Memory(SavedNonces<Arc<Registry>>),
    Redis { redis: Box<Redis>, servers: NonZeroU32 },
}

/// A replay guard with limits in front of it. A reload that changes limits makes another gate over the same guard.
#[derive(Debug)]
pub(crate) enum ServiceGate {
    Memory(Box<Limited<SavedNonces<Arc<Registry>>>>),
    Redis(Box<RedisGate>),
}

impl Guard {
    /// Puts limits in front of the guard.
    pub(crate) async fn gate(&self, settings: &LimitSettings) -> Result<ServiceGate, StoreError> {
        let limits = Limits::default()
            .signed(settings.signed.iter().copied())
            .unsigned(settings.unsigned.iter().copied())
            .unsigned_by_address(settings.unsigned_by_address.iter().copied());
        Ok(match self {
            Self::Memory(nonces) => {
                ServiceGate::Memory(Box::new(Limited::new(nonces.clone(), limits)))
            }
            Self::Redis { redis, servers } => {
                let (redis, window) = (Redis::clone(redis), Window::default());
                let gate = RedisGate::connect(redis, window, limits, *servers, system_time());
                ServiceGate::Redis(Box::new(gate.await?))
            }
        })
    }
}

impl Gate for ServiceGate {
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        match self {
            Self::Memory(gate) => gate.charge_and_claim(credential, used, cost, now).await,
            // In a box: a future that asks Redis has several KiB, for which every request would keep room.
            Self::Redis(gate) => Box::pin(gate.charge_and_claim(credential, used, cost, now)).await,
        }
    }

    async fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        match self {
            Self::Memory(gate) => gate.charge_unsigned(credential, from, cost).await,
            Self::Redis(gate) => {
                Box::pin(Gate::charge_unsigned(&**gate, credential, from, cost)).await
            }
        }
    }
}

impl Readiness for ServiceGate {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(gate) => gate.ready_at(now).await,
            Self::Redis(gate) => gate.ready_at(now).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use countersign::{KeyId, PrivateKey, ProvenKey};
    use countersign_store::{KeyStore as _, NewCredential, RegistryOptions};

    use super::*;

    #[tokio::test]
    async fn a_request_has_little_room_for_what_it_asks_the_stores() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Arc::new(RegistryOptions::new().open_or_create(&url).await.unwrap());
        let (private, now) = (PrivateKey::ed25519(&[7; 32]), system_time());
        registry.add_application("shop", "live", now).await.unwrap();
        let proven = ProvenKey::from(&private);
        let new = NewCredential::new("shop", "test", &proven);
        registry.add_credential(new, now).await.unwrap();
        let id = KeyId::Publishable(private.publishable_key());
        let credential = registry.find(&id, now).await.unwrap().unwrap();
        let (window, file) = (Window::default(), folder.path().join("nonces"));
        let nonces = SavedNonces::resume(window, Arc::clone(&registry), file).await.unwrap();
        let limits = LimitSettings {
            signed: Vec::new(),
            unsigned: Vec::new(),
            unsigned_by_address: Vec::new(),
            failures: Vec::new(),
            content_bytes: NonZeroU64::MIN,
        };
        let gate = Guard::Memory(nonces).gate(&limits).await.unwrap();
        let used = NonceUse::new(1, now, countersign::Nonce::from_random([1; 16]));
        let sizes = [
            size_of_val(&registry.find(&id, now)),
            size_of_val(&gate.charge_unsigned(&credential, None, NonZeroU32::MIN)),
            size_of_val(&gate.charge_and_claim(&credential, &used, NonZeroU32::MIN, now)),
        ];
        assert!(sizes.iter().all(|&size| size < 1_000), "{sizes:?}");
    }
}
