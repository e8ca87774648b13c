use std::{num::NonZeroU32, sync::Arc};

use countersign::{Claim, KeyId, NonceUse, Timestamp};
use countersign_store::{
    Ceiling, ClientAddress, Credential, Gate, GateVerdict, KeyStore, NoClientAddress, NonceStore,
    Owner, Readiness, StoreError, Verdict,
};

/// A store that always fails: requests that need it get 503. Unsigned reads pass it as a gate, since [`Gate::charge_unsigned`] cannot
/// fail with a [`StoreError`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FailingStore;

fn failure() -> StoreError {
    StoreError::new("the store fails, as the test wants it")
}

impl KeyStore for FailingStore {
    async fn find(&self, _: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        Err(failure())
    }
}

impl NonceStore for FailingStore {
    async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
        Err(failure())
    }
}

impl Gate for FailingStore {
    async fn charge_and_claim(
        &self,
        _: &Credential,
        _: &NonceUse,
        _: NonZeroU32,
        _: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        Err(failure())
    }

    async fn charge_unsigned(
        &self,
        _: &Credential,
        _: Option<ClientAddress>,
        _: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        Ok(Verdict::Within(None))
    }
}

impl Readiness for FailingStore {
    async fn ready_at(&self, _: Timestamp) -> Result<Timestamp, StoreError> {
        Err(failure())
    }
}

impl Ceiling for FailingStore {
    async fn take_over(&self, _: Owner) -> Result<Option<Timestamp>, StoreError> {
        Err(failure())
    }

    async fn raise(&self, _: Owner, _: Timestamp) -> Result<(), StoreError> {
        Err(failure())
    }
}
