use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use countersign::Timestamp;
use countersign_store::{
    CallOutcome, ClientKey, EventKey, PlaceKey, StoreError, UsageBatch, UsageSink,
};

use super::{bounds, recorder::Recorder, tables::Drained};

/// A sink of any type.
pub(super) trait AnySink: Send + Sync {
    fn save<'b>(
        &'b self,
        batch: &'b UsageBatch,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'b>>;
}

impl<S: UsageSink> AnySink for S {
    fn save<'b>(
        &'b self,
        batch: &'b UsageBatch,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'b>> {
        Box::pin(UsageSink::save(self, batch, now))
    }
}

/// Hands over batches in their order. A batch stays here until the sink has said that it is saved.
pub(super) struct Flusher {
    sink: Box<dyn AnySink>,
    /// The random number of this server.
    server: u64,
    /// The number of the last batch.
    number: u64,
    /// What was taken, and when. Kept over a flush that is given up.
    taken: Option<(Taken, Instant)>,
}

enum Taken {
    Drained(Drained),
    Batch(Box<UsageBatch>),
}

impl Flusher {
    pub(super) fn to(sink: impl UsageSink) -> Self {
        // Without randomness: the random keys of hash maps, which the standard library has from elsewhere then.
        let server = getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0));
        Self { sink: Box::new(sink), server, number: 0, taken: None }
    }

    /// Saves what was counted. If a batch is left from before, saves that batch first, and then what was counted since.
    pub(super) async fn flush(&mut self, recorder: &Arc<Recorder>) -> Result<(), StoreError> {
        recorder.resolve().await;
        loop {
            let was_left = self.taken.is_some();
            let saved = self.save_next(recorder).await;
            self.tell(recorder);
            saved?;
            if !was_left {
                return Ok(());
            }
        }
    }

    async fn save_next(&mut self, recorder: &Arc<Recorder>) -> Result<(), StoreError> {
        let (taken, _) = self
            .taken
            .get_or_insert_with(|| (Taken::Drained(recorder.tables.drain()), Instant::now()));
        if let Taken::Drained(_) = taken
            && recorder.agents.has_unread()
        {
            let reader = Arc::clone(recorder);
            // Reading takes longer than a task may take. If it fails, the programs count as unknown.
            drop(tokio::task::spawn_blocking(move || reader.classify()).await);
        }
        if let Taken::Drained(drained) = taken {
            let number = self.number.saturating_add(1);
            let batch =
                batch(UsageBatch::new(self.server, number), std::mem::take(drained), recorder);
            recorder.agents.forget_before(recorder.tables.newest());
            if batch.is_empty() {
                self.taken = None;
                return Ok(());
            }
            self.number = number;
            count_calls(&batch);
            *taken = Taken::Batch(Box::new(batch));
        }
        let Taken::Batch(batch) = taken else { return Ok(()) };
        let saving = self.sink.save(batch, recorder.tables.newest());
        let saving = tokio::time::timeout(bounds::SAVE_TIMEOUT, saving);
        let saved =
            saving.await.unwrap_or(Err(StoreError::new("saving a batch of usage takes too long")));
        let outcome = if saved.is_ok() { "saved" } else { "failed" };
        metrics::counter!("countersign_usage_flushes_total", "outcome" => outcome).increment(1);
        saved?;
        self.taken = None;
        Ok(())
    }

    /// Tells metrics what was lost, and how old what is left is.
    fn tell(&self, recorder: &Recorder) {
        let (overflow, dropped) = recorder.take_lost();
        metrics::counter!("countersign_usage_overflow_total").increment(overflow);
        metrics::counter!("countersign_usage_dropped_total").increment(dropped);
        let age = self.taken.as_ref().map_or(0.0, |(_, taken)| taken.elapsed().as_secs_f64());
        metrics::gauge!("countersign_usage_flush_age_seconds").set(age);
    }
}

impl std::fmt::Debug for Flusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flusher").field("number", &self.number).finish_non_exhaustive()
    }
}

fn batch(mut batch: UsageBatch, drained: Drained, recorder: &Recorder) -> UsageBatch {
    let Drained { calls, places, clients, events } = drained;
    batch.calls = calls;
    for (group, prefix, calls) in places {
        let (hour, credential, access) = (group.hour, group.credential, group.access);
        add(&mut batch.places, PlaceKey { hour, credential, prefix, access }, calls);
    }
    let classes = recorder.agents.classes(clients.iter().map(|(_, agent, _)| *agent));
    for ((group, _, calls), class) in clients.into_iter().zip(classes) {
        let (hour, credential, access) = (group.hour, group.credential, group.access);
        let (platform, product) = (class.platform, class.product);
        add(&mut batch.clients, ClientKey { hour, credential, platform, product, access }, calls);
    }
    for ((credential, event), count) in events {
        let detail = event.restriction.map(|kind| kind.as_str().into());
        batch.events.insert(EventKey { credential, kind: event.kind, detail }, count);
    }
    batch
}

fn add<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u64>, key: K, calls: u64) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(calls);
}

/// Counts the calls of a batch, once.
fn count_calls(batch: &UsageBatch) {
    for (key, count) in &batch.calls {
        let outcome = match key.outcome {
            CallOutcome::Passed => "passed",
            CallOutcome::Refused(code) => code.as_str(),
        };
        let access = match key.access {
            countersign_store::CallAccess::Open => "open",
            countersign_store::CallAccess::Publishable => "publishable",
            countersign_store::CallAccess::Signed => "signed",
        };
        metrics::counter!("countersign_usage_calls_total", "access" => access, "outcome" => outcome)
            .increment(count.calls);
    }
}
