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
/// Of all claims of one nonce at most one is fresh, at whatever server. A Redis that lost its memory, was restarted, or is
/// another than before is noticed with the next claim: signatures that it may have known are then refused as too old, and
/// new ones accepted again after 21 s by default. docs/operating.md has what to set in Redis, and what can be lost all
/// the same.
///
/// A claim is one round trip. One that times out may have been spent, and was refused: clients sign anew.
#[derive(Clone, Debug)]
pub struct RedisNonces(Arc<Guard>);

impl RedisNonces {
    /// Joins the guard that others may share already. All its servers have the same window and clock error.
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
