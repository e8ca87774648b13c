use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{Claim, NonceUse, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::{Ceiling, NonceStore, Owner, StoreError, Window};

const SHARDS: usize = 64;
const SHARD_BITS: i64 = 63;
/// Width of a bucket, in seconds of `created`. Buckets are forgotten whole.
const BUCKET: u64 = 8;
/// How far ahead the ceiling is written, so that there is one write every few seconds and not one a request.
const LEAD: Duration = Duration::from_secs(5);

/// The replay guard of one process.
///
/// Of all claims of one nonce at most one is fresh, whatever the clocks do: a claim older than the low-water mark is
/// refused, the mark is raised before anything is forgotten, and it never falls. Nothing live is ever forgotten; when
/// there is no room left, claims are refused.
///
/// It guards one process. Several servers that answer for one origin need a store that they share.
pub struct MemoryNonces<C = Volatile> {
    window: Window,
    shards: Box<[Mutex<Shard>]>,
    live: AtomicUsize,
    capacity: usize,
    share: usize,
    fingerprint_keys: (u64, u64),
    /// What no claim above may be answered before it is raised, in seconds; a copy of what is in `ceiling`.
    reached: AtomicU64,
    /// Held while the ceiling is raised; in it, why that failed the last time.
    raising: tokio::sync::Mutex<Option<Arc<StoreError>>>,
    /// How often raising failed.
    failures: AtomicUsize,
    owner: Owner,
    ceiling: C,
}

/// No ceiling outlives the process, so that a start refuses whatever an earlier process may have accepted.
#[derive(Clone, Copy, Debug)]
pub struct Volatile;

impl Ceiling for Volatile {
    async fn take_over(&self, _: Owner) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn raise(&self, _: Owner, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Default)]
struct Shard {
    /// Claims before this second are refused. It never falls.
    low_water: u64,
    /// By `created / BUCKET`, so that no two times share a bucket by accident.
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    fingerprints: HashSet<u128, BuildHasherDefault<Fold>>,
    by_credential: HashMap<i64, usize>,
}

impl MemoryNonces<Volatile> {
    /// A guard that keeps nothing beyond this process. Signatures made until a little after `now` are refused, since an
    /// earlier process may have accepted them: for the skew of the window, signed requests get `signature-stale`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system has no randomness.
    pub fn volatile(window: Window, now: Timestamp) -> Result<Self, StoreError> {
        let low_water = unaccepted(window, now);
        Self::starting(window, low_water, Timestamp::MAX, Owner::random()?, Volatile)
    }
}

impl<C: Ceiling> MemoryNonces<C> {
    /// A guard whose restarts are exact: what an earlier process may have accepted is refused.
    ///
    /// That is what lies at or below the ceiling. A ceiling that was restored from a backup lies too low, so what could
    /// have been accepted by `now` is refused as well. At the very first start, without a ceiling, nothing is.
    ///
    /// It takes the ceiling over: an earlier guard on it, in whatever process, soon accepts nothing more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be taken over, or the system has no randomness.
    pub async fn durable(window: Window, ceiling: C, now: Timestamp) -> Result<Self, StoreError> {
        let owner = Owner::random()?;
        let Some(reached) = ceiling.take_over(owner).await? else {
            let zero = Timestamp::from_unix(0);
            return Self::starting(window, zero, zero, owner, ceiling);
        };
        let low_water = reached.plus(Duration::from_secs(1)).max(unaccepted(window, now));
        if reached > now.plus(window.skew()).plus(LEAD) {
            tracing::error!(
                until = low_water.unix(),
                "the clock was ahead of what it says now: signed calls are refused until it says `until`, in seconds \
                 since 1970; docs/design.md has what to do, under \"Restarts are exact\""
            );
        }
        Self::starting(window, low_water, reached, owner, ceiling)
    }

    fn starting(
        window: Window,
        low_water: Timestamp,
        reached: Timestamp,
        owner: Owner,
        ceiling: C,
    ) -> Result<Self, StoreError> {
        let random = || {
            getrandom::u64()
                .map_err(|error| StoreError::because("the system has no randomness", error))
        };
        let low_water = low_water.unix();
        let shard = || Mutex::new(Shard { low_water, buckets: BTreeMap::new() });
        Ok(Self {
            window,
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            live: AtomicUsize::new(0),
            capacity: 1_000_000,
            share: 100_000,
            fingerprint_keys: (random()?, random()?),
            reached: AtomicU64::new(reached.unix()),
            raising: tokio::sync::Mutex::new(None),
            failures: AtomicUsize::new(0),
            owner,
            ceiling,
        })
    }

    /// The most nonces that are remembered at a time, at some 40 bytes each. Default: 1,000,000.
    pub fn capacity(mut self, nonces: usize) -> Self {
        self.capacity = nonces;
        self
    }

    /// The most of them that one credential may have, so that none uses up the others' room. Default: 100,000, some
    /// 1,100 requests a second without a pause.
    pub fn share(mut self, nonces: usize) -> Self {
        self.share = nonces;
        self
    }

    fn fingerprint(&self, used: &NonceUse) -> u128 {
        let (key0, key1) = self.fingerprint_keys;
        let mut hasher = SipHasher24::new_with_keys(key0, key1);
        // Fixed lengths first, then the one that varies: two different uses never write the same bytes.
        hasher.write(&used.credential().to_be_bytes());
        hasher.write(&used.created().unix().to_be_bytes());
        hasher.write(used.nonce().as_str().as_bytes());
        hasher.finish128().as_u128()
    }

    /// Makes sure that the ceiling is durably at or above `created` before anything is accepted there.
    async fn reach(&self, created: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        let ceiling = now.plus(self.window.skew()).plus(LEAD);
        if created > ceiling {
            return Err(StoreError::new("the claim is for a time that is still to come"));
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut failure = self.raising.lock().await;
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        // Whoever waited for an attempt shares its outcome: one that fails slowly is not made again by each of them.
        if self.failures.load(Ordering::Acquire) == failures {
            match self.ceiling.raise(self.owner, ceiling).await {
                Ok(()) => {
                    self.reached.store(ceiling.unix(), Ordering::Release);
                    return Ok(());
                }
                Err(error) => {
                    *failure = Some(Arc::new(error));
                    self.failures.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
        let not_raised = "the replay ceiling cannot be raised";
        Err(match &*failure {
            Some(failure) => StoreError::because(not_raised, Arc::clone(failure)),
            None => StoreError::new(not_raised),
        })
    }

    fn insert(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        let created = used.created().unix();
        let fingerprint = self.fingerprint(used);
        // By credential, so that what one has is counted in one place.
        let shard = usize::try_from(used.credential() & SHARD_BITS)
            .ok()
            .and_then(|shard| self.shards.get(shard));
        let shard = shard.ok_or(StoreError::new("the replay guard has no such shard"))?;
        // Checking, inserting and forgetting under one lock leaves no room between them for another's.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.live.fetch_sub(shard.forget_before(self.oldest_live(now)), Ordering::AcqRel);
        if created < shard.low_water {
            let fresh_from = Timestamp::from_unix(shard.low_water);
            let retry_after = fresh_from.since(now).unwrap_or(Duration::from_secs(1));
            return Ok(Claim::TooOld { retry_after });
        }
        let bucket = shard.buckets.get(&(created / BUCKET));
        if bucket.is_some_and(|bucket| bucket.fingerprints.contains(&fingerprint)) {
            return Ok(Claim::Replayed);
        }
        let used_up = |bucket: &Bucket| bucket.by_credential.get(&used.credential()).copied();
        // Not what lies ahead: that is from before the clock was set back, and can take long to be forgotten.
        let last = now.plus(self.window.skew()).unix() / BUCKET;
        let counted = || shard.buckets.range(..=last);
        let own: usize = counted().filter_map(|(_, bucket)| used_up(bucket)).sum();
        if own >= self.share {
            let first = counted().find(|(_, bucket)| used_up(bucket).is_some());
            let first = first.map_or(created, |(at, _)| at.saturating_mul(BUCKET));
            let forgotten = Timestamp::from_unix(first.saturating_add(BUCKET));
            let forgotten = forgotten.plus(self.window.lifetime());
            let retry_after = forgotten.since(now).unwrap_or(Duration::from_secs(1));
            return Ok(Claim::ShareUsedUp { retry_after });
        }
        let room = |live: usize| live.checked_add(1).filter(|&live| live <= self.capacity);
        if self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            return Err(StoreError::new("the replay guard is full"));
        }
        let bucket = shard.buckets.entry(created / BUCKET).or_default();
        bucket.fingerprints.insert(fingerprint);
        let count = bucket.by_credential.entry(used.credential()).or_default();
        *count = count.saturating_add(1);
        Ok(Claim::Fresh)
    }

    /// The first second whose signatures can still be accepted.
    fn oldest_live(&self, now: Timestamp) -> u64 {
        now.minus(self.window.lifetime()).unix()
    }

    /// Forgets what can no longer be accepted, in every shard.
    fn forget(&self, now: Timestamp) {
        let oldest = self.oldest_live(now);
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            self.live.fetch_sub(shard.forget_before(oldest), Ordering::AcqRel);
        }
    }
}

impl Shard {
    /// Drops the buckets that lie wholly before `oldest`, and answers how many nonces they had.
    ///
    /// The mark is raised first, and only to the end of what is dropped: a clock that jumps ahead and back refuses no
    /// more than it made the guard forget.
    fn forget_before(&mut self, oldest: u64) -> usize {
        let mut forgotten = 0usize;
        while let Some(first) = self.buckets.first_entry() {
            let end = first.key().saturating_add(1).saturating_mul(BUCKET);
            if end > oldest {
                break;
            }
            self.low_water = self.low_water.max(end);
            forgotten = forgotten.saturating_add(first.remove().fingerprints.len());
        }
        forgotten
    }
}

/// The first second of which nothing can have been accepted by now, if this clock is right.
fn unaccepted(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(Duration::from_secs(1))
}

impl<C: Ceiling> NonceStore for MemoryNonces<C> {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        self.reach(used.created(), now).await?;
        match self.insert(used, now) {
            // Other shards may hold what has long expired, if nobody came there since.
            Err(_) if self.live.load(Ordering::Acquire) >= self.capacity => {
                self.forget(now);
                self.insert(used, now)
            }
            answer => answer,
        }
    }
}

impl<C> fmt::Debug for MemoryNonces<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNonces")
            .field("window", &self.window)
            .field("live", &self.live)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// A fingerprint is random to whoever does not know its key, so that it needs no second hashing.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 ^= u64::from_le_bytes(word);
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use std::{collections::HashSet, sync::atomic::AtomicBool};

    use countersign::Nonce;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_763_900_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn used(credential: i64, created: u64, nonce: u64) -> NonceUse {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_be_bytes());
        NonceUse::new(credential, at(created), Nonce::from_random(bytes))
    }

    /// A ceiling in memory that outlives guards, and can be made to wait and to fail.
    #[derive(Debug, Default)]
    struct TestCeiling {
        ceiling: Mutex<(Option<Owner>, Option<Timestamp>)>,
        attempts: AtomicUsize,
        fails: AtomicBool,
        /// Attempts wait until this is free.
        gate: tokio::sync::Mutex<()>,
    }

    impl TestCeiling {
        fn at(seconds: u64) -> Arc<Self> {
            let ceiling = Self::default();
            ceiling.ceiling.lock().unwrap().1 = Some(at(seconds));
            Arc::new(ceiling)
        }
    }

    impl Ceiling for TestCeiling {
        async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
            let mut ceiling = self.ceiling.lock().unwrap();
            ceiling.0 = Some(owner);
            Ok(ceiling.1)
        }

        async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            drop(self.gate.lock().await);
            if self.fails.load(Ordering::Relaxed) {
                return Err(StoreError::new("the disk is full"));
            }
            let mut ceiling = self.ceiling.lock().unwrap();
            if ceiling.0 != Some(owner) {
                return Err(StoreError::new("another one has taken over"));
            }
            ceiling.1 = ceiling.1.max(Some(to));
            Ok(())
        }
    }

    async fn durable_at(ceiling: &Arc<TestCeiling>, now: u64) -> MemoryNonces<Arc<TestCeiling>> {
        MemoryNonces::durable(Window::default(), Arc::clone(ceiling), at(now)).await.unwrap()
    }

    async fn durable(ceiling: &Arc<TestCeiling>) -> MemoryNonces<Arc<TestCeiling>> {
        durable_at(ceiling, NOW).await
    }

    #[tokio::test]
    async fn a_nonce_is_fresh_once_per_credential_and_time() {
        let guard = durable(&Arc::default()).await;
        let claim = async |credential, created, nonce| {
            guard.claim(&used(credential, created, nonce), at(NOW)).await.unwrap()
        };
        assert_eq!(claim(1, NOW, 1).await, Claim::Fresh);
        assert_eq!(claim(1, NOW, 1).await, Claim::Replayed);
        assert_eq!(claim(1, NOW, 2).await, Claim::Fresh);
        assert_eq!(claim(1, NOW - 1, 1).await, Claim::Fresh);
        assert_eq!(claim(2, NOW, 1).await, Claim::Fresh);
        assert_eq!(claim(65, NOW, 1).await, Claim::Fresh);
        assert_eq!(claim(2, NOW, 1).await, Claim::Replayed);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_refused_and_not_fresh_again() {
        let guard = durable(&Arc::default()).await;
        let first = used(1, NOW, 1);
        assert_eq!(guard.claim(&first, at(NOW)).await.unwrap(), Claim::Fresh);
        // As long as the signature can pass anywhere, it is remembered.
        assert_eq!(guard.claim(&first, at(NOW + 80)).await.unwrap(), Claim::Replayed);
        let later = guard.claim(&first, at(NOW + 100)).await.unwrap();
        assert!(matches!(later, Claim::TooOld { .. }), "{later:?}");
        // A clock that steps back does not bring it back.
        let back = guard.claim(&first, at(NOW)).await.unwrap();
        assert!(matches!(back, Claim::TooOld { .. }), "{back:?}");
    }

    #[tokio::test]
    async fn a_clock_that_jumps_ahead_and_back_refuses_only_for_a_moment() {
        let guard = durable(&Arc::default()).await;
        assert_eq!(guard.claim(&used(1, NOW, 1), at(NOW)).await.unwrap(), Claim::Fresh);
        let ahead = NOW + 1_000_000;
        assert_eq!(guard.claim(&used(1, ahead, 2), at(ahead)).await.unwrap(), Claim::Fresh);
        assert_eq!(guard.claim(&used(1, NOW + 8, 3), at(NOW + 8)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn a_restart_refuses_what_may_have_been_accepted_and_nothing_else() {
        let ceiling = Arc::default();
        let guard = durable(&ceiling).await;
        assert_eq!(guard.claim(&used(1, NOW + 10, 1), at(NOW)).await.unwrap(), Claim::Fresh);
        drop(guard);
        let guard = durable(&ceiling).await;
        let refused = guard.claim(&used(1, NOW + 10, 1), at(NOW)).await.unwrap();
        assert_eq!(refused, Claim::TooOld { retry_after: Duration::from_secs(16) });
        assert_eq!(guard.claim(&used(1, NOW + 16, 2), at(NOW + 16)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn a_ceiling_from_a_backup_opens_nothing() {
        // The last one written, ones that had been written before, and one of a clock that was ahead.
        let far = NOW + 1000;
        for (ceiling, open_from) in [
            (NOW + 15, NOW + 16),
            (NOW + 11, NOW + 12),
            (NOW + 10, NOW + 11),
            (NOW, NOW + 11),
            (5, NOW + 11),
            (far, far + 1),
        ] {
            let guard = durable(&TestCeiling::at(ceiling)).await;
            let last = guard.claim(&used(1, open_from - 1, 1), at(NOW)).await.unwrap();
            let retry_after = Duration::from_secs(open_from - NOW);
            assert_eq!(last, Claim::TooOld { retry_after }, "{ceiling}");
            let first = guard.claim(&used(1, open_from, 1), at(open_from)).await.unwrap();
            assert_eq!(first, Claim::Fresh, "{ceiling}");
        }
        // At the very first start there is nothing that could have been accepted.
        let guard = durable(&Arc::default()).await;
        assert_eq!(guard.claim(&used(1, NOW - 60, 1), at(NOW)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn a_ceiling_that_is_far_ahead_is_told_once_and_no_other_is() {
        for (ceiling, told) in [(NOW, 0), (NOW + 15, 0), (NOW + 16, 1), (NOW + 1_000_000, 1)] {
            let errors = Arc::new(AtomicUsize::new(0));
            let _listening = tracing::subscriber::set_default(Errors(Arc::clone(&errors)));
            durable(&TestCeiling::at(ceiling)).await;
            assert_eq!(errors.load(Ordering::Relaxed), told, "{ceiling}");
        }
    }

    /// Counts what is logged as an error.
    struct Errors(Arc<AtomicUsize>);

    impl tracing::Subscriber for Errors {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::ERROR
        }

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[tokio::test]
    async fn of_two_guards_on_one_ceiling_the_last_started_goes_on_alone() {
        let ceiling = Arc::default();
        let (old, new) = (durable(&ceiling).await, durable(&ceiling).await);
        let later = used(1, NOW + 20, 1);
        assert!(old.claim(&later, at(NOW + 15)).await.is_err());
        assert_eq!(new.claim(&later, at(NOW + 15)).await.unwrap(), Claim::Fresh);

        // What the old one has room for below the ceiling, the new one refuses.
        let newest = durable_at(&ceiling, NOW + 15).await;
        let below = used(1, NOW + 30, 2);
        assert_eq!(new.claim(&below, at(NOW + 20)).await.unwrap(), Claim::Fresh);
        let refused = newest.claim(&below, at(NOW + 20)).await.unwrap();
        assert!(matches!(refused, Claim::TooOld { .. }), "{refused:?}");
        assert!(new.claim(&used(1, NOW + 31, 3), at(NOW + 31)).await.is_err());
        let fresh = newest.claim(&used(1, NOW + 31, 3), at(NOW + 31)).await.unwrap();
        assert_eq!(fresh, Claim::Fresh);
    }

    #[tokio::test]
    async fn a_volatile_guard_starts_above_what_could_have_been_accepted() {
        let guard = MemoryNonces::volatile(Window::default(), at(NOW)).unwrap();
        let refused = guard.claim(&used(1, NOW + 10, 1), at(NOW)).await.unwrap();
        assert_eq!(refused, Claim::TooOld { retry_after: Duration::from_secs(11) });
        assert_eq!(guard.claim(&used(1, NOW + 11, 1), at(NOW + 11)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn the_ceiling_is_written_every_few_seconds_and_not_for_every_claim() {
        let ceiling = Arc::default();
        let guard = durable(&ceiling).await;
        for second in 0..60 {
            for nonce in 0..10 {
                let claim = guard.claim(&used(1, NOW + second, nonce), at(NOW + second)).await;
                assert_eq!(claim.unwrap(), Claim::Fresh);
            }
        }
        let writes = ceiling.attempts.load(Ordering::Relaxed);
        assert!((1..=12).contains(&writes), "{writes}");
    }

    #[tokio::test]
    async fn a_ceiling_that_cannot_be_written_refuses_and_remembers() {
        let ceiling = Arc::new(TestCeiling::default());
        let guard = durable(&ceiling).await;
        assert_eq!(guard.claim(&used(1, NOW, 1), at(NOW)).await.unwrap(), Claim::Fresh);
        ceiling.fails.store(true, Ordering::Relaxed);
        assert_eq!(guard.claim(&used(1, NOW, 1), at(NOW)).await.unwrap(), Claim::Replayed);
        assert!(guard.claim(&used(1, NOW + 20, 2), at(NOW + 20)).await.is_err());
        ceiling.fails.store(false, Ordering::Relaxed);
        assert_eq!(guard.claim(&used(1, NOW + 20, 2), at(NOW + 20)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn all_who_wait_for_a_write_that_fails_fail_with_it() {
        let ceiling = Arc::new(TestCeiling::default());
        let guard = Arc::new(durable(&ceiling).await);
        ceiling.fails.store(true, Ordering::Relaxed);
        let closed = ceiling.gate.lock().await;
        let claims: Vec<_> = (0..50)
            .map(|nonce| {
                let guard = Arc::clone(&guard);
                tokio::spawn(async move { guard.claim(&used(1, NOW, nonce), at(NOW)).await })
            })
            .collect();
        // On this runtime's one thread, every claim comes to where it waits.
        tokio::task::yield_now().await;
        drop(closed);
        for claim in claims {
            let error = claim.await.unwrap().unwrap_err();
            let reason = std::error::Error::source(&error).unwrap();
            assert_eq!(reason.to_string(), "the disk is full");
        }
        assert_eq!(ceiling.attempts.load(Ordering::Relaxed), 1);
        // Whoever comes later tries again.
        assert!(guard.claim(&used(1, NOW, 1), at(NOW)).await.is_err());
        ceiling.fails.store(false, Ordering::Relaxed);
        assert_eq!(guard.claim(&used(1, NOW, 1), at(NOW)).await.unwrap(), Claim::Fresh);
        assert_eq!(ceiling.attempts.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn no_claim_raises_the_ceiling_far_ahead() {
        let ceiling = Arc::default();
        let guard = durable(&ceiling).await;
        assert!(guard.claim(&used(1, NOW + 1000, 1), at(NOW)).await.is_err());
        assert_eq!(ceiling.ceiling.lock().unwrap().1, None);
    }

    #[tokio::test]
    async fn one_credential_cannot_use_up_the_room_of_another() {
        let guard = durable(&Arc::default()).await.share(100).capacity(1000);
        for nonce in 0..100 {
            assert_eq!(guard.claim(&used(1, NOW, nonce), at(NOW)).await.unwrap(), Claim::Fresh);
        }
        let refused = guard.claim(&used(1, NOW, 100), at(NOW)).await.unwrap();
        let Claim::ShareUsedUp { retry_after } = refused else { panic!("{refused:?}") };
        // In the same shard, and in another.
        assert_eq!(guard.claim(&used(65, NOW, 0), at(NOW)).await.unwrap(), Claim::Fresh);
        assert_eq!(guard.claim(&used(2, NOW, 0), at(NOW)).await.unwrap(), Claim::Fresh);
        let later = NOW + retry_after.as_secs();
        assert_eq!(guard.claim(&used(1, later, 0), at(later)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn what_lies_ahead_of_a_clock_that_was_set_back_is_not_of_the_share() {
        let guard = durable(&Arc::default()).await.share(10);
        let ahead = NOW + 1_000_000;
        for nonce in 0..10 {
            let claim = guard.claim(&used(1, ahead, nonce), at(ahead)).await.unwrap();
            assert_eq!(claim, Claim::Fresh);
        }
        for nonce in 0..10 {
            let claim = guard.claim(&used(1, NOW + 10, nonce), at(NOW)).await.unwrap();
            assert_eq!(claim, Claim::Fresh);
        }
        let refused = guard.claim(&used(1, NOW, 10), at(NOW)).await.unwrap();
        let Claim::ShareUsedUp { retry_after } = refused else { panic!("{refused:?}") };
        assert!(retry_after < Duration::from_secs(120), "{retry_after:?}");
        // It is remembered all the same.
        let again = guard.claim(&used(1, ahead, 1), at(NOW)).await.unwrap();
        assert_eq!(again, Claim::Replayed);
    }

    #[tokio::test]
    async fn a_full_guard_refuses_and_forgets_nothing() {
        let guard = durable(&Arc::default()).await.capacity(10);
        for credential in 0..10 {
            assert_eq!(
                guard.claim(&used(credential, NOW, 1), at(NOW)).await.unwrap(),
                Claim::Fresh
            );
        }
        assert!(guard.claim(&used(11, NOW, 1), at(NOW)).await.is_err());
        for credential in 0..10 {
            let claim = guard.claim(&used(credential, NOW, 1), at(NOW)).await.unwrap();
            assert_eq!(claim, Claim::Replayed);
        }
        // Room comes back when what is there can no longer be accepted, wherever it is.
        let later = NOW + 200;
        assert_eq!(guard.claim(&used(11, later, 1), at(later)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_simultaneous_claims_exactly_one_is_fresh() {
        let guard = Arc::new(durable(&Arc::default()).await);
        for round in 0..500 {
            let tasks: Vec<_> = (0..64)
                .map(|_| {
                    let guard = Arc::clone(&guard);
                    tokio::spawn(async move { guard.claim(&used(1, NOW, round), at(NOW)).await })
                })
                .collect();
            let mut fresh = 0;
            for task in tasks {
                match task.await.unwrap().unwrap() {
                    Claim::Fresh => fresh += 1,
                    claim => assert_eq!(claim, Claim::Replayed),
                }
            }
            assert_eq!(fresh, 1, "round {round}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// By one of the guards that were started, of which all but the last should have ended.
        Claim {
            guard: usize,
            credential: i64,
            ago: i64,
            nonce: u64,
        },
        Clock(i64),
        Start,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (0usize..3, 0i64..3, -12i64..90, 0u64..4).prop_map(
                |(guard, credential, ago, nonce)| Step::Claim { guard, credential, ago, nonce }
            ),
            5 => (-40i64..60).prop_map(Step::Clock),
            1 => (-5000i64..5000).prop_map(Step::Clock),
            1 => Just(Step::Start),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_fresh_twice_whatever_the_clock_and_the_processes_do(
            steps in proptest::collection::vec(step(), 1..300),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let ceiling = Arc::default();
                let start = async |now| durable_at(&ceiling, now).await.capacity(20).share(9);
                let mut guards = vec![start(NOW).await];
                let mut now = NOW;
                let mut accepted = HashSet::new();
                for step in steps {
                    match step {
                        Step::Claim { guard, credential, ago, nonce } => {
                            let guard = guards.iter().rev().nth(guard % guards.len()).unwrap();
                            let created = now.checked_add_signed(-ago).unwrap();
                            let used = used(credential, created, nonce);
                            if let Ok(Claim::Fresh) = guard.claim(&used, at(now)).await {
                                assert!(accepted.insert(used), "{used:?} twice");
                            }
                        }
                        Step::Clock(by) => now = now.saturating_add_signed(by),
                        Step::Start => guards.push(start(now).await),
                    }
                }
            });
        }
    }
}
