use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use countersign_store::CredentialId;

/// The least time between two lines about the same subject.
const PAUSE: Duration = Duration::from_secs(10);
/// How many credentials can have a pace of their own at a time.
const MOST_CREDENTIALS: usize = 256;

/// Limits the log to one line of each kind in 10 s, so that strangers cannot fill it.
///
/// Each credential has a pace of its own, so that requests with one key do not hide a line about another key. Beyond 256
/// credentials in 10 s, all others share a single pace.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<HashMap<Subject, Pace>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject {
    kind: &'static str,
    credential: Option<CredentialId>,
}

#[derive(Debug)]
struct Pace {
    next: Instant,
    held_back: u64,
}

impl LogPace {
    /// Returns the number of lines of this kind about this credential that were held back since the last line, if a line is due.
    pub(crate) fn due(&self, kind: &'static str, credential: Option<CredentialId>) -> Option<u64> {
        self.due_at(Subject { kind, credential }, Instant::now())
    }

    fn due_at(&self, mut subject: Subject, now: Instant) -> Option<u64> {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if subject.credential.is_some() && !paces.contains_key(&subject) {
            let is_full = |paces: &HashMap<Subject, Pace>| {
                paces.keys().filter(|subject| subject.credential.is_some()).count()
                    >= MOST_CREDENTIALS
            };
            if is_full(&paces) {
                paces.retain(|subject, pace| subject.credential.is_none() || now < pace.next);
            }
            if is_full(&paces) {
                subject.credential = None;
            }
        }
        let pace = paces.entry(subject).or_insert(Pace { next: now, held_back: 0 });
        if now < pace.next {
            pace.held_back = pace.held_back.saturating_add(1);
            return None;
        }
        pace.next = now.checked_add(PAUSE).unwrap_or(now);
        Some(std::mem::take(&mut pace.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_one_line_in_10_s_is_let_through_and_the_others_are_counted() {
        let pace = LogPace::default();
        let start = Instant::now();
        let due = |kind, seconds| {
            pace.due_at(Subject { kind, credential: None }, start + Duration::from_secs(seconds))
        };
        assert_eq!(due("one", 0), Some(0));
        for second in 0..10 {
            assert_eq!(due("one", second), None);
        }
        assert_eq!(due("other", 9), Some(0));
        assert_eq!(due("one", 10), Some(10));
        assert_eq!(due("one", 19), None);
        assert_eq!(due("other", 19), Some(0));
    }

    #[test]
    fn each_credential_has_a_pace_of_its_own_up_to_a_bound() {
        let pace = LogPace::default();
        let start = Instant::now();
        let due = |credential, seconds| {
            let credential = Some(CredentialId::new(credential));
            pace.due_at(Subject { kind: "one", credential }, start + Duration::from_secs(seconds))
        };
        let most = i64::try_from(MOST_CREDENTIALS).unwrap();
        for credential in 0..most {
            assert_eq!(due(credential, 0), Some(0));
            assert_eq!(due(credential, 1), None);
        }
        assert_eq!(due(most, 1), Some(0), "the first of all others");
        for credential in most..2 * most {
            assert_eq!(due(credential, 2), None);
        }
        assert!(pace.0.lock().unwrap().len() <= MOST_CREDENTIALS + 1);
        assert_eq!(due(2 * most, 10), Some(0), "there is room again");
        assert_eq!(due(0, 10), Some(0));
    }
}
