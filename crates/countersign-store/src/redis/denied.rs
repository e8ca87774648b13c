use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::terms::Charge;

/// Most subjects in the table. Redis is asked about any other subject.
const ROOM: usize = 100_000;
/// Longest time to trust a refusal without asking Redis again: lost or deleted budgets are full again.
const BELIEVED: Duration = Duration::from_secs(10);
/// Shortest time between two sweeps of a full table for expired entries.
const SWEEP: Duration = Duration::from_secs(1);

/// Remembers until when each subject has too little left of a budget, so that Redis need not be asked before.
///
/// A refusal charges nothing, and charges of others only delay the refill. So Redis would refuse again until then, as long as
/// it keeps its counters. A refusal is trusted for 10 s at most.
pub(super) struct Denied<S> {
    table: Mutex<Table<S>>,
}

struct Table<S> {
    subjects: HashMap<S, Denial>,
    next_sweep: Option<Instant>,
}

struct Denial {
    at: Instant,
    until: Instant,
    cost: NonZeroU32,
    charge: Charge,
}

impl Denial {
    fn is_over(&self, now: Instant) -> bool {
        self.until <= now || now.saturating_duration_since(self.at) >= BELIEVED
    }
}

impl<S: Copy + Eq + Hash> Denied<S> {
    /// Returns the refusal that Redis would repeat, if it is known.
    pub(super) fn find(&self, subject: S, cost: NonZeroU32, now: Instant) -> Option<Charge> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let denial = table.subjects.get(&subject)?;
        if denial.is_over(now) {
            table.subjects.remove(&subject);
            return None;
        }
        // A lower cost may fit earlier.
        (cost >= denial.cost).then(|| Charge {
            reset: denial.charge.reset.saturating_sub(now.saturating_duration_since(denial.at)),
            retry_after: Some(denial.until.saturating_duration_since(now)),
            ..denial.charge
        })
    }

    /// Remembers a charge that did not fit.
    pub(super) fn remember(&self, subject: S, cost: NonZeroU32, charge: Charge, now: Instant) {
        let Some(until) = charge.retry_after.and_then(|after| now.checked_add(after)) else {
            return;
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.subjects.len() >= ROOM && table.next_sweep.is_none_or(|sweep| sweep <= now) {
            table.next_sweep = now.checked_add(SWEEP);
            table.subjects.retain(|_, denial| !denial.is_over(now));
        }
        if table.subjects.len() < ROOM {
            table.subjects.insert(subject, Denial { at: now, until, cost, charge });
        }
    }
}

impl<S> Default for Denied<S> {
    fn default() -> Self {
        Self { table: Mutex::new(Table { subjects: HashMap::new(), next_sweep: None }) }
    }
}

impl<S> fmt::Debug for Denied<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denied").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn charge(retry_after: Option<Duration>) -> Charge {
        Charge { quota: 1, remaining: 3, reset: SECOND * 60, retry_after }
    }

    #[test]
    fn who_was_refused_is_refused_as_long_as_that_holds() {
        let (denied, start) = (Denied::default(), Instant::now());
        denied.remember(7, number(5), charge(Some(SECOND * 2)), start);
        let later = start + SECOND;
        let found = denied.find(7, number(5), later).unwrap();
        let expected = Charge { reset: SECOND * 59, ..charge(Some(SECOND)) };
        assert_eq!(found, expected);
        assert_eq!(denied.find(7, number(6), later), Some(expected));
        assert_eq!(denied.find(7, number(4), later), None, "it may fit");
        assert_eq!(denied.find(8, number(5), later), None);
        assert_eq!(denied.find(7, number(5), start + SECOND * 2), None);
        denied.remember(7, number(5), charge(None), start);
        assert_eq!(denied.find(7, number(5), later), None, "what fits is not remembered");
    }

    #[test]
    fn a_long_denial_is_told_whole_and_believed_for_a_while() {
        let (denied, start) = (Denied::default(), Instant::now());
        let hour = SECOND * 3600;
        denied.remember(7, number(1), charge(Some(hour)), start);
        let last = BELIEVED - Duration::from_millis(1);
        let found = denied.find(7, number(1), start + last).unwrap();
        assert_eq!(found.retry_after, Some(hour - last));
        assert_eq!(denied.find(7, number(1), start + BELIEVED), None);
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_over() {
        let (denied, start) = (Denied::default(), Instant::now());
        for subject in 0..ROOM + 10 {
            denied.remember(subject, number(1), charge(Some(SECOND)), start);
        }
        let counted = || denied.table.lock().unwrap().subjects.len();
        assert_eq!(counted(), ROOM);
        assert_eq!(denied.find(ROOM + 5, number(1), start), None);
        denied.remember(ROOM + 5, number(1), charge(Some(SECOND)), start + SECOND * 3);
        assert_eq!(counted(), 1);
    }
}
