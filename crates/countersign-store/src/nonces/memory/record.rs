use std::{sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Timestamp};

use super::{
    fingerprint::Fingerprint,
    memory_limit::MemoryLimit,
    reach::latest,
    shard::{LookUp, NoRoom, SHARDS, Shard},
    sync::{Mutex, lock},
    tally::{Tally, until_forgotten},
    unable::Unable,
    width::Width,
};
use crate::nonces::{Window, fingerprint_key::FingerprintKey};

/// How many tallies there are, so that each has but a few credentials.
pub(super) const TALLIES: usize = if cfg!(countersign_loom) { 1 } else { 64 };
/// However full the guard is: who signed so much more than the skew ago is still served.
const LATENESS: Duration = Duration::from_secs(8);
/// Some 1,200,000 nonces.
pub(super) const MEMORY: usize = 32 << 20;
/// A tenth of them, or less.
const SHARE: usize = 100_000;

/// What was used, and by whom how often. It decides, and waits for nothing but its locks.
pub(super) struct Record {
    window: Window,
    key: FingerprintKey,
    shards: Box<[Alone<Mutex<Shard>>]>,
    /// Locked while a shard is, never the other way round.
    tallies: Box<[Alone<Mutex<Tally>>]>,
    memory_limit: Arc<MemoryLimit>,
    share: usize,
}

/// Alone in its cache lines, so that one who waits for a lock does not slow who works under the next.
#[repr(align(128))]
struct Alone<T>(T);

impl Record {
    /// A record of nothing yet, that cannot vouch for what was before its mark.
    pub(super) fn empty(window: Window, low_water: Timestamp, key: FingerprintKey) -> Self {
        let shard = || Shard::new(low_water.unix(), bucket(window));
        let tally = || Tally::new(span(window));
        let shards = std::iter::repeat_with(shard).take(SHARDS);
        let tallies = std::iter::repeat_with(tally).take(TALLIES);
        Self::of(window, key, shards, tallies, MemoryLimit::new(MEMORY))
    }

    /// A record of these, which belong to the memory limit.
    pub(super) fn of(
        window: Window,
        key: FingerprintKey,
        shards: impl IntoIterator<Item = Shard>,
        tallies: impl IntoIterator<Item = Tally>,
        memory_limit: Arc<MemoryLimit>,
    ) -> Self {
        Self {
            window,
            key,
            shards: shards.into_iter().map(Mutex::new).map(Alone).collect(),
            tallies: tallies.into_iter().map(Mutex::new).map(Alone).collect(),
            memory_limit,
            share: SHARE,
        }
    }

    pub(super) fn memory_limit(&self) -> &MemoryLimit {
        &self.memory_limit
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }

    pub(super) fn set_share(&mut self, nonces: usize) {
        self.share = nonces;
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    pub(super) fn key(&self) -> &FingerprintKey {
        &self.key
    }

    /// How many nonces it has, also those that have expired and are not forgotten yet.
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter().map(|shard| lock(&shard.0).len());
        shards.fold(0, usize::saturating_add)
    }

    /// The first second that is accepted in all of its parts.
    pub(super) fn low_water(&self) -> Result<Timestamp, Unable> {
        let marks = self.shards.iter().map(|shard| {
            let shard = lock(&shard.0);
            if shard.is_closed() { Err(Unable::Ended) } else { Ok(shard.low_water()) }
        });
        let highest = marks.reduce(|one, other| Ok(one?.max(other?)));
        highest.unwrap_or(Err(Unable::Ended)).map(Timestamp::from_unix)
    }

    /// Takes away all it has. Nothing is accepted from here on, and what was accepted before is in what is taken.
    pub(super) fn close(&self) -> (Vec<Shard>, Vec<Tally>) {
        // All shards before the first tally: what was accepted was counted by then.
        let shards = self.shards.iter().map(|shard| lock(&shard.0).close()).collect();
        let tallies = self.tallies.iter().map(|tally| lock(&tally.0).close()).collect();
        (shards, tallies)
    }

    /// Claims a nonce.
    pub(super) fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, Unable> {
        match self.answer(used, now) {
            // Other shards may hold what has long expired, if nobody came there since.
            Err(Unable::Full) => {
                self.forget(now);
                self.answer(used, now)
            }
            answer => answer,
        }
    }

    fn answer(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, Unable> {
        let created = used.created().unix();
        let oldest = self.oldest_live(now);
        let fingerprint = Fingerprint::from(self.key.fingerprint(used));
        // Looking up, inserting and forgetting under one lock leaves no room between them for another's.
        let mut shard = lock(self.shard(fingerprint)?);
        shard.forget_before(oldest);
        let vacancy = match shard.look_up(&fingerprint, created) {
            LookUp::Unknown(vacancy) => vacancy,
            LookUp::Known => return Ok(Claim::Replayed),
            LookUp::TooOld(mark) => return Ok(too_old(mark, now)),
            LookUp::Closed => return Err(Unable::Ended),
        };
        if created < oldest {
            return Ok(too_old(oldest, now));
        }
        if used.created() > latest(self.window, now) {
            return Err(Unable::Ahead);
        }
        let credential = used.credential();
        let mut tally = lock(self.tally(credential)?);
        tally.forget_before(oldest);
        let last = latest(self.window, now).unix();
        if tally.is_used_up(credential, self.share, last) {
            let end = tally.forgets(credential).unwrap_or(created);
            let retry_after = until_forgotten(end, now.unix(), self.window);
            return Ok(Claim::ShareUsedUp { retry_after });
        }
        let narrowest = now.minus(self.window.skew()).minus(LATENESS).unix();
        let filled = vacancy.make_room(&self.memory_limit, narrowest).and_then(|mut room| {
            // Counted first: what is remembered is always counted.
            while !tally.add(credential, created, &self.memory_limit) {
                room = room.narrow(narrowest)?;
            }
            room.fill()
        });
        match filled {
            Ok(()) => Ok(Claim::Fresh),
            Err(NoRoom::TooOld(mark)) => Ok(too_old(mark, now)),
            Err(NoRoom::Full) => Err(Unable::Full),
        }
    }

    fn shard(&self, fingerprint: Fingerprint) -> Result<&Mutex<Shard>, Unable> {
        let shard = self.shards.get(fingerprint.shard(SHARDS));
        shard.map(|shard| &shard.0).ok_or(Unable::Full)
    }

    fn tally(&self, credential: i64) -> Result<&Mutex<Tally>, Unable> {
        let tally = self.tallies.get(Tally::of(credential, TALLIES));
        tally.map(|tally| &tally.0).ok_or(Unable::Full)
    }

    /// The first second whose signatures can still be accepted.
    fn oldest_live(&self, now: Timestamp) -> u64 {
        now.minus(self.window.lifetime()).unix()
    }

    /// Forgets some of what can no longer be accepted, wherever it is.
    fn forget(&self, now: Timestamp) {
        let oldest = self.oldest_live(now);
        self.shards.iter().for_each(|shard| lock(&shard.0).forget_before(oldest));
        self.tallies.iter().for_each(|tally| lock(&tally.0).forget_before(oldest));
    }
}

/// What a shard forgets at a time: 1 s by default. Few nonces together are few bytes to look one up in.
pub(super) fn bucket(window: Window) -> Width {
    Width::part_of(window, 90)
}

/// What a tally forgets at a time: 16 s by default. A share is counted over as much more than a window.
pub(super) fn span(window: Window) -> Width {
    Width::part_of(window, 5)
}

fn too_old(mark: u64, now: Timestamp) -> Claim {
    let retry_after = Timestamp::from_unix(mark).since(now).unwrap_or_default();
    Claim::TooOld { retry_after: retry_after.max(Duration::from_secs(1)) }
}
