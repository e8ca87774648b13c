//! The replay guard of one process, stopped and started on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use countersign::{Claim, Nonce, NonceUse, Policy, Timestamp, Window};
use countersign_store::{
    Ceiling, Limited, Limits, MemoryNonces, NonceStore, Owner, Readiness, StoreError, Volatile,
};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// A ceiling that outlives guards, and can be made to raise without an answer.
#[derive(Debug, Default)]
struct Lasting {
    ceiling: Mutex<(Option<Owner>, Option<Timestamp>)>,
    is_silent: AtomicBool,
}

impl Ceiling for Lasting {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let mut ceiling = self.ceiling.lock().unwrap();
        ceiling.0 = Some(owner);
        Ok(ceiling.1)
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        {
            let mut ceiling = self.ceiling.lock().unwrap();
            if ceiling.0 != Some(owner) {
                return Err(StoreError::new("another one has taken over"));
            }
            ceiling.1 = ceiling.1.max(Some(to));
        }
        if self.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

type Guard = MemoryNonces<Arc<Lasting>>;

/// What outlives a guard: its ceiling, and a folder.
struct Home {
    ceiling: Arc<Lasting>,
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { ceiling: Arc::default(), folder: TempDir::new().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("nonces")
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path()).collect()
    }

    async fn first(&self) -> Guard {
        let ceiling = Arc::clone(&self.ceiling);
        MemoryNonces::durable(Window::default(), ceiling, NOW).await.unwrap()
    }

    async fn resume(&self, file: &Path, now: Timestamp) -> Guard {
        let ceiling = Arc::clone(&self.ceiling);
        MemoryNonces::resume(Window::default(), ceiling, file, now).await.unwrap()
    }

    /// A guard that has accepted [`before`] and was stopped.
    async fn stopped(&self) -> Guard {
        let guard = self.first().await;
        for used in before() {
            assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
        }
        guard.stop(&self.file(), NOW).await.unwrap();
        guard
    }
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn used(created: Timestamp, nonce: u8) -> NonceUse {
    NonceUse::new(1, created, Nonce::from_random([nonce; 16]))
}

/// Of clocks that lag, that are right, and that are ahead.
fn before() -> [NonceUse; 4] {
    let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
    [used(ago(60), 1), used(NOW, 2), used(NOW, 3), used(later(10), 4)]
}

/// Whether a guard remembers what was accepted, and refuses nothing else.
async fn goes_on(guard: &Guard, now: Timestamp) -> bool {
    let mut answers = Vec::new();
    for used in before() {
        answers.push(guard.claim(&used, now).await.unwrap());
    }
    let remembers = answers.iter().all(|answer| *answer == Claim::Replayed);
    let refuses = answers.iter().all(|answer| matches!(answer, Claim::TooOld { .. }));
    assert!(remembers || refuses, "{answers:?}");
    let honest = guard.claim(&used(now, 5), now).await.unwrap();
    assert_eq!(honest == Claim::Fresh, remembers, "{honest:?}");
    remembers
}

#[tokio::test]
async fn after_a_clean_stop_replays_are_refused_and_nothing_else() {
    for pause in [0, 1, 10] {
        let home = Home::new();
        home.stopped().await;
        let guard = home.resume(&home.file(), later(pause)).await;
        assert!(goes_on(&guard, later(pause)).await, "{pause}");
        assert_eq!(home.files(), [] as [PathBuf; 0]);
        // And once more.
        guard.stop(&home.file(), later(pause)).await.unwrap();
        let guard = home.resume(&home.file(), later(pause)).await;
        let again = guard.claim(&used(later(pause), 5), later(pause)).await.unwrap();
        assert_eq!(again, Claim::Replayed);
    }
}

#[tokio::test]
async fn the_share_that_was_used_is_used_after_a_clean_stop() {
    let home = Home::new();
    let guard = home.first().await.share(4);
    for used in before() {
        assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
    }
    guard.stop(&home.file(), NOW).await.unwrap();
    let guard = home.resume(&home.file(), NOW).await.share(4);
    let refused = guard.claim(&used(NOW, 5), NOW).await.unwrap();
    assert!(matches!(refused, Claim::ShareUsedUp { .. }), "{refused:?}");
    let other = NonceUse::new(2, NOW, Nonce::from_random([5; 16]));
    assert_eq!(guard.claim(&other, NOW).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_guard_that_was_stopped_accepts_nothing_and_leaves_its_file_alone() {
    let home = Home::new();
    let guard = home.stopped().await;
    let (ceiling, saved) = (home.ceiling.ceiling.lock().unwrap().1, fs::read(home.file()).unwrap());
    for used in [used(NOW, 2), used(NOW, 6), used(later(20), 6)] {
        assert!(guard.claim(&used, later(20)).await.is_err());
    }
    assert!(guard.stop(&home.file(), NOW).await.is_err());
    assert_eq!(fs::read(home.file()).unwrap(), saved);
    assert_eq!(home.ceiling.ceiling.lock().unwrap().1, ceiling);
    assert!(goes_on(&home.resume(&home.file(), NOW).await, NOW).await);
}

#[tokio::test]
async fn a_ceiling_that_was_raised_for_a_client_that_went_away_costs_no_memory() {
    let home = Home::new();
    let guard = home.first().await;
    for used in before() {
        assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
    }
    home.ceiling.is_silent.store(true, Ordering::Relaxed);
    {
        let of_later = used(later(20), 6);
        let claim = std::pin::pin!(guard.claim(&of_later, later(20)));
        assert!(claim.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    home.ceiling.is_silent.store(false, Ordering::Relaxed);
    guard.stop(&home.file(), later(20)).await.unwrap();
    assert!(goes_on(&home.resume(&home.file(), later(20)).await, later(20)).await);
}

#[tokio::test]
async fn a_clock_that_leaps_at_the_stop_costs_no_more_than_a_crash() {
    for leap in [1, 3600, 86_400] {
        let home = Home::new();
        let guard = home.first().await;
        for used in before() {
            assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
        }
        guard.stop(&home.file(), later(leap)).await.unwrap();
        let guard = home.resume(&home.file(), NOW).await;
        assert_eq!(goes_on(&guard, NOW).await, leap == 1, "{leap}");
        let honest = guard.claim(&used(later(16), 6), later(16)).await.unwrap();
        assert_eq!(honest, Claim::Fresh, "{leap}");
    }
}

#[tokio::test]
async fn what_is_not_the_whole_last_word_is_a_crash() {
    type Happening = fn(&Path);
    let happenings: [(&str, Happening); 5] = [
        ("lost", |file| fs::remove_file(file).unwrap()),
        ("cut off", |file| {
            let content = fs::read(file).unwrap();
            fs::write(file, &content[..content.len() - 1]).unwrap();
        }),
        ("longer", |file| {
            let mut content = fs::read(file).unwrap();
            content.push(0);
            fs::write(file, content).unwrap();
        }),
        ("changed", |file| {
            let mut content = fs::read(file).unwrap();
            content[100] ^= 1;
            fs::write(file, content).unwrap();
        }),
        ("emptied", |file| fs::write(file, []).unwrap()),
    ];
    for (what, happens) in happenings {
        let home = Home::new();
        home.stopped().await;
        happens(&home.file());
        assert!(!goes_on(&home.resume(&home.file(), NOW).await, NOW).await, "{what}");
    }
}

#[tokio::test]
async fn a_snapshot_is_good_once_also_if_it_was_copied() {
    let home = Home::new();
    home.stopped().await;
    let copy = home.folder.path().join("copy");
    fs::copy(home.file(), &copy).unwrap();
    // In the same second, so that the ceiling is where it was but for the start itself.
    let guard = home.resume(&home.file(), NOW).await;
    assert!(goes_on(&guard, NOW).await);
    assert!(!goes_on(&home.resume(&copy, NOW).await, NOW).await);
}

#[tokio::test]
async fn of_two_who_start_from_one_file_at_once_one_goes_on() {
    let home = Home::new();
    home.stopped().await;
    let file = home.file();
    let (one, other) = tokio::join!(home.resume(&file, NOW), home.resume(&file, NOW));
    let mut fresh = Vec::new();
    for guard in [&one, &other] {
        let claim = guard.claim(&used(NOW, 5), NOW).await;
        fresh.extend(claim.ok().filter(|claim| *claim == Claim::Fresh));
        for used in before() {
            assert_ne!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
        }
    }
    assert_eq!(fresh, [Claim::Fresh]);
}

#[tokio::test]
async fn a_snapshot_from_before_another_guard_accepted_anything_is_a_crash() {
    let home = Home::new();
    home.stopped().await;
    let between = home.resume(&home.folder.path().join("nothing"), NOW).await;
    let last = used(later(20), 6);
    assert_eq!(between.claim(&last, later(20)).await.unwrap(), Claim::Fresh);
    drop(between);
    let guard = home.resume(&home.file(), later(20)).await;
    let refused = guard.claim(&last, later(20)).await.unwrap();
    assert!(matches!(refused, Claim::TooOld { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_snapshot_is_current_for_a_window_and_not_before_it_was_made() {
    // How long after the stop, or before it by a clock that was set back.
    for (after, is_current) in [(80, true), (81, false), (1000, false), (-10, true), (-11, false)] {
        let home = Home::new();
        home.stopped().await;
        let start = Timestamp::from_unix(NOW.unix().checked_add_signed(after).unwrap());
        let guard = home.resume(&home.file(), start).await;
        let honest = guard.claim(&used(start, 5), start).await.unwrap();
        assert_eq!(honest == Claim::Fresh, is_current, "{after}: {honest:?}");
    }
}

#[tokio::test]
async fn a_snapshot_of_another_window_is_a_crash() {
    let home = Home::new();
    home.stopped().await;
    let policy =
        Policy::default().window(Duration::from_secs(90), Duration::from_secs(10)).unwrap();
    let (window, ceiling) = (Window::from(&policy), Arc::clone(&home.ceiling));
    assert_ne!(window, Window::default());
    let guard = MemoryNonces::resume(window, ceiling, &home.file(), NOW).await.unwrap();
    assert!(!goes_on(&guard, NOW).await);
}

#[tokio::test]
async fn a_guard_of_any_window_goes_on_where_one_of_the_same_stopped() {
    let policy = Policy::default().window(Duration::from_secs(120), Duration::from_secs(10));
    let window = Window::from(&policy.unwrap());
    let home = Home::new();
    let guard = MemoryNonces::durable(window, Arc::clone(&home.ceiling), NOW).await.unwrap();
    for used in before() {
        assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
    }
    guard.stop(&home.file(), NOW).await.unwrap();
    let ceiling = Arc::clone(&home.ceiling);
    let guard = MemoryNonces::resume(window, ceiling, &home.file(), NOW).await.unwrap();
    assert!(goes_on(&guard, NOW).await);
}

#[tokio::test]
async fn a_file_of_something_else_is_left_alone() {
    let home = Home::new();
    fs::write(home.file(), "somebody's work").unwrap();
    let guard = home.resume(&home.file(), NOW).await;
    assert_eq!(guard.claim(&used(NOW, 1), NOW).await.unwrap(), Claim::Fresh);
    assert!(guard.stop(&home.file(), NOW).await.is_err());
    assert_eq!(fs::read(home.file()).unwrap(), b"somebody's work");
    assert_eq!(home.files(), [home.file()]);
}

#[tokio::test]
async fn a_guard_that_cannot_be_saved_has_ended_and_the_next_start_is_one_after_a_crash() {
    let home = Home::new();
    let guard = home.first().await;
    for used in before() {
        assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);
    }
    let nowhere = home.folder.path().join("missing").join("nonces");
    assert!(guard.stop(&nowhere, NOW).await.is_err());
    assert!(guard.claim(&used(NOW, 5), NOW).await.is_err());
    assert!(!goes_on(&home.resume(&nowhere, NOW).await, NOW).await);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new();
    home.stopped().await;
    let mode = fs::metadata(home.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(home.files(), [home.file()]);
}

#[tokio::test]
async fn a_volatile_ceiling_is_not_taken_for_one_that_was_never_raised() {
    assert!(MemoryNonces::durable(Window::default(), Volatile, NOW).await.is_err());
}

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// Whether a request that is signed now is accepted now.
async fn accepts(guard: &impl NonceStore, nonce: u8, now: Timestamp) -> bool {
    let used = NonceUse::new(1, now, Nonce::from_random([nonce; 16]));
    matches!(guard.claim(&used, now).await, Ok(Claim::Fresh))
}

#[tokio::test]
async fn a_guard_is_ready_from_the_second_on_whose_signatures_it_accepts() {
    let home = Home::new();
    let first = home.first().await;
    assert!(first.ready_at(NOW).await.unwrap() <= NOW);
    assert!(accepts(&first, 1, NOW).await);
    drop(first);
    // After a crash, and without a ceiling.
    let crashed = home.first().await;
    let volatile = MemoryNonces::volatile(Window::default(), NOW).unwrap();
    for (ready_at, last, next) in [
        (
            crashed.ready_at(NOW).await.unwrap(),
            accepts(&crashed, 2, after(15)).await,
            accepts(&crashed, 3, after(16)).await,
        ),
        (
            volatile.ready_at(NOW).await.unwrap(),
            accepts(&volatile, 2, after(10)).await,
            accepts(&volatile, 3, after(11)).await,
        ),
    ] {
        assert_eq!((last, next), (false, true));
        assert!(ready_at == after(16) || ready_at == after(11), "{ready_at}");
    }
    assert_eq!(volatile.ready_at(NOW).await.unwrap(), after(11));
    assert_eq!(crashed.ready_at(after(100)).await.unwrap(), after(16));
    // Behind an `Arc` and behind limits it is the same.
    let limited = Arc::new(Limited::new(Arc::new(volatile), Limits::default()));
    assert_eq!(limited.ready_at(NOW).await.unwrap(), after(11));
}

#[tokio::test]
async fn a_guard_that_ended_or_was_taken_over_is_not_ready() {
    let home = Home::new();
    let old = home.first().await;
    assert!(accepts(&old, 1, NOW).await);
    let new = home.resume(&home.file(), NOW).await;
    // What is below its ceiling it still accepts.
    assert!(old.ready_at(after(15)).await.is_ok());
    assert!(accepts(&old, 2, after(15)).await);
    assert!(old.ready_at(after(16)).await.is_err());
    assert!(!accepts(&old, 3, after(16)).await);
    assert_eq!(new.ready_at(after(1)).await.unwrap(), after(16));
    assert!(new.ready_at(after(16)).await.is_ok());
    new.stop(&home.file(), after(16)).await.unwrap();
    // Also below the ceiling that it had raised.
    for now in [1, 16, 40] {
        assert!(new.ready_at(after(now)).await.is_err(), "{now}");
    }
}

#[tokio::test]
async fn of_two_that_hand_over_the_second_is_ready_when_the_first_has_stopped() {
    let home = Home::new();
    let old = home.first().await;
    assert!(accepts(&old, 1, NOW).await);
    old.stop(&home.file(), NOW).await.unwrap();
    let new = home.resume(&home.file(), NOW).await;
    assert!(new.ready_at(NOW).await.unwrap() <= NOW);
    assert!(!accepts(&new, 1, NOW).await);
    assert!(accepts(&new, 2, NOW).await);
}

#[tokio::test]
async fn asking_a_guard_raises_its_ceiling_no_oftener_than_claims_do() {
    let home = Home::new();
    let guard = home.first().await;
    let ceiling = || home.ceiling.ceiling.lock().unwrap().1;
    guard.ready_at(NOW).await.unwrap();
    assert_eq!(ceiling(), Some(after(15)));
    guard.ready_at(after(15)).await.unwrap();
    assert_eq!(ceiling(), Some(after(15)));
    guard.ready_at(after(16)).await.unwrap();
    assert_eq!(ceiling(), Some(after(31)));
}

#[tokio::test]
async fn of_two_on_one_ceiling_one_is_ready_at_every_second_and_accepts() {
    let home = Home::new();
    let old = home.first().await;
    assert!(accepts(&old, 0, NOW).await);
    let new = home.resume(&home.file(), after(3)).await;
    for second in 3..40 {
        let now = after(second);
        let mut ready = 0;
        for (number, guard) in [(1, &old), (2, &new)] {
            if guard.ready_at(now).await.is_ok_and(|from| from <= now) {
                assert!(accepts(guard, number, now).await, "{second}");
                ready += 1;
            }
        }
        assert_eq!(ready, 1, "{second}");
    }
}
