use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign::{KeyId, Timestamp, VerifyingKey};

use crate::Credential;

/// How long an answer is believed: a revocation takes effect everywhere within this.
const BELIEVED: Duration = Duration::from_secs(5);

/// Answers of the registry, prepared for use. Known and unknown keys are kept apart, so that a flood of unknown ones
/// pushes out no known one.
#[derive(Debug)]
pub(super) struct Cache {
    known: quick_cache::sync::Cache<KeyId, (Arc<Credential>, Timestamp)>,
    unknown: quick_cache::sync::Cache<KeyId, Timestamp>,
    /// How often something was forgotten.
    generation: AtomicU64,
    changing: Mutex<()>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            known: quick_cache::sync::Cache::new(100_000),
            unknown: quick_cache::sync::Cache::new(10_000),
            generation: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }
}

impl Cache {
    /// The answer, if one is remembered that is young enough.
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Option<Option<Arc<Credential>>> {
        // An answer from the future is one from before the clock was set back, of unknown age.
        let young = |at: Timestamp| now.since(at).is_some_and(|age| age < BELIEVED);
        if let Some((credential, at)) = self.known.get(id) {
            return young(at).then_some(Some(credential));
        }
        self.unknown.get(id).filter(|&at| young(at)).map(|_| None)
    }

    /// To be asked before the database is.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Remembers an answer, unless something was forgotten since it was asked for: it may be from before that change.
    pub(super) fn put(
        &self,
        id: &KeyId,
        answer: Option<Arc<Credential>>,
        now: Timestamp,
        generation: u64,
    ) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation() != generation {
            return;
        }
        match answer {
            Some(credential) => {
                self.unknown.remove(id);
                self.known.insert(*id, (credential, now));
            }
            None => {
                self.known.remove(id);
                self.unknown.insert(*id, now);
            }
        }
    }

    /// Forgets what is known of a key.
    pub(super) fn forget(&self, key: &VerifyingKey) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        let thumbprint = key.thumbprint().map(KeyId::Thumbprint);
        for id in [Some(KeyId::Publishable(key.publishable_key())), thumbprint].iter().flatten() {
            self.known.remove(id);
            self.unknown.remove(id);
        }
    }
}
