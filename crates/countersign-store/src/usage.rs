//! Usage: who calls what, from where, and what looks like a stolen key.
//!
//! A server counts calls in its memory and hands over what it counted from time to time, as a [`batch::UsageBatch`]. A
//! [`UsageSink`] saves it. The counts are narrow, so that they add up and do not multiply: calls by minute and route, places by
//! hour and network, clients by hour and program.

pub(crate) mod batch;
pub(crate) mod call;
#[cfg(feature = "clickhouse")]
pub(crate) mod clickhouse;
pub(crate) mod client;
pub(crate) mod event;
pub(crate) mod latency;
pub(crate) mod place;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod retention;

use std::sync::Arc;

use countersign::Timestamp;

use self::batch::UsageBatch;
use crate::error::StoreError;

/// Saves what a server counted. A [`Registry`](crate::Registry) is one.
pub trait UsageSink: Send + Sync + 'static {
    /// Saves a batch: all of it or nothing. A batch that was saved before, by server and number, counts once: its first
    /// response may have been lost. What was counted too long ago for the sink to keep, at the time `now`, is left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be told that the batch was saved. The server hands over the same batch later.
    fn save(
        &self,
        batch: &UsageBatch,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<T: UsageSink> UsageSink for Arc<T> {
    async fn save(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        T::save(self, batch, now).await
    }
}

/// Saves a batch in two places, such as a [`Registry`](crate::Registry) for what is asked every day, and ClickHouse for years. A
/// batch counts as saved once both have it.
impl<A: UsageSink, B: UsageSink> UsageSink for (A, B) {
    async fn save(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        let (first, second) = self;
        // Also if the first fails: the second need not wait for it. Each has a batch once, however often it gets it.
        let first = first.save(batch, now).await;
        second.save(batch, now).await?;
        first
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps the numbers of batches, or refuses them.
    #[derive(Clone, Default)]
    struct Desk {
        saved: Arc<Mutex<Vec<u64>>>,
        is_away: bool,
    }

    impl UsageSink for Desk {
        async fn save(&self, batch: &UsageBatch, _: Timestamp) -> Result<(), StoreError> {
            if self.is_away {
                return Err(StoreError::new("away"));
            }
            self.saved.lock().unwrap().push(batch.number);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_pair_of_sinks_has_saved_a_batch_once_both_have() {
        let now = Timestamp::from_unix(1_763_900_000);
        for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
            let desk = |is_away| Desk { is_away, ..Desk::default() };
            let pair = (desk(first), desk(second));
            let saved = pair.save(&UsageBatch::new(1, 7), now).await;
            assert_eq!(saved.is_ok(), !first && !second);
            // Neither waits for the other.
            for desk in [pair.0, pair.1] {
                let expected: &[u64] = if desk.is_away { &[] } else { &[7] };
                assert_eq!(*desk.saved.lock().unwrap(), expected);
            }
        }
    }
}
