use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use countersign::{Claim, KeyId, NonceUse, Timestamp};
use countersign_store::{
    ClientAddress, Credential, Gate, GateVerdict, KeyStore, NoClientAddress, NonceStore,
    StoreError, Verdict,
};

/// A store, and how often it was asked.
#[derive(Debug)]
pub struct Counted<T> {
    store: T,
    asked: Arc<AtomicUsize>,
}

impl<T> Counted<T> {
    /// The store, and the counter that stays with the test.
    pub fn new(store: T) -> (Self, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        (Self { store, asked: Arc::clone(&asked) }, asked)
    }
}

impl<T: NonceStore> NonceStore for Counted<T> {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.store.claim(used, now).await
    }
}

/// Without limits.
impl<T: NonceStore> Gate for Counted<T> {
    async fn charge_and_claim(
        &self,
        _: &Credential,
        used: &NonceUse,
        _: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        Ok(GateVerdict::Claimed(self.claim(used, now).await?, None))
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

impl<T: KeyStore> KeyStore for Counted<T> {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.store.find(id, now).await
    }
}
