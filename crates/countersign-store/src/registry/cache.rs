use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{KeyId, Timestamp};

use super::{audit::act::ActSubject, contact::Contact};
use crate::credential::Credential;

/// The longest use of an entry without a look at its row. The follower reports changes of registries earlier: this limit is for
/// rows that were edited by hand.
const LIFETIME: Duration = Duration::from_secs(60);

/// The age at which a row is read again while its entry is still in use, so that no request waits.
const DUE: Duration = Duration::from_secs(45);

/// Credentials from the database. Known and unknown keys are kept apart, so that a flood of unknown keys evicts no known key.
#[derive(Debug)]
pub(super) struct Cache {
    known: quick_cache::sync::Cache<KeyId, (Arc<Credential>, LookedUpAt)>,
    unknown: quick_cache::sync::Cache<KeyId, LookedUpAt>,
    /// The number of removals.
    generation: AtomicU64,
    writes: Mutex<()>,
    contact: Contact,
}

/// When a key was looked up, by the caller's clock and by a monotonic clock.
#[derive(Clone, Copy, Debug)]
struct LookedUpAt {
    at: Timestamp,
    instant: Instant,
}

impl LookedUpAt {
    /// The larger age of both clocks: a clock that was set back would prolong an entry's life, and a test moves its clock on.
    fn age(self, now: Timestamp, instant: Instant) -> Age {
        // The clock was set back since this entry, so its age is unknown.
        let Some(age) = now.since(self.at) else { return Age::Old };
        match age.max(instant.saturating_duration_since(self.instant)) {
            age if age < DUE => Age::Young,
            age if age < LIFETIME => Age::Due,
            _ => Age::Old,
        }
    }
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Use it.
    Young,
    /// Use it, and read its row again beside.
    Due,
    /// Read its row again, and use it if that fails.
    Old,
}

/// A lookup in the database whose result may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    at: LookedUpAt,
    generation: Generation,
}

impl Lookup {
    pub(super) const fn generation(&self) -> Generation {
        self.generation
    }
}

/// The number of removals so far. A request can take the result of a lookup of its own generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The cache's knowledge of a key.
#[derive(Debug)]
pub(super) enum Cached {
    /// An entry that may be used: the credential of the key, or `None` if no credential has the key.
    Entry(Option<Arc<Credential>>, Age),
    /// No entry, or an entry that was confirmed too long ago.
    Missing,
}

/// Removes the entries of a change on drop: also if the change fails half-way.
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
            contact: Contact::default(),
        }
    }
}

impl Cache {
    /// The time of the last news of the database, which entries depend on.
    pub(super) const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The entry of a key.
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Cached {
        let (found, looked_up) = match self.known.get(id) {
            Some((credential, looked_up)) => (Some(credential), looked_up),
            None => match self.unknown.get(id) {
                Some(looked_up) => (None, looked_up),
                None => return Cached::Missing,
            },
        };
        let instant = Instant::now();
        if !self.contact.covers(looked_up.instant, instant) {
            return Cached::Missing;
        }
        Cached::Entry(found, looked_up.age(now, instant))
    }

    /// The credential as it was last read, however long ago.
    pub(super) fn last_read(&self, id: &KeyId) -> Option<Arc<Credential>> {
        self.known.peek(id).map(|(credential, _)| credential)
    }

    /// Begins a lookup: call it before the database is asked.
    pub(super) fn lookup(&self, now: Timestamp) -> Lookup {
        let at = LookedUpAt { at: now, instant: Instant::now() };
        Lookup { at, generation: Generation(self.generation.load(Ordering::Acquire)) }
    }

    /// Keeps the result of a lookup, unless an entry was removed since it began: the result may be from before that change.
    pub(super) fn put(&self, id: &KeyId, found: Option<Arc<Credential>>, lookup: Lookup) {
        let _write = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != lookup.generation.0 {
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

    /// Removes the entries that a change concerns: of a key by both of its names, of an application all its keys.
    pub(super) fn remove(&self, subject: &ActSubject) {
        let _write = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        match (subject.key, &subject.application) {
            (Some(id @ KeyId::Publishable(key)), _) => {
                let thumbprint = key.thumbprint().map(KeyId::Thumbprint);
                for id in [Some(id), thumbprint].iter().flatten() {
                    self.known.remove(id);
                    self.unknown.remove(id);
                }
            }
            // The publishable key of the row is damaged, but an entry from before the damage has it.
            (Some(KeyId::Thumbprint(thumbprint)), _) => {
                self.known
                    .retain(|_, (credential, _)| credential.key.thumbprint() != Some(thumbprint));
                self.unknown.clear();
            }
            (None, Some(name)) => {
                self.known.retain(|_, (credential, _)| credential.application.name != *name);
                // The application of a credential that counted as unknown, since it is damaged, cannot be told.
                self.unknown.clear();
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
    use countersign::{PrivateKey, PublishableKey};

    use super::*;
    use crate::credential::{CredentialId, application::Application};

    #[test]
    fn an_entry_is_used_for_a_minute_by_both_clocks_and_read_again_before() {
        let id = KeyId::Publishable(PublishableKey::ed25519([7; 32]));
        let at =
            |seconds: u64| Timestamp::from_unix(1_763_900_000).plus(Duration::from_secs(seconds));
        // The age by the monotonic clock, and the time by the caller's clock.
        let table = [
            (0, 0, Age::Young),
            (0, 44, Age::Young),
            (44, 44, Age::Young),
            (0, 45, Age::Due),
            (45, 0, Age::Due),
            (59, 59, Age::Due),
            (0, 60, Age::Old),
            (60, 0, Age::Old),
            (3600, 1, Age::Old),
        ];
        for (age, now, expected) in table {
            let cache = Cache::default();
            cache.contact.set_stale_for(Duration::MAX);
            let mut lookup = cache.lookup(at(0));
            let looked_up = lookup.at.instant.checked_sub(Duration::from_secs(age));
            let Some(looked_up) = looked_up else { continue }; // a machine that has only just started
            lookup.at.instant = looked_up;
            cache.put(&id, None, lookup);
            let found = cache.get(&id, at(now));
            let Cached::Entry(None, found) = found else { panic!("{age} {now}: {found:?}") };
            assert_eq!(found, expected, "{age} {now}");
        }
    }

    #[test]
    fn an_entry_from_the_future_is_read_again() {
        let id = KeyId::Publishable(PublishableKey::ed25519([7; 32]));
        let (before, now) =
            (Timestamp::from_unix(1_763_899_999), Timestamp::from_unix(1_763_900_000));
        let cache = Cache::default();
        cache.put(&id, None, cache.lookup(now));
        assert!(matches!(cache.get(&id, now), Cached::Entry(None, Age::Young)));
        assert!(matches!(cache.get(&id, before), Cached::Entry(None, Age::Old)));
    }

    #[test]
    fn an_entry_that_is_not_confirmed_is_not_used() {
        let id = KeyId::Publishable(PublishableKey::ed25519([7; 32]));
        let now = Timestamp::from_unix(1_763_900_000);
        let cache = Cache::default();
        cache.put(&id, None, cache.lookup(now));
        assert!(matches!(cache.get(&id, now), Cached::Entry(..)));
        cache.contact.set_stale_for(Duration::ZERO);
        assert!(matches!(cache.get(&id, now), Cached::Missing));
    }

    #[test]
    fn a_change_of_a_row_that_is_known_by_its_thumbprint_alone_removes_both_names() {
        let key = PrivateKey::ed25519(&[7; 32]).verifying_key();
        let now = Timestamp::from_unix(1_763_900_000);
        let application = Application::new("shop".parse().unwrap(), "live".parse().unwrap(), now);
        let (publishable, thumbprint) = (key.publishable_key(), key.thumbprint().unwrap());
        let credential = Arc::new(Credential::new(CredentialId::new(1), application, key, now));
        let ids = [KeyId::Publishable(publishable), KeyId::Thumbprint(thumbprint)];
        let cache = Cache::default();
        for id in &ids {
            cache.put(id, Some(Arc::clone(&credential)), cache.lookup(now));
        }
        let key = Some(KeyId::Thumbprint(thumbprint));
        cache.remove(&ActSubject { application: None, key });
        for id in &ids {
            assert!(matches!(cache.get(id, now), Cached::Missing), "{id}");
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
            assert!(matches!(cache.get(id, now), Cached::Entry(None, Age::Young)));
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
