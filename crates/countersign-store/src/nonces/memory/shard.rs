use std::{collections::VecDeque, sync::Arc};

use super::{
    fingerprint::Fingerprint,
    memory_limit::{Grant, MemoryLimit},
    set::{Growth, Set},
    width::Width,
};

/// The number of shards. One shard is the hardest case, and loom can explore no more.
pub(super) const SHARDS: usize = if cfg!(countersign_loom) { 1 } else { 16 };

/// How many buckets on either side of a new bucket predict its number of nonces.
const NEIGHBOURS: u64 = 4;

/// The most buckets that one claim forgets, so that no claim pauses for it.
const AT_ONCE: usize = 4;
/// The tallies have one of this many parts of the memory, so that nonces need not be forgotten to make room for counts.
const OF_TALLIES: usize = 16;

/// A part of the remembered nonces, selected by fingerprint. So the nonces of one credential, too, are spread over all shards.
///
/// A thread that holds its lock looks up, inserts and forgets with no other thread in between.
#[derive(Debug)]
pub(super) struct Shard {
    /// Claims before this second are refused. The mark never falls.
    low_water: u64,
    /// Whether its nonces were taken away.
    is_closed: bool,
    width: Width,
    /// Sorted by number.
    buckets: VecDeque<Bucket>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) number: u64,
    pub(super) fingerprints: Set,
}

/// The outcome of looking a fingerprint up.
#[derive(Debug)]
pub(super) enum LookUp<'a> {
    /// The nonces of the shard were taken away.
    Closed,
    /// The claim is before the mark, given here.
    TooOld(u64),
    Known,
    Unknown(Vacancy<'a>),
}

/// The place for a fingerprint not in the shard. It borrows the shard, so that no other thread can change the shard and the
/// outcome of the look-up stays true.
#[derive(Debug)]
pub(super) struct Vacancy<'a> {
    shard: &'a mut Shard,
    fingerprint: &'a Fingerprint,
    created: u64,
    /// The index of its bucket, or of the place for a new bucket. It is valid until another bucket is forgotten or made.
    place: Result<usize, usize>,
}

/// A vacancy with a free slot.
#[derive(Debug)]
pub(super) struct Room<'a>(Vacancy<'a>);

/// Why a nonce cannot be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// To make room, the mark was raised to this second, which is above the claim.
    TooOld(u64),
    Full,
}

impl Shard {
    pub(super) fn new(low_water: u64, width: Width) -> Self {
        Self::remembered(low_water, width, Vec::new())
    }

    /// Restores a shard. Its buckets are sorted by number.
    pub(super) fn remembered(low_water: u64, width: Width, buckets: Vec<Bucket>) -> Self {
        Self { low_water, is_closed: false, width, buckets: buckets.into() }
    }

    /// Closes the shard, and returns its nonces.
    pub(super) fn close(&mut self) -> Self {
        let closed = Self { is_closed: true, ..Self::new(self.low_water, self.width) };
        std::mem::replace(self, closed)
    }

    pub(super) fn low_water(&self) -> u64 {
        self.low_water
    }

    /// Returns whether its nonces were taken away.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn buckets(&self) -> &VecDeque<Bucket> {
        &self.buckets
    }

    /// Returns the number of nonces.
    pub(super) fn len(&self) -> usize {
        let lengths = self.buckets.iter().map(|bucket| bucket.fingerprints.len());
        lengths.fold(0, usize::saturating_add)
    }

    /// Forgets buckets that lie wholly before `oldest`, a few at a time. After a pause, or after a leap of the clock, later
    /// claims forget the rest.
    #[inline]
    pub(super) fn forget_before(&mut self, oldest: u64) {
        for _ in 0..AT_ONCE {
            let first = self.buckets.front().map(|first| self.width.end(first.number));
            if first.is_none_or(|end| end > oldest) {
                return;
            }
            self.forget_first();
        }
    }

    /// Looks a fingerprint up.
    #[inline]
    pub(super) fn look_up<'a>(
        &'a mut self,
        fingerprint: &'a Fingerprint,
        created: u64,
    ) -> LookUp<'a> {
        if self.is_closed {
            return LookUp::Closed;
        }
        if created < self.low_water {
            return LookUp::TooOld(self.low_water);
        }
        let place = self.place(self.width.number(created));
        let bucket = place.ok().and_then(|place| self.buckets.get(place));
        if bucket.is_some_and(|bucket| bucket.fingerprints.has(fingerprint)) {
            return LookUp::Known;
        }
        LookUp::Unknown(Vacancy { shard: self, fingerprint, created, place })
    }

    /// Returns the index of a bucket, or `Err` with the place for a new bucket.
    #[inline]
    fn place(&self, number: u64) -> Result<usize, usize> {
        let is_at = |place: usize| self.buckets.get(place).is_some_and(|at| at.number == number);
        // Under steady traffic no bucket is missing, and the number gives the index.
        let first = self.buckets.front().map_or(number, |first| first.number);
        match usize::try_from(number.saturating_sub(first)) {
            Ok(place) if is_at(place) => Ok(place),
            _ => self.buckets.binary_search_by_key(&number, |bucket| bucket.number),
        }
    }

    /// Inserts without looking at the mark under the same lock, as a guard must not. A fingerprint in its bucket is still
    /// found, so that only forgetting goes wrong.
    #[cfg(test)]
    #[cfg(countersign_loom)]
    pub(super) fn insert_unseen(
        &mut self,
        fingerprint: &Fingerprint,
        created: u64,
        memory_limit: &Arc<MemoryLimit>,
    ) -> bool {
        let low_water = std::mem::take(&mut self.low_water);
        let filled = match self.look_up(fingerprint, created) {
            LookUp::Unknown(vacancy) => {
                vacancy.make_room(memory_limit, 0).and_then(Room::fill).is_ok()
            }
            LookUp::Known | LookUp::TooOld(_) | LookUp::Closed => false,
        };
        self.low_water = low_water;
        filled
    }

    /// Forgets the first bucket.
    ///
    /// Raises the mark first, and only to the end of this bucket. So after a clock jumped ahead and back, the guard refuses no
    /// more than it forgot.
    fn forget_first(&mut self) {
        if let Some(first) = self.buckets.front() {
            self.low_water = self.low_water.max(self.width.end(first.number));
            self.buckets.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        let bytes = self.buckets.iter().map(|bucket| bucket.fingerprints.bytes());
        bytes.fold(0, usize::saturating_add)
    }

    /// Predicts the number of nonces of a bucket: as many as in the fullest bucket around it.
    fn expected(&self, number: u64) -> usize {
        let around = number.saturating_sub(NEIGHBOURS)..=number.saturating_add(NEIGHBOURS);
        let around = self.buckets.iter().filter(|bucket| around.contains(&bucket.number));
        around.map(|bucket| bucket.fingerprints.len()).max().unwrap_or(0)
    }
}

impl<'a> Vacancy<'a> {
    /// Finds a free slot, or makes one. If no memory is left for it, forgets the oldest buckets that end at or before
    /// `narrowest`.
    #[inline]
    pub(super) fn make_room(
        self,
        memory_limit: &Arc<MemoryLimit>,
        narrowest: u64,
    ) -> Result<Room<'a>, NoRoom> {
        if self.bucket().is_some_and(|bucket| bucket.fingerprints.has_room()) {
            return Ok(Room(self));
        }
        self.grow(memory_limit, narrowest)
    }

    #[cold]
    fn grow(mut self, memory_limit: &Arc<MemoryLimit>, narrowest: u64) -> Result<Room<'a>, NoRoom> {
        let number = self.shard.width.number(self.created);
        let lacks = match self.bucket() {
            Some(bucket) => bucket.fingerprints.lacks(0),
            None => Set::default().lacks(self.shard.expected(number)),
        };
        let Some(growth) = lacks else { return Ok(Room(self)) };
        // Accepts a far smaller index only if there is nothing to forget: many small indexes slow look-ups down.
        let mut part = 4;
        loop {
            let quota =
                memory_limit.limit().saturating_sub(memory_limit.limit() / OF_TALLIES) / SHARDS;
            let left = quota.saturating_sub(self.shard.bytes()).min(memory_limit.left());
            let growth = growth.within(left, part);
            let grant =
                growth.and_then(|growth| Some((growth, memory_limit.take(growth.bytes())?)));
            if let Some((growth, grant)) = grant {
                self.take(growth, grant);
                return Ok(Room(self));
            }
            self = match self.narrow(narrowest) {
                Ok(vacancy) => vacancy,
                Err((vacancy, NoRoom::Full)) if part < usize::MAX => {
                    part = usize::MAX;
                    vacancy
                }
                Err((_, no_room)) => return Err(no_room),
            };
        }
    }

    /// Adds room to the bucket, or makes the bucket with this room.
    fn take(&mut self, growth: Growth, grant: Grant) {
        if let Some(bucket) = self.bucket_mut() {
            return bucket.fingerprints.grow(growth, grant);
        }
        let number = self.shard.width.number(self.created);
        let mut fingerprints = Set::default();
        fingerprints.grow(growth, grant);
        let (Ok(place) | Err(place)) = self.place;
        self.shard.buckets.insert(place, Bucket { number, fingerprints });
        self.place = Ok(place);
    }

    #[inline]
    fn bucket(&self) -> Option<&Bucket> {
        self.shard.buckets.get(self.place.ok()?)
    }

    #[inline]
    fn bucket_mut(&mut self) -> Option<&mut Bucket> {
        self.shard.buckets.get_mut(self.place.ok()?)
    }

    fn narrow(mut self, narrowest: u64) -> Result<Self, (Self, NoRoom)> {
        let first = self.shard.buckets.front().map(|first| self.shard.width.end(first.number));
        if first.is_none_or(|end| end > narrowest) {
            return Err((self, NoRoom::Full));
        }
        self.shard.forget_first();
        self.place = self.shard.place(self.shard.width.number(self.created));
        match self.shard.low_water {
            mark if self.created < mark => Err((self, NoRoom::TooOld(mark))),
            _ => Ok(self),
        }
    }
}

impl Room<'_> {
    /// Forgets the oldest bucket if it ends at or before `narrowest`, to free memory for the tallies.
    pub(super) fn narrow(self, narrowest: u64) -> Result<Self, NoRoom> {
        self.0.narrow(narrowest).map(Room).map_err(|(_, no_room)| no_room)
    }

    /// Remembers the fingerprint.
    #[inline]
    pub(super) fn fill(self) -> Result<(), NoRoom> {
        let Self(mut vacancy) = self;
        let fingerprint = vacancy.fingerprint;
        let bucket = vacancy.bucket_mut().ok_or(NoRoom::Full)?;
        if bucket.fingerprints.insert(fingerprint) { Ok(()) } else { Err(NoRoom::Full) }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use super::*;
    use crate::nonces::memory::{fingerprint::Fingerprint, record::bucket};

    fn shard() -> Shard {
        Shard::new(0, bucket(countersign::Window::default()))
    }

    fn fingerprint(number: u64) -> Fingerprint {
        let hash = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Fingerprint::from((u128::from(hash) << 64) | u128::from(number))
    }

    fn put(
        shard: &mut Shard,
        (number, created): (u64, u64),
        memory_limit: &Arc<MemoryLimit>,
        narrowest: u64,
    ) -> Result<(), NoRoom> {
        let fingerprint = fingerprint(number);
        let LookUp::Unknown(vacancy) = shard.look_up(&fingerprint, created) else { panic!() };
        vacancy.make_room(memory_limit, narrowest)?.fill()
    }

    /// Returns a limit under which a shard that uses `has` bytes has `left` bytes left.
    fn limit(has: usize, left: usize) -> usize {
        let quota = |limit: usize| (limit - limit / OF_TALLIES) / SHARDS;
        let near = (has + left) * SHARDS;
        (near..).find(|&limit| quota(limit) == has + left).unwrap()
    }

    #[test]
    fn a_new_bucket_has_room_for_as_many_as_the_fullest_of_its_neighbours() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        let mut shard = shard();
        for number in 0..500 {
            put(&mut shard, (number, 100), &memory_limit, 0).unwrap();
        }
        for number in 0..10 {
            put(&mut shard, (number, 99), &memory_limit, 0).unwrap();
        }
        let cost = |expected| Set::default().lacks(expected).unwrap().bytes();
        for (created, expected) in [(104, 500), (96, 500), (109, 1), (105, 1), (95, 10)] {
            put(&mut shard, (1, created), &memory_limit, 0).unwrap();
            let bucket = shard.buckets.iter().find(|bucket| bucket.number == created).unwrap();
            assert_eq!(bucket.fingerprints.bytes(), cost(expected), "{created}");
        }
    }

    #[test]
    fn the_last_of_the_memory_holds_an_index_that_is_smaller_than_it_would_be() {
        let memory_limit = MemoryLimit::new(usize::MAX);
        let mut shard = shard();
        let (mut number, mut small) = (0, None);
        while small.is_none() {
            put(&mut shard, (number, 100), &memory_limit, 0).unwrap();
            number += 1;
            let growth = shard.buckets[0].fingerprints.lacks(0);
            small = growth.and_then(|growth| {
                let fits = |left: usize, part| growth.within(left, part).is_some();
                (0..4096).find(|&left| !fits(left, 4) && fits(left, usize::MAX))
            });
        }
        let (had, left) = (shard.len(), small.unwrap());
        memory_limit.set_limit(limit(shard.bytes(), left - 1));
        assert_eq!(put(&mut shard, (number, 100), &memory_limit, 0), Err(NoRoom::Full));
        memory_limit.set_limit(limit(shard.bytes(), left));
        assert_eq!(put(&mut shard, (number, 100), &memory_limit, 0), Ok(()));
        assert_eq!(shard.len(), had + 1);
        assert!(
            shard.bytes() <= (memory_limit.limit() - memory_limit.limit() / OF_TALLIES) / SHARDS
        );
    }

    #[test]
    fn what_would_be_forgotten_for_its_own_room_is_refused() {
        let mut shard = shard();
        let memory_limit = MemoryLimit::new(limit(0, 4096));
        let fill = |shard: &mut Shard, created, narrowest| {
            let mut numbers = 0..1000;
            numbers.find_map(|number| put(shard, (number, created), &memory_limit, narrowest).err())
        };
        // The bucket ends after `narrowest`, so it is kept.
        assert_eq!(fill(&mut shard, 100, 100), Some(NoRoom::Full));
        assert_eq!(shard.low_water(), 0);
        assert_eq!(put(&mut shard, (1000, 100), &memory_limit, 101), Err(NoRoom::TooOld(101)));
        assert_eq!((shard.len(), shard.low_water()), (0, 101));
        assert_eq!(fill(&mut shard, 101, 101), Some(NoRoom::Full));
        assert_eq!(put(&mut shard, (1000, 102), &memory_limit, 102), Ok(()));
        assert_eq!((shard.len(), shard.low_water()), (1, 102));
    }
}
