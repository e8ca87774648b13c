use std::sync::Arc;

use countersign::{Claim, NonceUse, Timestamp, Window};

use super::{guard::Guard, server::Redis};
use crate::{
    error::StoreError,
    limits::gate::unlimited,
    nonces::{NonceStore, readiness::Readiness},
};

/// The replay guard of several servers that share a Redis or Valkey.
///
/// At most one claim of a nonce is fresh, over all servers. If Redis lost its memory, was restarted or is another server than
/// before, the next claim notices. The guard then refuses as too old every signature that the old Redis may have known. It
/// accepts new signatures after 21 s by default. `docs/operate/several-servers.md` says how to set up Redis, and which losses remain.
///
/// A claim is one round trip. After a timeout the request is refused, though its nonce may be spent: sign every retry anew.
#[derive(Clone, Debug)]
pub struct RedisNonces(Arc<Guard>);

impl RedisNonces {
    /// Connects to a guard; other servers may use it already. All servers of a guard need the same window and clock error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if Redis cannot be reached, is a replica, may evict keys (`maxmemory-policy` has to be `noeviction`),
    /// or has a clock that differs too much from `now`. The source of the error names the reason and the remedy.
    pub async fn connect(redis: Redis, window: Window, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self(Guard::connect(redis, window, now).await?))
    }

    pub(super) fn of(guard: Arc<Guard>) -> Self {
        Self(guard)
    }
}

impl NonceStore for RedisNonces {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        let outcome = self.0.claim(used, None, now).await?;
        // Without limits there is always a claim.
        outcome.claim.ok_or(StoreError::new("Redis limited what has no limit"))
    }
}

unlimited!(RedisNonces);

/// Takes one round trip. If Redis has lost its mark, makes a new mark, as a claim would.
impl Readiness for RedisNonces {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(self.0.ready_at(now).await?)
    }
}
