use countersign::Window;
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{
    fingerprint::scale,
    memory_limit::{Grant, MemoryLimit},
    width::Width,
};

/// Counts the recently accepted nonces of each credential.
///
/// Counts accepted nonces, not remembered nonces: a guard that forgets early, to make room, gives no credential another share.
#[derive(Debug)]
pub(super) struct Tally {
    width: Width,
    /// The count of all credentials in all spans.
    all: usize,
    /// Sorted by number.
    spans: Vec<Span>,
}

/// The counts of some seconds, which are forgotten together.
#[derive(Debug, Default)]
pub(super) struct Span {
    number: u64,
    /// The count of all credentials.
    all: usize,
    by_credential: HashMap<i64, usize, BuildHasherDefault<Spread>>,
    grant: Option<Grant>,
}

impl Tally {
    pub(super) fn new(width: Width) -> Self {
        Self::remembered(width, Vec::new())
    }

    /// Restores a tally. Its spans are sorted by number.
    pub(super) fn remembered(width: Width, spans: Vec<Span>) -> Self {
        let all = spans.iter().fold(0usize, |all, span| all.saturating_add(span.all));
        Self { width, all, spans }
    }

    /// Returns the index of the tally that counts a credential, below `tallies`.
    pub(super) fn of(credential: i64, tallies: usize) -> usize {
        scale(spread(credential), tallies)
    }

    /// Empties the tally, and returns its counts.
    pub(super) fn close(&mut self) -> Self {
        let closed = Self::new(self.width);
        std::mem::replace(self, closed)
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Forgets the spans that lie wholly before `oldest`. If a clock jumps ahead and back, a credential that calls in between
    /// gets its share once more; the remembered nonces stay.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        while self.spans.first().is_some_and(|first| self.width.end(first.number) <= oldest) {
            self.all = self.all.saturating_sub(self.spans.remove(0).all);
        }
    }

    /// Returns whether a credential has had `share` or more nonces accepted, in spans that begin at or before `last`. Later
    /// spans are from before the clock was set back, and can take long to be forgotten.
    ///
    /// Counts up to one span too many: the expired part of the first span.
    pub(super) fn is_used_up(&self, credential: i64, share: usize, last: u64) -> bool {
        // Nearly always all credentials of a tally together have less than one share.
        if self.all < share {
            return false;
        }
        let last = self.width.number(last);
        let spans = self.spans.iter().filter(|span| span.number <= last);
        spans.fold(0usize, |own, span| own.saturating_add(span.count(credential))) >= share
    }

    /// Returns the end of the first span that counts a credential.
    pub(super) fn forgets(&self, credential: i64) -> Option<u64> {
        let first = self.spans.iter().find(|span| span.count(credential) > 0)?;
        Some(self.width.end(first.number))
    }

    /// Counts one nonce. Without memory for it, returns `false` and counts nothing.
    #[must_use]
    pub(super) fn add(
        &mut self,
        credential: i64,
        created: u64,
        memory_limit: &Arc<MemoryLimit>,
    ) -> bool {
        let number = self.width.number(created);
        let added = match self.spans.iter_mut().rfind(|span| span.number == number) {
            Some(span) => span.add(credential, memory_limit),
            None => {
                let mut span = Span { number, ..Span::default() };
                let added = span.add(credential, memory_limit);
                if added {
                    let place = self.spans.partition_point(|span| span.number < number);
                    self.spans.insert(place, span);
                }
                added
            }
        };
        if added {
            self.all = self.all.saturating_add(1);
        }
        added
    }
}

impl Span {
    /// Restores a span, even beyond the memory limit.
    pub(super) fn remembered(
        number: u64,
        counts: impl ExactSizeIterator<Item = (i64, usize)>,
        memory_limit: &Arc<MemoryLimit>,
    ) -> Self {
        let grant = Some(memory_limit.overdraw(bytes_of(counts.len())));
        let by_credential: HashMap<_, _, _> = counts.collect();
        let all = by_credential.values().copied().fold(0, usize::saturating_add);
        Self { number, all, by_credential, grant }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn counts(&self) -> impl ExactSizeIterator<Item = (i64, usize)> {
        self.by_credential.iter().map(|(credential, count)| (*credential, *count))
    }

    fn count(&self, credential: i64) -> usize {
        self.by_credential.get(&credential).copied().unwrap_or(0)
    }

    fn add(&mut self, credential: i64, memory_limit: &Arc<MemoryLimit>) -> bool {
        let is_full = self.by_credential.len() == self.by_credential.capacity();
        if is_full && !self.by_credential.contains_key(&credential) && !self.grow(memory_limit) {
            return false;
        }
        match self.by_credential.entry(credential) {
            Entry::Occupied(mut count) => *count.get_mut() = count.get().saturating_add(1),
            Entry::Vacant(none) => drop(none.insert(1)),
        }
        self.all = self.all.saturating_add(1);
        true
    }

    /// Takes memory for twice as many credentials.
    fn grow(&mut self, memory_limit: &Arc<MemoryLimit>) -> bool {
        let more = self.by_credential.len().max(1);
        let bytes = bytes_of(self.by_credential.len().saturating_add(more));
        let had = self.grant.as_ref().map_or(0, Grant::bytes);
        let Some(grant) = memory_limit.take(bytes.saturating_sub(had)) else { return false };
        match &mut self.grant {
            Some(all) => all.join(grant),
            none => *none = Some(grant),
        }
        self.by_credential.reserve(more);
        true
    }
}

/// Returns the bytes of a map with this many credentials. Seven of eight slots are used, the number of slots is a power of two,
/// and each slot has a byte beside it.
fn bytes_of(credentials: usize) -> usize {
    let slots = credentials.saturating_add(credentials / 7).saturating_add(1);
    let slots = slots.checked_next_power_of_two().unwrap_or(usize::MAX).max(4);
    slots.saturating_mul(17).saturating_add(size_of::<Span>()).saturating_add(48)
}

/// Hashes credential numbers. Mixing is enough, since the registry and not an attacker chooses these numbers.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = spread(i64::from(*byte)) ^ self.0.rotate_left(8);
        }
    }

    fn write_i64(&mut self, credential: i64) {
        self.0 = spread(credential);
    }
}

fn spread(credential: i64) -> u64 {
    let mut hash = credential.cast_unsigned();
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Returns the time from `now` until the counts before `end` are forgotten.
pub(super) fn until_forgotten(end: u64, now: u64, window: Window) -> Duration {
    let forgotten = end.saturating_add(window.lifetime().as_secs());
    Duration::from_secs(forgotten.saturating_sub(now).max(1))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;
    use crate::nonces::memory::record::{TALLIES, span};

    fn tally() -> Tally {
        Tally::new(span(Window::default()))
    }

    /// Returns whether 6,400 numbers are spread over 64 parts as if drawn at random.
    fn are_spread(parts: impl Iterator<Item = usize>) -> bool {
        let mut counts = [0; 64];
        parts.for_each(|part| counts[part] += 1);
        counts.iter().all(|count| (50..150).contains(count))
    }

    #[test]
    fn credentials_are_spread_over_all_tallies_however_they_are_numbered() {
        for step in [1, 2, 64, 1000, 1 << 16, 1 << 32, 1 << 40, -1] {
            let numbers = (0..6400i64).map(|number| number.wrapping_mul(step));
            assert!(are_spread(numbers.map(|number| Tally::of(number, TALLIES))), "{step}");
        }
    }

    #[test]
    fn numbers_are_mixed_as_by_the_finalizer_of_murmur_hash_3() {
        let mixed = [0, 1, 2, -1, 12_345_678_901].map(spread);
        assert_eq!(
            mixed,
            [
                0,
                0xb456_bcfc_34c2_cb2c,
                0x3abf_2a20_6506_83e7,
                0x64b5_720b_4b82_5f21,
                0x691c_3590_dd39_6bb5
            ]
        );
    }

    #[test]
    fn the_hash_of_whatever_is_hashed_is_spread() {
        let hash = BuildHasherDefault::<Spread>::default();
        let numbers = (0..6400i64).map(|number| scale(hash.hash_one(number), 64));
        assert!(are_spread(numbers));
        let texts = (0..6400).map(|number| scale(hash.hash_one(format!("{number}")), 64));
        assert!(are_spread(texts));
    }

    #[test]
    fn a_credential_has_its_share_back_when_its_own_first_span_is_forgotten() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        let mut tally = tally();
        for (credential, created) in [(1, 0), (1, 40), (2, 40), (2, 20)] {
            assert!(tally.add(credential, created, &memory_limit));
        }
        assert_eq!(tally.spans().iter().map(Span::number).collect::<Vec<_>>(), [0, 1, 2]);
        let forgets = [1, 2, 3].map(|credential| tally.forgets(credential));
        assert_eq!(forgets, [Some(16), Some(32), None]);
    }

    #[test]
    fn nothing_is_counted_before_there_is_memory_for_it() {
        let memory_limit = MemoryLimit::new(0);
        let mut tally = tally();
        for credential in 0..1000 {
            let used = memory_limit.used();
            memory_limit.set_limit(used);
            let is_full = !tally.add(credential, 0, &memory_limit);
            memory_limit.set_limit(usize::MAX);
            assert!(!is_full || tally.add(credential, 0, &memory_limit));
            let map = &tally.spans()[0].by_credential;
            assert_eq!(is_full, memory_limit.used() > used, "{credential}");
            assert!(memory_limit.used() >= map.capacity() * 17, "{credential}");
            // A credential that is counted already needs no more memory.
            memory_limit.set_limit(memory_limit.used());
            assert!(tally.add(credential, 0, &memory_limit));
        }
        assert_eq!(tally.all, 2000);
    }

    #[test]
    fn what_a_map_costs_is_neither_understated_nor_doubled() {
        let fixed = size_of::<Span>() + 48;
        for credentials in 1..5000 {
            let map = HashMap::<i64, usize>::with_capacity(credentials);
            let slots = (map.capacity() + 1).next_power_of_two() * 17;
            let cost = bytes_of(credentials);
            assert!((slots..=2 * slots).contains(&(cost - fixed)), "{credentials}: {cost}");
        }
    }
}
