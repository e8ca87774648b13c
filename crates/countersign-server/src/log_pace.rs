use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one line of each kind into the log in 10 s, so that strangers cannot fill it.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<HashMap<&'static str, Kind>>);

#[derive(Debug)]
struct Kind {
    next: Instant,
    held_back: u64,
}

impl LogPace {
    /// How many lines of this kind were held back since the last one, if another one is due.
    pub(crate) fn due(&self, kind: &'static str) -> Option<u64> {
        self.due_at(kind, Instant::now())
    }

    fn due_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(kind).or_insert(Kind { next: now, held_back: 0 });
        if now < kind.next {
            kind.held_back = kind.held_back.saturating_add(1);
            return None;
        }
        kind.next = now.checked_add(PAUSE).unwrap_or(now);
        Some(std::mem::take(&mut kind.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_one_line_in_10_s_is_let_through_and_the_others_are_counted() {
        let pace = LogPace::default();
        let start = Instant::now();
        let due = |kind, seconds| pace.due_at(kind, start + Duration::from_secs(seconds));
        assert_eq!(due("one", 0), Some(0));
        for second in 0..10 {
            assert_eq!(due("one", second), None);
        }
        assert_eq!(due("other", 9), Some(0));
        assert_eq!(due("one", 10), Some(10));
        assert_eq!(due("one", 19), None);
        assert_eq!(due("other", 19), Some(0));
    }
}
