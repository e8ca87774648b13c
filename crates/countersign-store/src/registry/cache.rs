use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{KeyId, Timestamp};

use crate::credential::Credential;

/// How long an entry is used. A revocation takes effect in every process within this time.
const BELIEVED: Duration = Duration::from_secs(5);

/// Recent lookups of the registry: credentials, and unknown keys. Both are kept apart, so that a flood of unknown keys
/// evicts no credential.
#[derive(Debug)]
pub(super) struct Cache {
    known: quick_cache::sync::Cache<KeyId, (Arc<Credential>, Asked)>,
    unknown: quick_cache::sync::Cache<KeyId, Asked>,
    /// Number of invalidations so far.
    generation: AtomicU64,
    changing: Mutex<()>,
}

/// When the registry was asked, by the caller's clock and by a monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Timestamp,
    instant: Instant,
}

impl Asked {
    /// Whether the entry is young by both clocks. The monotonic clock limits the age if the caller's clock is set back; tests
    /// move the caller's clock.
    fn is_young(self, now: Timestamp) -> bool {
        // If the entry is from the future, the clock was set back, and the age is unknown.
        now.since(self.at).is_some_and(|age| age < BELIEVED) && self.instant.elapsed() < BELIEVED
    }
}

/// A lookup in the database whose result may be cached.
#[derive(Debug)]
pub(super) struct Question {
    asked: Asked,
    generation: u64,
}

/// Removes a key from the cache when dropped, also if the change of the key fails or is cancelled.
#[derive(Debug)]
pub(super) struct Changing<'c> {
    cache: &'c Cache,
    id: KeyId,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.cache.forget(self.id);
    }
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
    /// Returns the cached result, if it is young enough: the credential, or `None` for an unknown key.
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Option<Option<Arc<Credential>>> {
        if let Some((credential, asked)) = self.known.get(id) {
            return asked.is_young(now).then_some(Some(credential));
        }
        self.unknown.get(id).filter(|asked| asked.is_young(now)).map(|_| None)
    }

    /// Starts a lookup. Call it before the database is asked.
    pub(super) fn question(&self, now: Timestamp) -> Question {
        let asked = Asked { at: now, instant: Instant::now() };
        Question { asked, generation: self.generation.load(Ordering::Acquire) }
    }

    /// Caches a result, unless a key was invalidated since the lookup began: the result may be from before that change.
    pub(super) fn put(&self, id: &KeyId, answer: Option<Arc<Credential>>, question: Question) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != question.generation {
            return;
        }
        match answer {
            Some(credential) => {
                self.unknown.remove(id);
                self.known.insert(*id, (credential, question.asked));
            }
            None => {
                self.known.remove(id);
                self.unknown.insert(*id, question.asked);
            }
        }
    }

    /// Returns a guard to hold while a key is changed in the database.
    pub(super) const fn changing(&self, id: KeyId) -> Changing<'_> {
        Changing { cache: self, id }
    }

    /// Removes a credential by its id and, if `id` is the publishable key, also by its thumbprint.
    fn forget(&self, id: KeyId) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        let thumbprint = match id {
            KeyId::Publishable(key) => key.thumbprint().map(KeyId::Thumbprint),
            KeyId::Thumbprint(_) => None,
        };
        for id in [Some(id), thumbprint].iter().flatten() {
            self.known.remove(id);
            self.unknown.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign::PublishableKey;

    use super::*;

    #[test]
    fn an_answer_is_believed_for_five_seconds_by_both_clocks() {
        let id = KeyId::Publishable(PublishableKey::ed25519([7; 32]));
        let at =
            |seconds: u64| Timestamp::from_unix(1_763_900_000).plus(Duration::from_secs(seconds));
        // The age by the monotonic clock, the time by the caller's clock, and whether the entry is used.
        let table = [
            (0, 0, true),
            (0, 4, true),
            (4, 4, true),
            (0, 5, false),
            (5, 0, false),
            (5, 5, false),
            (3600, 1, false),
        ];
        for (age, now, believed) in table {
            let cache = Cache::default();
            let mut question = cache.question(at(0));
            let asked = question.asked.instant.checked_sub(Duration::from_secs(age));
            let Some(asked) = asked else { continue }; // a machine that has only just started
            question.asked.instant = asked;
            cache.put(&id, None, question);
            assert_eq!(cache.get(&id, at(now)).is_some(), believed, "{age} {now}");
        }
    }

    #[test]
    fn a_change_is_not_overtaken_by_an_answer_from_before_it() {
        let key = PublishableKey::ed25519([7; 32]);
        let ids = [KeyId::Publishable(key), KeyId::Thumbprint(key.thumbprint().unwrap())];
        let now = Timestamp::from_unix(1_763_900_000);
        let cache = Cache::default();
        for id in &ids {
            cache.put(id, None, cache.question(now));
            assert!(cache.get(id, now).is_some());
        }
        let question = cache.question(now);
        drop(cache.changing(KeyId::Publishable(key)));
        cache.put(&ids[0], None, question);
        for id in &ids {
            assert!(cache.get(id, now).is_none(), "{id}");
        }
    }
}
