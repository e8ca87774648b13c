use std::sync::Arc;

use countersign::{Claim, NonceUse, Timestamp};

use super::{guard::Guard, server::Redis};
use crate::{
    error::StoreError,
    limits::gate::unlimited,
    nonces::{NonceStore, Window, readiness::Readiness},
};

/// The replay guard of several servers, in a Redis or Valkey that they share.
///
/// Of all claims of one nonce at most one is fresh, over all servers. The next claim notices a Redis that lost its memory, was
/// restarted, or is another server than before: the guard then refuses signatures that the old one may have known as too old, and
/// accepts new ones after 21 s by default. `docs/operating.md` says what to set in Redis, and which losses remain.
///
/// A claim is one round trip. After a timeout the request is refused, though its nonce may be spent: clients sign every retry anew.
#[derive(Clone, Debug)]
pub struct RedisNonces(Arc<Guard>);

impl RedisNonces {
    /// Joins a guard that other servers may share already. All its servers need the same window and clock error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if Redis cannot be reached, is a replica, may evict keys (`maxmemory-policy` has to be
    /// `noeviction`), or has a clock that is too far from `now`; its source says which and what to do.
    pub async fn connect(redis: Redis, window: Window, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self(Guard::connect(redis, window, now).await?))
    }

    pub(super) fn of(guard: Arc<Guard>) -> Self {
        Self(guard)
    }
}

impl NonceStore for RedisNonces {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        let answer = self.0.claim(used, None, now).await?;
        // Without limits there is always a claim.
        answer.claim.ok_or(StoreError::new("Redis limited what has no limit"))
    }
}

unlimited!(RedisNonces);

/// One round trip. Where Redis has lost its mark, this makes a new one, as a claim would.
impl Readiness for RedisNonces {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(self.0.ready_at(now).await?)
    }
}
