use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use countersign::Timestamp;
use countersign_store::{CallCount, CallKey, EventKind, StoreError, UsageBatch, UsageSink};

/// A sink in memory, which can fail, or not return.
#[derive(Clone, Debug, Default)]
pub struct UsageDesk(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    batches: Mutex<Vec<UsageBatch>>,
    /// The numbers of all batches that were handed over, also of those that it refused.
    offered: Mutex<Vec<u64>>,
    fails: AtomicBool,
    hangs: AtomicBool,
}

impl UsageSink for UsageDesk {
    async fn save(&self, batch: &UsageBatch, _: Timestamp) -> Result<(), StoreError> {
        self.0.offered.lock().unwrap().push(batch.number);
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new("the sink fails, as the test wants it"));
        }
        self.0.batches.lock().unwrap().push(batch.clone());
        Ok(())
    }
}

impl UsageDesk {
    /// The batches that were saved.
    pub fn batches(&self) -> Vec<UsageBatch> {
        self.0.batches.lock().unwrap().clone()
    }

    /// The calls of all batches.
    pub fn calls(&self) -> HashMap<CallKey, CallCount> {
        let mut calls: HashMap<CallKey, CallCount> = HashMap::new();
        for batch in self.batches() {
            for (key, count) in batch.calls {
                let sum = calls.entry(key).or_default();
                sum.calls = sum.calls.saturating_add(count.calls);
                sum.bytes_in = sum.bytes_in.saturating_add(count.bytes_in);
                sum.bytes_out = sum.bytes_out.saturating_add(count.bytes_out);
            }
        }
        calls
    }

    /// The only call that was counted.
    ///
    /// # Panics
    ///
    /// If there are others.
    pub fn only(&self) -> (CallKey, CallCount) {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        let (key, count) = calls.into_iter().next().unwrap();
        assert_eq!(count.calls, 1);
        (key, count)
    }

    /// The events of all batches: credential, kind, detail and count. None of them is ever verified.
    pub fn events(&self) -> Vec<(i64, EventKind, Option<String>, u64)> {
        let batches = self.batches();
        let events = batches.iter().flat_map(|batch| &batch.events);
        let event = events.map(|(key, count)| {
            assert_eq!(count.verified, 0, "{key:?}");
            (key.credential.get(), key.kind, key.detail.as_deref().map(str::to_owned), count.count)
        });
        event.collect()
    }

    /// The numbers of all batches that were handed over, also of those that it refused.
    pub fn offered(&self) -> Vec<u64> {
        self.0.offered.lock().unwrap().clone()
    }

    /// Has it fail from now on, or no longer.
    pub fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }

    /// Has it take whatever it is given and never return, or no longer.
    pub fn hang(&self, hangs: bool) {
        self.0.hangs.store(hangs, Ordering::SeqCst);
    }
}
