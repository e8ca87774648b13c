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
            Self::Redis(gate) => gate.charge_and_claim(credential, used, cost, now).await,
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
            Self::Redis(gate) => Gate::charge_unsigned(&**gate, credential, from, cost).await,
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
