use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{KeyId, Timestamp};

use crate::credential::Credential;

/// How long an answer is believed: a revocation takes effect everywhere within this.
const BELIEVED: Duration = Duration::from_secs(5);

/// Answers of the registry, prepared for use. Known and unknown keys are kept apart, so that a flood of unknown ones
/// pushes out no known one.
#[derive(Debug)]
pub(super) struct Cache {
    known: quick_cache::sync::Cache<KeyId, (Arc<Credential>, Asked)>,
    unknown: quick_cache::sync::Cache<KeyId, Asked>,
    /// How often something was forgotten.
    generation: AtomicU64,
    changing: Mutex<()>,
}

/// When an answer was asked for, by the caller's clock and by a monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Timestamp,
    instant: Instant,
}

impl Asked {
    /// Whether both clocks say so: one that was set back would prolong an answer, one that a test moves shortens it.
    fn is_young(self, now: Timestamp) -> bool {
        // An answer from the future is one from before the clock was set back, of unknown age.
        now.since(self.at).is_some_and(|age| age < BELIEVED) && self.instant.elapsed() < BELIEVED
    }
}

/// A question to the database whose answer may be remembered.
#[derive(Debug)]
pub(super) struct Question {
    asked: Asked,
    generation: u64,
}

/// What the cache holds of a key.
#[derive(Debug)]
pub(super) enum Cached {
    /// The credential of the key.
    Credential(Arc<Credential>),
    /// No credential has the key.
    Unknown,
    /// No entry, or one that is too old.
    Missing,
}

/// Forgets a key when it is dropped: also if what changes the key fails half-way, or nobody waits for it any more.
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
    /// The entry of a key.
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Cached {
        if let Some((credential, asked)) = self.known.get(id) {
            return if asked.is_young(now) {
                Cached::Credential(credential)
            } else {
                Cached::Missing
            };
        }
        match self.unknown.get(id) {
            Some(asked) if asked.is_young(now) => Cached::Unknown,
            _ => Cached::Missing,
        }
    }

    /// To be made before the database is asked.
    pub(super) fn question(&self, now: Timestamp) -> Question {
        let asked = Asked { at: now, instant: Instant::now() };
        Question { asked, generation: self.generation.load(Ordering::Acquire) }
    }

    /// Remembers an answer, unless something was forgotten since it was asked for: it may be from before that change.
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

    /// To be held while a key is changed in the database.
    pub(super) const fn changing(&self, id: KeyId) -> Changing<'_> {
        Changing { cache: self, id }
    }

    /// Forgets it by both of its names, if this is the one from which the other follows.
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
        // How old it is by the clock that nobody sets, what the other one says, and whether it is believed.
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
            let is_unknown = matches!(cache.get(&id, at(now)), Cached::Unknown);
            assert_eq!(is_unknown, believed, "{age} {now}");
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
            assert!(matches!(cache.get(id, now), Cached::Unknown));
        }
        let question = cache.question(now);
        drop(cache.changing(KeyId::Publishable(key)));
        cache.put(&ids[0], None, question);
        for id in &ids {
            assert!(matches!(cache.get(id, now), Cached::Missing), "{id}");
        }
    }
}
