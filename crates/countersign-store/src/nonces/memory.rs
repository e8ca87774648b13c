mod fingerprint;
mod log;
mod memory_limit;
#[cfg(test)]
#[cfg(countersign_loom)]
mod race;
mod reach;
mod record;
mod set;
mod shard;
#[cfg(test)]
mod simulation;
mod snapshot;
mod sync;
mod tally;
mod unable;
mod width;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Timestamp, Window};

use self::{
    memory_limit::MemoryLimit,
    reach::{Reach, farthest, unaccepted},
    record::{MEMORY, Record},
    snapshot::Snapshot,
    unable::Unable,
};
use crate::{
    error::StoreError,
    limits::gate::unlimited,
    nonces::{
        NonceStore,
        ceiling::{Ceiling, Owner},
        fingerprint_key::FingerprintKey,
        readiness::Readiness,
    },
};

/// The replay guard of one process.
///
/// At most one claim of a nonce is fresh, whatever the clocks do: the guard refuses a claim older than the low-water mark,
/// raises the mark before it forgets a nonce, and never lowers it. When its memory is full, it forgets the oldest nonces first,
/// and refuses older claims. It never forgets nonces that honest clocks sign now, and refuses new claims instead.
///
/// Several servers for one origin need a shared store instead.
///
/// Keep the nonces over a restart with [`stop`](Self::stop) and [`resume`](Self::resume):
///
/// ```
/// # async fn run(ceiling: impl countersign_store::Ceiling + Clone, folder: &std::path::Path)
/// # -> Result<(), countersign_store::StoreError> {
/// use countersign::Window;
/// use countersign_store::{MemoryNonces, system_time};
///
/// let file = folder.join("nonces");
/// let nonces = MemoryNonces::resume(Window::default(), ceiling, &file, system_time()).await?;
/// // … until the server is told to stop, and has sent its responses …
/// nonces.stop(&file, system_time()).await?;
/// # Ok(())
/// # }
/// ```
pub struct MemoryNonces<C = Volatile> {
    record: Record,
    reach: Reach<C>,
}

/// The ceiling of a guard without durable state. A start refuses every signature that an earlier process may have accepted.
#[derive(Clone, Copy, Debug)]
pub struct Volatile;

/// Always fails: a guard that takes over or raises a ceiling is not volatile.
impl Ceiling for Volatile {
    async fn take_over(&self, _: Owner) -> Result<Option<Timestamp>, StoreError> {
        Err(StoreError::new("there is no durable ceiling"))
    }

    async fn raise(&self, _: Owner, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::new("there is no durable ceiling"))
    }
}

impl MemoryNonces<Volatile> {
    /// Makes a guard without durable state. For the skew of the window, signed requests get `signature-stale`: an earlier process
    /// may have accepted signatures made by then.
    ///
    /// The guard relies on the clock, which must not have gone back since an earlier process accepted a request.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system has no randomness.
    pub fn volatile(window: Window, now: Timestamp) -> Result<Self, StoreError> {
        let low_water = unaccepted(window, now);
        let reach = Reach::new(window, Owner::random()?, Volatile, Timestamp::MAX);
        let key = FingerprintKey::random()?;
        Ok(Self { record: Record::empty(window, low_water, key), reach })
    }
}

impl<C: Ceiling> MemoryNonces<C> {
    /// Makes a guard that refuses every signature an earlier process may have accepted.
    ///
    /// It refuses signatures at or below the ceiling. It also refuses signatures that a process could have accepted by `now`,
    /// since a ceiling from a backup is too low. If the ceiling is certainly new, it refuses neither: with a `Registry`, if
    /// this process made the registry when it opened it.
    ///
    /// The guard takes the ceiling over: an earlier guard on it, in any process, soon accepts no more claims. Call this when
    /// the server's listener is bound, and nothing else can fail.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be taken over, or the system has no randomness.
    pub async fn durable(window: Window, ceiling: C, now: Timestamp) -> Result<Self, StoreError> {
        let owner = Owner::random()?;
        let found = ceiling.take_over(owner).await?;
        let key = FingerprintKey::random()?;
        Ok(Self::after_a_crash(window, ceiling, owner, found, key, now))
    }

    /// Makes a guard that continues a [stopped](Self::stop) guard. It knows the nonces of that guard, so that the restart
    /// refuses no honest request.
    ///
    /// The file works once, and is removed. This is the same as [`durable`](Self::durable) without a file, and with a file that
    /// is damaged, of another window, too old, or older than this ceiling. A file of another program is left alone. If you
    /// restored the ceiling from a backup together with its file, delete the file first.
    ///
    /// The file is read on the calling thread. Call this when the server's listener is bound, and nothing else can fail: a start
    /// that fails later has used up the file, and has taken the ceiling from a running server.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be taken over or raised, or the system has no randomness.
    pub async fn resume(
        window: Window,
        ceiling: C,
        file: &Path,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let owner = Owner::random()?;
        let found = ceiling.take_over(owner).await?;
        let memory_limit = MemoryLimit::new(MEMORY);
        let snapshot = Snapshot::take(file, owner, window, &memory_limit).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, file = %file.display(), "the saved memory of a replay guard cannot be read");
            None
        });
        match snapshot.filter(|snapshot| snapshot.is_current(found, now)) {
            Some(snapshot) => Self::after_a_stop(snapshot, ceiling, owner, memory_limit, now).await,
            None => {
                let key = FingerprintKey::random()?;
                Ok(Self::after_a_crash(window, ceiling, owner, found, key, now))
            }
        }
    }

    /// Makes a guard that remembers every nonce in the snapshot.
    async fn after_a_stop(
        snapshot: Snapshot,
        ceiling: C,
        owner: Owner,
        memory_limit: Arc<MemoryLimit>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let Snapshot { window, reached, key, shards, tallies, .. } = snapshot;
        // After this, no copy of the snapshot fits the ceiling.
        let raised = reached.plus(Duration::from_secs(1)).max(farthest(window, now));
        ceiling.raise(owner, raised).await?;
        Ok(Self {
            record: Record::of(window, key, shards, tallies, memory_limit),
            reach: Reach::new(window, owner, ceiling, raised),
        })
    }

    /// Makes a guard without nonces. It knows only the ceiling that it found.
    fn after_a_crash(
        window: Window,
        ceiling: C,
        owner: Owner,
        found: Option<Timestamp>,
        key: FingerprintKey,
        now: Timestamp,
    ) -> Self {
        let Some(reached) = found else {
            let zero = Timestamp::from_unix(0);
            let reach = Reach::new(window, owner, ceiling, zero);
            return Self { record: Record::empty(window, zero, key), reach };
        };
        let low_water = reached.plus(Duration::from_secs(1)).max(unaccepted(window, now));
        if reached > farthest(window, now) {
            tracing::error!(
                until = low_water.unix(),
                wait = window.lifetime().as_secs(),
                "an earlier run of this server accepted requests by a clock that was ahead of this one: signed requests are refused \
                 until the clock says `until`, in seconds since 1970; if this clock is wrong, stop the server, set the clock and \
                 start it again; if this clock is right, wait, or accept that requests signed ahead of it can be repeated: stop \
                 the server, delete the replay ceiling (`sqlite3 FILE 'DELETE FROM replay_ceiling'` for a registry in FILE), and \
                 start the server after `wait` seconds"
            );
        }
        let reach = Reach::new(window, owner, ceiling, reached);
        Self { record: Record::empty(window, low_water, key), reach }
    }

    /// Ends the guard, and saves its nonces for [`resume`](Self::resume). Later claims are refused, so let the server first
    /// respond to its open requests.
    ///
    /// Writes a new file beside `file` and renames it to `file`, so that the file appears in one step. It has mode 0600 and
    /// some 16 bytes a nonce. The work is done on the calling thread. A file of another program is not overwritten.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the guard has ended before, or the file cannot be written. The guard has ended all the same, and the
    /// next start is as after a crash.
    pub async fn stop(&self, file: &Path, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.end(now).await.ok_or(Unable::Ended)?;
        snapshot.write(file, self.reach.owner()).map_err(|error| {
            StoreError::because("what the replay guard remembers cannot be saved", error)
        })
    }

    /// Ends the guard, and returns its state. `None` if it has ended before.
    async fn end(&self, now: Timestamp) -> Option<Snapshot> {
        // Ends the reach first: the ceiling does not rise after this.
        let reached = self.reach.end().await?;
        let (window, key) = (self.record.window(), self.record.key().clone());
        let (shards, tallies) = self.record.close();
        Some(Snapshot { window, reached, saved_at: now, key, shards, tallies })
    }

    /// Sets the limit of memory for nonces and for the tallies of credentials, in bytes. A guard with many nonces uses 22 to 25
    /// bytes for each. After [`resume`](Self::resume) it uses more than the limit if the saved nonces do. Default: 32 MiB, more
    /// than a million nonces.
    pub fn memory(self, bytes: usize) -> Self {
        self.record.memory_limit().set_limit(bytes);
        self
    }

    /// Sets the most nonces that one credential may have accepted in a window, so that no credential uses up the others' room.
    /// Set at most a fifth of the nonces that fit into memory, or fewer than five callers can fill it. Default: 100,000, some
    /// 1,000 requests a second without a pause.
    pub fn share(mut self, nonces: usize) -> Self {
        self.record.set_share(nonces);
        self
    }

    /// Returns the memory in use, in bytes.
    pub fn used_memory(&self) -> usize {
        self.record.memory_limit().used()
    }

    /// Returns the number of remembered nonces, including expired nonces that are not forgotten yet.
    pub fn remembered(&self) -> usize {
        self.record.len()
    }
}

impl<C: Ceiling> NonceStore for MemoryNonces<C> {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        self.reach.ensure(used.created(), now).await?;
        Ok(self.record.claim(used, now)?)
    }
}

unlimited!(MemoryNonces<C>, C: Ceiling);

/// With a durable ceiling, raises the ceiling once `now` has passed it, as a claim would. So without any request, the check
/// finds that another guard has taken the ceiling over, or that the disk is full.
impl<C: Ceiling> Readiness for MemoryNonces<C> {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let low_water = self.record.low_water()?;
        self.reach.ensure(now, now).await?;
        Ok(low_water)
    }
}

impl<C> fmt::Debug for MemoryNonces<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNonces")
            .field("window", &self.record.window())
            .field("memory_limit", self.record.memory_limit())
            .field("share", &self.record.share())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use countersign::Nonce;

    use super::*;

    pub(super) const NOW: u64 = 1_763_900_000;

    pub(super) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    pub(super) fn used(credential: i64, created: u64, nonce: u64) -> NonceUse {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_be_bytes());
        NonceUse::new(credential, at(created), Nonce::from_random(bytes))
    }

    /// A ceiling in memory that outlives guards, and can be made to wait and to fail.
    #[derive(Debug, Default)]
    pub(super) struct TestCeiling {
        pub(super) ceiling: Mutex<(Option<Owner>, Option<Timestamp>)>,
        attempts: AtomicUsize,
        pub(super) fails: AtomicBool,
        /// Attempts wait until this lock is free.
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
    async fn a_replay_is_found_whatever_seconds_between_have_no_nonce_and_come_late() {
        let guard = durable(&Arc::default()).await;
        let seconds = [30, 32, 33, 37, 31, 40, 39, 20, 36];
        for (done, second) in seconds.into_iter().enumerate() {
            // Enough nonces for every part of the guard.
            assert_eq!(fill(&guard, NOW - second, NOW, 200).await, 200);
            for seen in &seconds[..=done] {
                for nonce in 0..200u64 {
                    let used = used(1 + nonce.cast_signed() % 4, NOW - seen, nonce);
                    let claim = guard.claim(&used, at(NOW)).await.unwrap();
                    assert_eq!(claim, Claim::Replayed, "{seen} after {second}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_nonce_is_forgotten_in_the_second_in_which_it_cannot_be_accepted_any_more() {
        for (later, remembered) in [(80, 1000), (81, 500)] {
            let guard = durable(&Arc::default()).await;
            for now in [NOW, NOW + later] {
                assert_eq!(fill(&guard, now, now, 500).await, 500);
            }
            assert_eq!(guard.remembered(), remembered, "{later}");
        }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_refused_and_not_fresh_again() {
        let guard = durable(&Arc::default()).await;
        let first = used(1, NOW, 1);
        assert_eq!(guard.claim(&first, at(NOW)).await.unwrap(), Claim::Fresh);
        // While the signature can pass anywhere, its nonce is remembered.
        assert_eq!(guard.claim(&first, at(NOW + 80)).await.unwrap(), Claim::Replayed);
        let later = guard.claim(&first, at(NOW + 100)).await.unwrap();
        assert!(matches!(later, Claim::TooOld { .. }), "{later:?}");
        // A clock that steps back does not make the nonce fresh again.
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
        // The ceiling written last, earlier ceilings, and the ceiling of a clock that was ahead.
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
        // Without an earlier ceiling, no signature can have been accepted.
        let guard = durable(&Arc::default()).await;
        assert_eq!(guard.claim(&used(1, NOW - 60, 1), at(NOW)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn whatever_a_policy_lets_through_is_not_accepted_beyond_what_a_start_refuses() {
        for ahead in 0..20 {
            let of_later = used(1, NOW + ahead, 1);
            let guard = durable_at(&TestCeiling::at(5), NOW - 1000).await;
            let before = guard.claim(&of_later, at(NOW)).await;
            // The ceiling of the first guard is lost, and an older copy takes its place.
            let restored = durable(&TestCeiling::at(5)).await;
            let again = restored.claim(&of_later, at(NOW)).await;
            let fresh = |claim: &Result<Claim, StoreError>| matches!(claim, Ok(Claim::Fresh));
            assert_eq!((fresh(&before), fresh(&again)), (ahead <= 10, false), "{ahead}");
        }
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

    /// Counts errors in the log.
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

        // The newest guard refuses claims that the old guard can still accept below the ceiling.
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
    async fn what_is_volatile_is_no_ceiling_of_a_durable_guard() {
        let owner = Owner::random().unwrap();
        assert!(Volatile.take_over(owner).await.is_err());
        assert!(Volatile.raise(owner, at(NOW)).await.is_err());
        assert!(MemoryNonces::durable(Window::default(), Volatile, at(NOW)).await.is_err());
    }

    #[tokio::test]
    async fn it_says_how_much_it_remembers_and_prints_none_of_it() {
        let guard = durable(&Arc::default()).await;
        assert_eq!((guard.remembered(), guard.used_memory()), (0, 0));
        for nonce in 1..=1000 {
            assert_eq!(guard.claim(&used(1, NOW, nonce), at(NOW)).await.unwrap(), Claim::Fresh);
            let used = guard.used_memory();
            assert!(used > guard.remembered() * 20, "{used} bytes of {nonce} nonces");
        }
        assert_eq!(guard.remembered(), 1000);
        let printed = format!("{guard:?}");
        assert!(printed.starts_with("MemoryNonces { window: Window"), "{printed}");
        assert!(printed.ends_with("share: 100000, .. }"), "{printed}");
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
        // On this runtime's only thread, every claim runs until it waits.
        tokio::task::yield_now().await;
        drop(closed);
        for claim in claims {
            let error = claim.await.unwrap().unwrap_err();
            let reason = std::error::Error::source(&error).unwrap();
            assert_eq!(reason.to_string(), "the disk is full");
        }
        assert_eq!(ceiling.attempts.load(Ordering::Relaxed), 1);
        // A later claim tries again.
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
        let guard = durable(&Arc::default()).await.share(100);
        for nonce in 0..100u64 {
            assert_eq!(guard.claim(&used(1, NOW, nonce), at(NOW)).await.unwrap(), Claim::Fresh);
        }
        let refused = guard.claim(&used(1, NOW, 100), at(NOW)).await.unwrap();
        let Claim::ShareUsedUp { retry_after } = refused else { panic!("{refused:?}") };
        // Other credentials still have room.
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
        // The nonce is remembered all the same.
        let again = guard.claim(&used(1, ahead, 1), at(NOW)).await.unwrap();
        assert_eq!(again, Claim::Replayed);
    }

    /// Claims this many nonces, and returns how many were fresh. The others find no room.
    async fn fill(
        guard: &MemoryNonces<Arc<TestCeiling>>,
        created: u64,
        now: u64,
        nonces: u64,
    ) -> u64 {
        let mut fresh = 0;
        for nonce in 0..nonces {
            match guard.claim(&used(1 + nonce.cast_signed() % 4, created, nonce), at(now)).await {
                Ok(Claim::Fresh) => fresh += 1,
                Err(error) => assert_eq!(error.to_string(), "the replay guard is full"),
                Ok(claim) => panic!("{claim:?}"),
            }
        }
        fresh
    }

    #[tokio::test]
    async fn a_full_guard_forgets_the_oldest_and_then_refuses() {
        let memory = 1 << 18;
        let guard = durable(&Arc::default()).await.memory(memory);
        // New signatures are accepted, and the oldest nonces are forgotten for them.
        for created in NOW - 40..NOW - 18 {
            assert_eq!(fill(&guard, created, NOW, 1000).await, 1000);
            assert!(guard.used_memory() <= memory);
        }
        for nonce in 0..1000i64 {
            let credential = 1 + nonce % 4;
            let nonce = nonce.cast_unsigned();
            let first = guard.claim(&used(credential, NOW - 40, nonce), at(NOW)).await.unwrap();
            assert!(matches!(first, Claim::TooOld { .. }), "{first:?}");
            let last = guard.claim(&used(credential, NOW - 19, nonce), at(NOW)).await.unwrap();
            assert_eq!(last, Claim::Replayed);
        }
        // A part of the memory is left to the tallies.
        assert!(guard.used_memory() < memory / 16 * 15 + 6000, "{}", guard.used_memory());

        // Nonces no older than the skew and 8 s are never forgotten to make room.
        let fresh = fill(&guard, NOW - 18, NOW, 20_000).await;
        assert!((8000..13_000).contains(&fresh), "{fresh}");
        // After this, room is left only in the pieces that shards have begun; how much depends on the key.
        assert!(fill(&guard, NOW, NOW, 4000).await < 1000);
        assert_eq!(guard.claim(&used(1, NOW - 18, 0), at(NOW)).await.unwrap(), Claim::Replayed);
        let older = guard.claim(&used(1, NOW - 19, 0), at(NOW)).await.unwrap();
        assert!(matches!(older, Claim::TooOld { .. }), "{older:?}");
        assert!(guard.used_memory() < memory / 16 * 15 + 6000, "{}", guard.used_memory());
        // Room comes back when nonces expire, in any shard.
        let later = NOW + 200;
        assert_eq!(guard.claim(&used(1, later, 1), at(later)).await.unwrap(), Claim::Fresh);
    }

    #[tokio::test]
    async fn what_one_has_had_accepted_is_counted_also_when_it_was_forgotten_early() {
        let guard = durable(&Arc::default()).await.memory(16 << 10).share(500);
        let mut fresh = 0;
        for nonce in 0..1000 {
            for created in [NOW - 60 + nonce % 60, NOW] {
                let claim = guard.claim(&used(1, created, nonce), at(NOW)).await;
                fresh += u64::from(matches!(claim, Ok(Claim::Fresh)));
            }
        }
        assert!(guard.remembered() < 500, "it is full: {}", guard.remembered());
        assert!(fresh <= 500, "{fresh}");
    }

    #[tokio::test]
    async fn nothing_is_accepted_that_could_not_be_counted() {
        let memory = 16 * 400;
        let guard = durable(&Arc::default()).await.memory(memory).share(1);
        let mut accepted = Vec::new();
        for credential in 0..200 {
            match guard.claim(&used(credential, NOW, 1), at(NOW)).await {
                Ok(Claim::Fresh) => accepted.push(credential),
                Err(error) => assert_eq!(error.to_string(), "the replay guard is full"),
                Ok(claim) => panic!("{claim:?}"),
            }
            assert!(guard.used_memory() <= memory);
        }
        assert!((1..100).contains(&accepted.len()), "{accepted:?}");
        assert_eq!(guard.remembered(), accepted.len());
        for credential in accepted {
            let refused = guard.claim(&used(credential, NOW, 2), at(NOW)).await.unwrap();
            assert!(matches!(refused, Claim::ShareUsedUp { .. }), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn what_expired_elsewhere_makes_room_for_whoever_comes_first() {
        let guard = durable(&Arc::default()).await.memory(16 * 400);
        let full = async |now| {
            let mut credential = 0;
            while guard.claim(&used(credential, now, 1), at(now)).await.is_ok() {
                credential += 1;
            }
            credential
        };
        let first = full(NOW).await;
        // Each claim is in another shard, and counted in another tally, than most expired nonces.
        for minute in 1..30 {
            let later = NOW + 200 * minute;
            let credential = 1000 + minute.cast_signed();
            let claim = guard.claim(&used(credential, later, 1), at(later)).await.unwrap();
            assert_eq!(claim, Claim::Fresh);
            assert!(full(later).await >= first / 2);
        }
    }

    #[tokio::test]
    async fn a_million_nonces_fit_by_default_and_few_take_little() {
        let guard = durable(&Arc::default()).await;
        for second in 0..81 {
            assert_eq!(fill(&guard, NOW + second, NOW + second, 1).await, 1);
        }
        assert!(guard.used_memory() < 50_000, "{}", guard.used_memory());
        let guard = durable(&Arc::default()).await.share(1_000_000);
        for second in 0..81 {
            assert_eq!(fill(&guard, NOW + second, NOW + second, 12_346).await, 12_346);
        }
        assert_eq!(guard.remembered(), 81 * 12_346);
        assert!(guard.used_memory() > 20_000_000, "{}", guard.used_memory());
        // The first nonce is remembered to its last second.
        let first = guard.claim(&used(1, NOW, 0), at(NOW + 80)).await.unwrap();
        assert_eq!(first, Claim::Replayed);
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
}
