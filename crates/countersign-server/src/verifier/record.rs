//! What a verifier tells usage.

#[cfg(feature = "usage")]
use std::sync::Arc;

use countersign::Timestamp;
#[cfg(feature = "usage")]
use countersign::{KeyId, PublishableKey};
#[cfg(feature = "usage")]
use countersign_store::CredentialId;
use countersign_store::{Gate, KeyStore};
use http::request::Parts;

use super::{Verifier, demand::Demand};
use crate::recording::Recording;
#[cfg(feature = "usage")]
use crate::{BoxFuture, usage::recorder::FindCredential};

#[cfg(feature = "usage")]
impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Begins to record a request, if usage is on and counts its route.
    pub(super) fn record(&self, head: &Parts, demand: &Demand<'_>, now: Timestamp) -> Recording {
        let is_left_out = demand.route.is_some_and(|route| route.uncounted);
        match self.usage.as_ref().filter(|_| !is_left_out) {
            Some(usage) => usage.begin(head, demand.label(), now).into(),
            None => Recording::default(),
        }
    }

    /// Has usage look for credentials here.
    pub(super) fn tell_usage(self: &Arc<Self>) {
        if let Some(usage) = &self.usage {
            let verifier = Arc::downgrade(self);
            usage.find_by(verifier);
        }
    }
}

#[cfg(not(feature = "usage"))]
impl<K: KeyStore, G: Gate> Verifier<K, G> {
    pub(super) fn record(&self, _: &Parts, _: &Demand<'_>, _: Timestamp) -> Recording {
        Recording::default()
    }

    pub(super) const fn tell_usage(&self) {}
}

#[cfg(feature = "usage")]
impl<K: KeyStore, G: Gate> FindCredential for Verifier<K, G> {
    fn find(
        self: Arc<Self>,
        key: PublishableKey,
        now: Timestamp,
    ) -> BoxFuture<Option<CredentialId>> {
        Box::pin(async move {
            let found = self.keys.find(&KeyId::Publishable(key), now).await;
            Some(found.ok()??.id)
        })
    }
}
