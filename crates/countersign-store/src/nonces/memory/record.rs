use std::{sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Timestamp, Window};

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
use crate::nonces::fingerprint_key::FingerprintKey;

/// The number of tallies: enough that each counts only a few credentials.
pub(super) const TALLIES: usize = if cfg!(countersign_loom) { 1 } else { 64 };
/// A full guard still accepts signatures that are older than the skew by up to this much.
const LATENESS: Duration = Duration::from_secs(8);
/// The default memory limit, in bytes: room for some 1,200,000 nonces.
pub(super) const MEMORY: usize = 32 << 20;
/// The default share of a credential: at most a tenth of these nonces.
const SHARE: usize = 100_000;

/// The used nonces, and how many of them each credential used. Decides claims, and waits only for its own locks.
pub(super) struct Record {
    window: Window,
    key: FingerprintKey,
    shards: Box<[Alone<Mutex<Shard>>]>,
    /// A thread may lock a tally while it holds a shard's lock, never the other way round.
    tallies: Box<[Alone<Mutex<Tally>>]>,
    memory_limit: Arc<MemoryLimit>,
    share: usize,
}

/// A value alone in its cache lines, so that threads waiting for its lock do not slow the thread that works under the next
/// lock.
#[repr(align(128))]
struct Alone<T>(T);

impl Record {
    /// Makes an empty record, which refuses claims before `low_water`: it cannot vouch for them.
    pub(super) fn empty(window: Window, low_water: Timestamp, key: FingerprintKey) -> Self {
        let shard = || Shard::new(low_water.unix(), bucket(window));
        let tally = || Tally::new(span(window));
        let shards = std::iter::repeat_with(shard).take(SHARDS);
        let tallies = std::iter::repeat_with(tally).take(TALLIES);
        Self::of(window, key, shards, tallies, MemoryLimit::new(MEMORY))
    }

    /// Makes a record of these shards and tallies, whose memory is counted in `memory_limit`.
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

    /// Returns the number of nonces, including expired nonces that are not forgotten yet.
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter().map(|shard| lock(&shard.0).len());
        shards.fold(0, usize::saturating_add)
    }

    /// Returns the first second that every shard accepts.
    pub(super) fn low_water(&self) -> Result<Timestamp, Unable> {
        let marks = self.shards.iter().map(|shard| {
            let shard = lock(&shard.0);
            if shard.is_closed() { Err(Unable::Ended) } else { Ok(shard.low_water()) }
        });
        let highest = marks.reduce(|one, other| Ok(one?.max(other?)));
        highest.unwrap_or(Err(Unable::Ended)).map(Timestamp::from_unix)
    }

    /// Closes the record, and returns its shards and tallies with every nonce accepted so far. Later claims are refused.
    pub(super) fn close(&self) -> (Vec<Shard>, Vec<Tally>) {
        // Closes all shards before the first tally: by then every accepted nonce is counted.
        let shards = self.shards.iter().map(|shard| lock(&shard.0).close()).collect();
        let tallies = self.tallies.iter().map(|tally| lock(&tally.0).close()).collect();
        (shards, tallies)
    }

    /// Claims a nonce.
    pub(super) fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, Unable> {
        match self.decide(used, now) {
            // Other shards may hold nonces that expired long ago, if no claim has reached them since.
            Err(Unable::Full) => {
                self.forget(now);
                self.decide(used, now)
            }
            decided => decided,
        }
    }

    fn decide(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, Unable> {
        let created = used.created().unix();
        let oldest = self.oldest_live(now);
        let fingerprint = Fingerprint::from(self.key.fingerprint(used));
        // One lock for look-up, insertion and forgetting, so that no other thread runs between them.
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
            // Counts first, so that every remembered nonce is counted.
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

    /// Returns the first second whose signatures can still be accepted.
    fn oldest_live(&self, now: Timestamp) -> u64 {
        now.minus(self.window.lifetime()).unix()
    }

    /// Forgets some expired nonces of every shard, and the expired counts of every tally.
    fn forget(&self, now: Timestamp) {
        let oldest = self.oldest_live(now);
        self.shards.iter().for_each(|shard| lock(&shard.0).forget_before(oldest));
        self.tallies.iter().for_each(|tally| lock(&tally.0).forget_before(oldest));
    }
}

/// Returns the width of a shard's bucket, which is forgotten as a whole: 1 s by default. A small bucket has few bytes to
/// search.
pub(super) fn bucket(window: Window) -> Width {
    Width::part_of(window, 90)
}

/// Returns the width of a tally's span, which is forgotten as a whole: 16 s by default. A share is counted over the window and
/// up to one span more.
pub(super) fn span(window: Window) -> Width {
    Width::part_of(window, 5)
}

fn too_old(mark: u64, now: Timestamp) -> Claim {
    let retry_after = Timestamp::from_unix(mark).since(now).unwrap_or_default();
    Claim::TooOld { retry_after: retry_after.max(Duration::from_secs(1)) }
}
