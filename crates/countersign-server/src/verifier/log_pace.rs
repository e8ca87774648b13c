use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use countersign_store::CredentialId;

/// The least time between two lines about the same subject.
const PAUSE: Duration = Duration::from_secs(10);
/// The least time between two searches for credentials whose paces can be forgotten.
const SEARCH: Duration = Duration::from_secs(1);
/// How many credentials can have a pace of their own at a time.
const MOST_CREDENTIALS: usize = 256;

/// Limits the log to one line of each kind in 10 s, so that strangers cannot fill it.
///
/// Each credential has a pace of its own, so that requests with one key do not hide a line about another key. Beyond 256
/// credentials in 10 s, all others share a single pace.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<Paces>);

#[derive(Debug, Default)]
struct Paces {
    /// Those of lines about no credential, and about credentials that have none of their own.
    shared: Kinds,
    of_credentials: HashMap<CredentialId, Kinds>,
    next_search: Option<Instant>,
}

/// The pace of each kind of line.
type Kinds = BTreeMap<&'static str, Pace>;

#[derive(Debug)]
struct Pace {
    next: Instant,
    held_back: u64,
}

impl LogPace {
    /// Returns the number of lines of this kind about this credential that were held back since the last line, if a line is due.
    pub(crate) fn due(&self, kind: &'static str, credential: Option<CredentialId>) -> Option<u64> {
        self.due_at(kind, credential, Instant::now())
    }

    fn due_at(
        &self,
        kind: &'static str,
        credential: Option<CredentialId>,
        now: Instant,
    ) -> Option<u64> {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = match credential {
            Some(credential) => paces.of(credential, now),
            None => &mut paces.shared,
        };
        let pace = kinds.entry(kind).or_insert(Pace { next: now, held_back: 0 });
        if now < pace.next {
            pace.held_back = pace.held_back.saturating_add(1);
            return None;
        }
        pace.next = now.checked_add(PAUSE).unwrap_or(now);
        Some(std::mem::take(&mut pace.held_back))
    }
}

impl Paces {
    /// The paces of a credential, or the shared ones where there is no room for it.
    fn of(&mut self, credential: CredentialId, now: Instant) -> &mut Kinds {
        if self.of_credentials.contains_key(&credential) || self.has_room(now) {
            self.of_credentials.entry(credential).or_default()
        } else {
            &mut self.shared
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let is_full = self.of_credentials.len() >= MOST_CREDENTIALS;
        // Strangers can ask for it with each request.
        if is_full && self.next_search.is_none_or(|next| next <= now) {
            self.next_search = now.checked_add(SEARCH);
            self.forget_expired(now);
        }
        self.of_credentials.len() < MOST_CREDENTIALS
    }

    /// Forgets the credentials of which every line is due. The next shared line tells how many of theirs were held back.
    fn forget_expired(&mut self, now: Instant) {
        let is_expired = |kinds: &Kinds| kinds.values().all(|pace| pace.next <= now);
        for (_, kinds) in self.of_credentials.extract_if(|_, kinds| is_expired(kinds)) {
            for (kind, Pace { held_back, .. }) in kinds {
                if held_back > 0 {
                    let pace = self.shared.entry(kind).or_insert(Pace { next: now, held_back: 0 });
                    pace.held_back = pace.held_back.saturating_add(held_back);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: i64 = 256;

    /// The questions of a test, each at a number of milliseconds after the start.
    struct Asked(LogPace, Instant);

    impl Asked {
        fn new() -> Self {
            Self(LogPace::default(), Instant::now())
        }

        fn shared(&self, kind: &'static str, at: u64) -> Option<u64> {
            self.0.due_at(kind, None, self.at(at))
        }

        fn about(&self, credential: i64, kind: &'static str, at: u64) -> Option<u64> {
            let credential = Some(CredentialId::new(credential));
            self.0.due_at(kind, credential, self.at(at))
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.1.checked_add(Duration::from_millis(milliseconds)).unwrap()
        }

        fn credentials(&self) -> usize {
            self.0.0.lock().unwrap().of_credentials.len()
        }
    }

    #[test]
    fn of_each_kind_one_line_in_10_s_is_let_through_and_the_others_are_counted() {
        let asked = Asked::new();
        assert_eq!(asked.shared("one", 0), Some(0));
        for second in 0..10 {
            assert_eq!(asked.shared("one", second * 1000), None);
        }
        assert_eq!(asked.shared("other", 9000), Some(0));
        assert_eq!(asked.shared("one", 10_000), Some(10));
        assert_eq!(asked.shared("one", 19_000), None);
        assert_eq!(asked.shared("other", 19_000), Some(0));
    }

    #[test]
    fn each_credential_has_a_pace_of_its_own_up_to_a_bound() {
        let asked = Asked::new();
        for credential in 0..MOST {
            assert_eq!(asked.about(credential, "one", 0), Some(0));
            assert_eq!(asked.about(credential, "one", 1000), None);
        }
        assert_eq!(asked.about(MOST, "one", 1000), Some(0), "the first of all others");
        for credential in MOST..2 * MOST {
            assert_eq!(asked.about(credential, "one", 2000), None);
        }
        assert_eq!(asked.credentials(), MOST_CREDENTIALS);
        assert_eq!(asked.about(2 * MOST, "one", 10_000), Some(0), "there is room again");
        assert_eq!(asked.about(0, "one", 10_000), Some(0));
    }

    #[test]
    fn the_bound_counts_credentials_however_many_kinds_of_lines_each_has() {
        let asked = Asked::new();
        for credential in 0..MOST {
            for kind in ["revoked", "expired", "ip", "scope", "private key"] {
                assert_eq!(asked.about(credential, kind, 0), Some(0), "{credential} {kind}");
                assert_eq!(asked.about(credential, kind, 1), None, "{credential} {kind}");
            }
        }
        assert_eq!(asked.credentials(), MOST_CREDENTIALS);
    }

    #[test]
    fn what_was_held_back_about_a_credential_that_is_forgotten_is_told_with_the_shared_line() {
        let asked = Asked::new();
        for credential in 0..MOST {
            assert_eq!(asked.about(credential, "one", 0), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(asked.about(0, "one", 1), None);
            assert_eq!(asked.about(1, "one", 1), None);
        }
        // One credential stays: not each of its lines is due.
        assert_eq!(asked.about(2, "other", 9000), Some(0));
        assert_eq!(asked.about(MOST, "one", 10_000), Some(0));
        assert_eq!(asked.credentials(), 2);
        assert_eq!(asked.shared("one", 10_000), Some(6));
        assert_eq!(asked.about(2, "other", 10_000), None);
    }

    #[test]
    fn a_search_for_room_is_made_once_a_second_at_most() {
        let asked = Asked::new();
        for credential in 0..MOST {
            assert_eq!(asked.about(credential, "one", 0), Some(0));
        }
        assert_eq!(asked.about(MOST, "one", 9500), Some(0), "a search that finds nothing");
        for at in [10_000, 10_499] {
            assert_eq!(asked.about(MOST + 1, "one", at), None, "no search before 10,500 ms");
            assert_eq!(asked.credentials(), MOST_CREDENTIALS);
        }
        assert_eq!(asked.about(MOST + 1, "one", 10_500), Some(0));
        assert_eq!(asked.credentials(), 1);
    }
}
