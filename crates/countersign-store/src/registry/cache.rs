use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{KeyId, Timestamp};

use super::audit::ActSubject;
use crate::credential::Credential;

/// How long an entry lives: a revocation takes effect everywhere within this.
const LIFETIME: Duration = Duration::from_secs(5);

/// Credentials as they were looked up in the database. Known and unknown keys are kept apart, so that a flood of unknown ones
/// pushes out no known one.
#[derive(Debug)]
pub(super) struct Cache {
    known: quick_cache::sync::Cache<KeyId, (Arc<Credential>, LookedUpAt)>,
    unknown: quick_cache::sync::Cache<KeyId, LookedUpAt>,
    /// How often an entry was removed.
    generation: AtomicU64,
    writes: Mutex<()>,
}

/// When a key was looked up, by the caller's clock and by a monotonic clock.
#[derive(Clone, Copy, Debug)]
struct LookedUpAt {
    at: Timestamp,
    instant: Instant,
}

impl LookedUpAt {
    /// Whether both clocks say so: one that was set back would prolong an entry's life, one that a test moves shortens it.
    fn is_young(self, now: Timestamp) -> bool {
        // An entry from the future is one from before the clock was set back, of unknown age.
        now.since(self.at).is_some_and(|age| age < LIFETIME) && self.instant.elapsed() < LIFETIME
    }
}

/// A lookup in the database whose result may be kept.
#[derive(Debug)]
pub(super) struct Lookup {
    at: LookedUpAt,
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

/// Removes what a change concerns when it is dropped: also if the change fails half-way.
#[derive(Debug)]
pub(super) struct Invalidation<'c> {
    cache: &'c Cache,
    subject: ActSubject,
}

impl Drop for Invalidation<'_> {
    fn drop(&mut self) {
        self.cache.remove(&self.subject);
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            known: quick_cache::sync::Cache::new(100_000),
            unknown: quick_cache::sync::Cache::new(10_000),
            generation: AtomicU64::new(0),
            writes: Mutex::new(()),
        }
    }
}

impl Cache {
    /// The entry of a key.
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Cached {
        if let Some((credential, looked_up)) = self.known.get(id) {
            return if looked_up.is_young(now) {
                Cached::Credential(credential)
            } else {
                Cached::Missing
            };
        }
        match self.unknown.get(id) {
            Some(looked_up) if looked_up.is_young(now) => Cached::Unknown,
            _ => Cached::Missing,
        }
    }

    /// Begins a lookup: call it before the database is asked.
    pub(super) fn lookup(&self, now: Timestamp) -> Lookup {
        let at = LookedUpAt { at: now, instant: Instant::now() };
        Lookup { at, generation: self.generation.load(Ordering::Acquire) }
    }

    /// Keeps the result of a lookup, unless an entry was removed since it began: the result may be from before that change.
    pub(super) fn put(&self, id: &KeyId, found: Option<Arc<Credential>>, lookup: Lookup) {
        let _write = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != lookup.generation {
            return;
        }
        match found {
            Some(credential) => {
                self.unknown.remove(id);
                self.known.insert(*id, (credential, lookup.at));
            }
            None => {
                self.known.remove(id);
                self.unknown.insert(*id, lookup.at);
            }
        }
    }

    /// To be held while a change is made in the database.
    pub(super) fn invalidate_on_drop(&self, subject: &ActSubject) -> Invalidation<'_> {
        Invalidation { cache: self, subject: subject.clone() }
    }

    /// Removes the entries that a change concerns: of a key by both of its names, if this is the one from which the other
    /// follows; of an application all its keys.
    pub(super) fn remove(&self, subject: &ActSubject) {
        let _write = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        match (subject.key, &subject.application) {
            (Some(id), _) => {
                let thumbprint = match id {
                    KeyId::Publishable(key) => key.thumbprint().map(KeyId::Thumbprint),
                    KeyId::Thumbprint(_) => None,
                };
                for id in [Some(id), thumbprint].iter().flatten() {
                    self.known.remove(id);
                    self.unknown.remove(id);
                }
            }
            (None, Some(name)) => {
                self.known.retain(|_, (credential, _)| credential.application.name != *name);
            }
            (None, None) => {
                self.known.clear();
                self.unknown.clear();
            }
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
        // How old it is by the monotonic clock, what the other one says, and whether it is alive.
        let table = [
            (0, 0, true),
            (0, 4, true),
            (4, 4, true),
            (0, 5, false),
            (5, 0, false),
            (5, 5, false),
            (3600, 1, false),
        ];
        for (age, now, is_alive) in table {
            let cache = Cache::default();
            let mut lookup = cache.lookup(at(0));
            let looked_up = lookup.at.instant.checked_sub(Duration::from_secs(age));
            let Some(looked_up) = looked_up else { continue }; // a machine that has only just started
            lookup.at.instant = looked_up;
            cache.put(&id, None, lookup);
            let is_unknown = matches!(cache.get(&id, at(now)), Cached::Unknown);
            assert_eq!(is_unknown, is_alive, "{age} {now}");
        }
    }

    #[test]
    fn a_change_is_not_overtaken_by_an_answer_from_before_it() {
        let key = PublishableKey::ed25519([7; 32]);
        let ids = [KeyId::Publishable(key), KeyId::Thumbprint(key.thumbprint().unwrap())];
        let now = Timestamp::from_unix(1_763_900_000);
        let cache = Cache::default();
        for id in &ids {
            cache.put(id, None, cache.lookup(now));
            assert!(matches!(cache.get(id, now), Cached::Unknown));
        }
        let lookup = cache.lookup(now);
        let subject = ActSubject { application: None, key: Some(KeyId::Publishable(key)) };
        drop(cache.invalidate_on_drop(&subject));
        cache.put(&ids[0], None, lookup);
        for id in &ids {
            assert!(matches!(cache.get(id, now), Cached::Missing), "{id}");
        }
    }
}
