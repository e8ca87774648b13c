use std::{mem::size_of, sync::Arc};

use super::{
    fingerprint::{Fingerprint, scale},
    log::Log,
    memory_limit::{Grant, MemoryLimit},
};

/// The fewest slots of an index.
const FEWEST: usize = 8;
/// A set with up to this many slots quadruples when its index is full. A larger set grows by a quarter, then by a half, and
/// then doubles.
const SMALL: usize = 256;
/// The most slots of an index, so that the four bytes of a slot have room for a position and some bits of the hash.
const MOST: usize = 1 << 26;
/// The bytes of a slot.
const SLOT: usize = size_of::<u32>();
/// The bytes of an index beside its slots: its own fields, and the allocator's bookkeeping.
const OVERHEAD: usize = size_of::<Index>() + 16;

/// A set of fingerprints. It grows without a pause, by adding pieces, and is dropped in a few pieces.
///
/// Entries are kept in order of arrival. An index of four bytes a slot holds their positions, and as many bits of each hash as
/// fit. So a look-up of an unknown fingerprint reads the index alone, which is small enough for a processor's cache when the
/// entries are not. An insertion writes beside the entry before.
#[derive(Debug, Default)]
pub(super) struct Set {
    entries: Log,
    /// The last index is the newest; the others are full.
    indexes: Vec<Index>,
    grant: Option<Grant>,
}

/// The room that a set lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// Slots of another index.
    slots: usize,
    /// Bytes of another chunk of entries.
    chunk: usize,
}

impl Set {
    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the memory that it uses, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.grant.as_ref().map_or(0, Grant::bytes)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u128> {
        self.entries.iter()
    }

    /// Returns whether a fingerprint is in the set.
    #[inline]
    pub(super) fn has(&self, fingerprint: &Fingerprint) -> bool {
        self.indexes.iter().rev().any(|index| index.has(fingerprint, &self.entries))
    }

    /// Returns whether one more entry fits.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.indexes.last().is_some_and(Index::has_room) && self.entries.has_room()
    }

    /// Returns the room that is missing for one more entry, or `None` if the entry fits. `expected` predicts the number of
    /// entries: a first index is made for as many.
    pub(super) fn lacks(&self, expected: usize) -> Option<Growth> {
        if self.has_room() {
            return None;
        }
        let has_slot = self.indexes.last().is_some_and(Index::has_room);
        let slots = if has_slot { 0 } else { self.next_slots(expected) };
        let chunk = if self.entries.has_room() { 0 } else { self.entries.next_chunk() };
        Some(Growth { slots, chunk })
    }

    fn next_slots(&self, expected: usize) -> usize {
        let slots =
            self.indexes.iter().fold(0usize, |all, index| all.saturating_add(index.slots.len()));
        let next = match self.indexes.len() {
            0 => slots_for(expected),
            _ if slots <= SMALL => slots.saturating_mul(3),
            1 => slots / 4,
            2 => slots / 2,
            _ => slots,
        };
        next.clamp(FEWEST, MOST)
    }

    /// Adds this room.
    pub(super) fn grow(&mut self, growth: Growth, grant: Grant) {
        if growth.slots > 0 {
            if self.indexes.is_empty() {
                // Most sets need only one index.
                self.indexes.reserve_exact(1);
            }
            self.indexes.push(Index::new(growth.slots, self.entries.len()));
        }
        self.entries.add_chunk();
        match &mut self.grant {
            Some(all) => all.join(grant),
            none => *none = Some(grant),
        }
    }

    /// Inserts a fingerprint that is not in the set. Without room, returns `false` and inserts nothing.
    #[must_use]
    #[inline]
    pub(super) fn insert(&mut self, fingerprint: &Fingerprint) -> bool {
        let Some(index) = self.indexes.last_mut() else { return false };
        if !index.has_room() {
            return false;
        }
        let Some(position) = self.entries.push(fingerprint.bits()) else { return false };
        index.insert(fingerprint.hash(), position)
    }

    /// Restores a set from its fingerprints, even beyond the memory limit.
    pub(super) fn remembered(
        fingerprints: impl ExactSizeIterator<Item = Fingerprint>,
        memory_limit: &Arc<MemoryLimit>,
    ) -> Self {
        let mut set = Self::default();
        let expected = fingerprints.len();
        for fingerprint in fingerprints {
            if let Some(growth) = set.lacks(expected) {
                set.grow(growth, memory_limit.overdraw(growth.bytes()));
            }
            let _has_room = set.insert(&fingerprint);
            debug_assert!(_has_room, "it has what it lacked");
        }
        set
    }
}

impl Growth {
    pub(super) fn bytes(self) -> usize {
        let index = if self.slots == 0 { 0 } else { bytes_of(self.slots) };
        index.saturating_add(self.chunk)
    }

    /// Returns as much of this growth as `bytes` allow. `None` if they do not allow the chunk and one `part`th of the slots.
    pub(super) fn within(self, bytes: usize, part: usize) -> Option<Self> {
        let left = bytes.checked_sub(self.chunk)?;
        if self.slots == 0 {
            return Some(self);
        }
        let slots = self.slots.min(left.saturating_sub(OVERHEAD) / SLOT);
        let enough = self.slots.checked_div(part).unwrap_or(0).max(FEWEST);
        (slots >= enough).then_some(Self { slots, ..self })
    }
}

/// The positions of entries by their hash: open addressing with linear probing.
#[derive(Debug)]
struct Index {
    /// A slot of zero is free. In any other slot the lower bits are the number of an entry, counted from one, and the upper
    /// bits are as many bits of its hash as fit.
    slots: Box<[u32]>,
    number_bits: u32,
    /// The position of its first entry.
    first: usize,
    entries: usize,
    most: usize,
}

impl Index {
    fn new(slots: usize, first: usize) -> Self {
        let most = most_entries(slots);
        let number_bits = usize::BITS.saturating_sub(most.leading_zeros()).min(31);
        Self { slots: vec![0; slots].into(), number_bits, first, entries: 0, most }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.entries < self.most
    }

    #[inline]
    fn has(&self, fingerprint: &Fingerprint, entries: &Log) -> bool {
        let hash = fingerprint.hash();
        let mark = self.mark(hash);
        let start = scale(hash, self.slots.len());
        let Some((before, from)) = self.slots.split_at_checked(start) else { return false };
        for part in [from, before] {
            for &slot in part {
                if slot == 0 {
                    return false;
                }
                if (slot ^ mark) >> self.number_bits == 0 {
                    let number = (slot ^ mark) as usize;
                    let position = self.first.saturating_add(number.saturating_sub(1));
                    if entries.get(position) == Some(fingerprint.bits()) {
                        return true;
                    }
                }
            }
        }
        false
    }

    #[inline]
    fn insert(&mut self, hash: u64, position: usize) -> bool {
        let number = position.saturating_sub(self.first).saturating_add(1);
        let Ok(number) = u32::try_from(number) else { return false };
        let slot = self.mark(hash) | number;
        let start = scale(hash, self.slots.len());
        let Some((before, from)) = self.slots.split_at_mut_checked(start) else { return false };
        let Some(free) = from.iter_mut().chain(before).find(|slot| **slot == 0) else {
            return false;
        };
        *free = slot;
        self.entries = self.entries.saturating_add(1);
        true
    }

    /// Returns the lower bits of a hash, shifted above the number. They do not decide the place in the index.
    fn mark(&self, hash: u64) -> u32 {
        (hash as u32) << self.number_bits
    }
}

/// Returns the bytes of an index with this many slots.
const fn bytes_of(slots: usize) -> usize {
    slots.saturating_mul(SLOT).saturating_add(OVERHEAD)
}

/// Returns the number of slots for this many entries: four of five are used. It is rounded up to a sixteenth, so that the sizes
/// of indexes recur, and a new index takes the place of an old one in memory.
fn slots_for(entries: usize) -> usize {
    let slots = entries.saturating_add(entries / 4).max(FEWEST);
    let grain = (slots.checked_ilog2().map_or(1, |log| 1usize << log) / 16).max(1);
    slots.checked_next_multiple_of(grain).unwrap_or(slots)
}

/// Returns the most entries of an index: above seven of eight slots, probing becomes slow.
const fn most_entries(slots: usize) -> usize {
    slots.saturating_sub(slots / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: u64) -> Fingerprint {
        let hash = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Fingerprint::from((u128::from(hash) << 64) | u128::from(number))
    }

    fn make_room(set: &mut Set, expected: usize, memory_limit: &Arc<MemoryLimit>) -> bool {
        let Some(growth) = set.lacks(expected) else { return true };
        let Some(growth) = growth.within(memory_limit.left(), usize::MAX) else { return false };
        set.grow(growth, memory_limit.take(growth.bytes()).unwrap());
        true
    }

    fn set(expected: usize, entries: u64, memory_limit: &Arc<MemoryLimit>) -> Set {
        let mut set = Set::default();
        for number in 0..entries {
            let fingerprint = fingerprint(number);
            assert!(!set.has(&fingerprint));
            assert!(make_room(&mut set, expected, memory_limit));
            assert!(set.insert(&fingerprint));
            assert!(set.has(&fingerprint));
        }
        set
    }

    #[test]
    fn what_was_put_in_is_found_and_nothing_else_however_it_grew() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        for (expected, most_indexes) in
            [(0, 12), (10_000, 4), (19_000, 2), (20_000, 1), (90_000, 1)]
        {
            let set = set(expected, 20_000, &memory_limit);
            assert!(set.indexes.len() <= most_indexes, "{expected}: {}", set.indexes.len());
            assert_eq!(set.len(), 20_000);
            assert_eq!(set.bytes(), memory_limit.used());
            for number in 0..60_000 {
                assert_eq!(set.has(&fingerprint(number)), number < 20_000, "{expected}");
            }
            assert!(set.iter().eq((0..20_000).map(|number| fingerprint(number).bits())));
            drop(set);
            assert_eq!(memory_limit.used(), 0);
        }
    }

    #[test]
    fn an_index_costs_its_slots_itself_and_what_the_allocator_keeps() {
        assert_eq!(bytes_of(8), 8 * 4 + size_of::<Index>() + 16);
        let large = Set::default().next_slots(usize::MAX);
        assert_eq!(large, 67_108_864, "four bytes have room for a position and some of the hash");
    }

    #[test]
    fn without_room_nothing_is_put_in() {
        let memory_limit = MemoryLimit::new(bytes_of(FEWEST) + 10 * 16);
        let mut set = Set::default();
        assert!(!set.insert(&fingerprint(1)));
        assert!(make_room(&mut set, 1000, &memory_limit));
        for number in 0..4 {
            assert!(make_room(&mut set, 0, &memory_limit) && set.insert(&fingerprint(number)));
        }
        assert!(!make_room(&mut set, 0, &memory_limit) && !set.insert(&fingerprint(4)));
        assert_eq!(set.len(), 4);
        assert!(!set.has(&fingerprint(4)));
    }

    #[test]
    fn steady_traffic_costs_some_21_bytes_an_entry_and_little_traffic_little() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        for (entries, most) in
            [(1, 300.0), (100, 32.0), (1000, 24.0), (10_000, 22.0), (100_000, 22.0)]
        {
            let set = set(entries, entries as u64, &memory_limit);
            let each = set.bytes() as f64 / entries as f64;
            assert!(each <= most, "{entries}: {each}");
        }
    }

    #[test]
    fn a_set_that_outgrows_what_was_expected_grows_by_a_quarter_a_half_and_then_doubles() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        let sizes = |expected, entries| {
            let set = set(expected, entries, &memory_limit);
            set.indexes.iter().map(|index| index.slots.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1000, 1000), [1280]);
        assert_eq!(sizes(1000, 4000), [1280, 320, 800, 2400]);
        // Small sets quadruple first, up to and from 256 slots.
        assert_eq!(sizes(0, 1000), [8, 24, 96, 384, 512, 1024]);
        assert_eq!(sizes(205, 1000), [256, 768, 512]);
        assert_eq!(sizes(210, 290), [272, 68]);
    }

    #[test]
    fn what_was_remembered_is_there_also_beyond_the_budget() {
        let memory_limit = MemoryLimit::new(0);
        for entries in [0, 1, 7, 8, 100, 5000] {
            let numbers: Vec<_> = (0..entries).map(fingerprint).collect();
            let set = Set::remembered(numbers.iter().copied(), &memory_limit);
            assert_eq!(set.len(), numbers.len());
            assert!(numbers.iter().all(|number| set.has(number)));
            assert_eq!(set.bytes(), memory_limit.used());
        }
    }
}
