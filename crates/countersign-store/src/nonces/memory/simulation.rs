//! Runs the guard beside an oracle that remembers every nonce. No nonce is fresh twice, and every refusal has a reason that the
//! oracle knows.

#![expect(clippy::arithmetic_side_effects, reason = "the numbers are the test's own")]

use std::{
    collections::HashSet,
    pin::pin,
    sync::Arc,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::Duration,
};

use countersign::{Claim, NonceUse, Timestamp, Window};
use proptest::prelude::*;

use super::{
    MemoryNonces,
    memory_limit::MemoryLimit,
    record::{MEMORY, span},
    snapshot::Snapshot,
    tests::{NOW, TestCeiling, at, used},
};
use crate::nonces::{
    NonceStore,
    ceiling::{Ceiling, Owner},
    fingerprint_key::FingerprintKey,
};

type Guard = MemoryNonces<Arc<TestCeiling>>;

const LIFETIME: u64 = 80;
const SKEW: u64 = 10;
/// How many seconds older than the skew a signature may be while a full guard still accepts it.
const LATENESS: u64 = 8;

/// The environment variable with the number of seeds to try. Each seed is a life of 120 steps.
const SEEDS: &str = "COUNTERSIGN_SEEDS";

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A claim at any guard started so far. All but the last should have ended.
    Claim {
        guard: usize,
        credential: i64,
        ago: i64,
        nonce: u64,
    },
    /// Many new nonces at once.
    Flood {
        credential: i64,
        ago: i64,
        count: u64,
    },
    Clock(i64),
    /// The guard is lost, and a new guard starts.
    Crash,
    /// The guard ends and leaves a snapshot. Some seconds later another guard starts from it.
    Restart {
        pause: u64,
    },
    /// A guard starts from any earlier snapshot, which may have been used before.
    Again {
        snapshot: usize,
    },
    /// Whether the ceiling can be written.
    Ceiling {
        fails: bool,
    },
}

impl Step {
    /// Makes a step from any number.
    fn of(number: u64) -> Self {
        let mut left = number / 64;
        let mut below = |limit: u64| {
            let part = left % limit;
            left /= limit;
            part
        };
        let mut signed =
            |from: i64, to: i64| from + below((to - from).cast_unsigned()).cast_signed();
        match number % 64 {
            0..40 => Self::Claim {
                guard: [0, 0, 0, 0, 1, 2][signed(0, 6) as usize],
                credential: signed(0, 3),
                ago: signed(-16, 90),
                nonce: signed(0, 3).cast_unsigned(),
            },
            40..46 => Self::Flood {
                credential: signed(0, 12),
                ago: signed(-10, 70),
                count: [signed(1, 40), signed(1, 600)][signed(0, 8) as usize / 7].cast_unsigned(),
            },
            46..55 => Self::Clock(signed(0, 12)),
            55 => Self::Clock(signed(-40, 60)),
            56 => Self::Clock(signed(-5000, 5000)),
            57 => Self::Crash,
            58..61 => Self::Restart { pause: signed(0, 90).cast_unsigned() },
            61 => Self::Again { snapshot: signed(0, 8) as usize },
            62 => Self::Ceiling { fails: true },
            _ => Self::Ceiling { fails: false },
        }
    }
}

/// A guard, and the oracle's knowledge of it.
struct Watched {
    guard: Guard,
    known: Known,
    has_ended: bool,
}

/// The oracle's knowledge of a guard and of its predecessors.
#[derive(Clone, Default)]
struct Known {
    /// The first second for which it can vouch. Earlier claims are too old.
    starts_at: u64,
    accepted: Vec<NonceUse>,
    /// Nonces that may not have fitted into memory. Their buckets may exist all the same, and are forgotten like others.
    attempted: Vec<NonceUse>,
    /// The latest `now` of a claim.
    latest: u64,
}

struct World {
    share: usize,
    memory: usize,
    ceiling: Arc<TestCeiling>,
    guards: Vec<Watched>,
    /// Snapshots, each with the oracle's knowledge of the guard that left it.
    left: Vec<(Vec<u8>, Known)>,
    now: u64,
    accepted: HashSet<NonceUse>,
    nonces: u64,
    keys: u8,
}

/// Returns the output of a future, which never waits here.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("it waits"),
    }
}

impl World {
    fn new(kind: u64) -> Self {
        let mut world = Self {
            share: [9, 40, 100_000][(kind % 3) as usize],
            memory: [MEMORY, MEMORY, 16 * 900, 16 * 2500][(kind / 3 % 4) as usize],
            ceiling: Arc::default(),
            guards: Vec::new(),
            left: Vec::new(),
            now: NOW,
            accepted: HashSet::new(),
            nonces: 1000,
            keys: 0,
        };
        world.start();
        world
    }

    fn live(step: u64, steps: impl IntoIterator<Item = u64>) {
        let mut world = Self::new(step);
        for step in steps {
            world.take(Step::of(step));
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Claim { guard, credential, ago, nonce } => {
                let guard = self.guards.len() - 1 - guard % self.guards.len();
                self.claim(guard, used(credential, self.ago(ago), nonce));
            }
            Step::Flood { credential, ago, count } => {
                for _ in 0..count {
                    self.nonces += 1;
                    let used = used(credential, self.ago(ago), self.nonces);
                    self.claim(self.guards.len() - 1, used);
                }
            }
            Step::Clock(by) => self.now = self.now.saturating_add_signed(by),
            Step::Crash => self.start(),
            Step::Restart { pause } => {
                self.stop();
                self.now += pause;
                self.resume(self.left.len() - 1);
            }
            Step::Again { snapshot } if !self.left.is_empty() => {
                self.resume(snapshot % self.left.len());
            }
            Step::Again { .. } => self.start(),
            Step::Ceiling { fails } => self.ceiling.fails.store(fails, Ordering::Relaxed),
        }
    }

    fn ago(&self, seconds: i64) -> u64 {
        self.now.checked_add_signed(-seconds).unwrap()
    }

    fn take_over(&mut self) -> (Owner, Option<Timestamp>, FingerprintKey) {
        let owner = Owner::random().unwrap();
        let found = ready(self.ceiling.take_over(owner)).unwrap();
        self.keys = self.keys.wrapping_add(1);
        (owner, found, FingerprintKey::from_bytes(&[self.keys; 16]))
    }

    fn start(&mut self) {
        let (owner, found, key) = self.take_over();
        let (ceiling, now) = (Arc::clone(&self.ceiling), at(self.now));
        let guard = Guard::after_a_crash(Window::default(), ceiling, owner, found, key, now);
        let guard = guard.memory(self.memory).share(self.share);
        let starts_at = found.map_or(0, |found| (found.unix() + 1).max(self.now + SKEW + 1));
        let known = Known { starts_at, latest: self.now, ..Known::default() };
        self.guards.push(Watched { guard, known, has_ended: false });
    }

    fn stop(&mut self) {
        let last = self.guards.last_mut().unwrap();
        if let Some(snapshot) = ready(last.guard.end(at(self.now))) {
            self.left.push((snapshot.to_bytes(), last.known.clone()));
        }
        last.has_ended = true;
    }

    fn resume(&mut self, left: usize) {
        let memory_limit = MemoryLimit::new(MEMORY);
        let (bytes, known) = self.left[left].clone();
        let snapshot = Snapshot::from_bytes(&bytes, Window::default(), &memory_limit).unwrap();
        let found = self.ceiling.ceiling.lock().unwrap().1;
        let (is_last, saved_at) = (found == Some(snapshot.reached), snapshot.saved_at.unix());
        let is_current = is_last && (saved_at..=saved_at + LIFETIME).contains(&self.now);
        if snapshot.is_current(found, at(self.now)) != is_current {
            // Only a clock that went back a little may make a difference.
            assert!(is_last && self.now + SKEW >= saved_at && self.now < saved_at);
        }
        if !snapshot.is_current(found, at(self.now)) {
            return self.start();
        }
        let (owner, _, _) = self.take_over();
        let (ceiling, now) = (Arc::clone(&self.ceiling), at(self.now));
        match ready(Guard::after_a_stop(snapshot, ceiling, owner, memory_limit, now)) {
            Ok(guard) => {
                let guard = guard.memory(self.memory).share(self.share);
                self.guards.push(Watched { guard, known, has_ended: false });
            }
            Err(_) => {
                assert!(self.ceiling.fails.load(Ordering::Relaxed));
                self.start();
            }
        }
    }

    fn claim(&mut self, guard: usize, used: NonceUse) {
        let is_last = guard == self.guards.len() - 1;
        let cannot_raise = !is_last || self.ceiling.fails.load(Ordering::Relaxed);
        let Self { share, memory, now, .. } = *self;
        let Watched { guard, known, has_ended } = &mut self.guards[guard];
        let claim = ready(guard.claim(&used, at(now)));
        let created = used.created().unix();
        let oldest = now - LIFETIME;
        known.latest = known.latest.max(now);
        // The guard may have forgotten nonces before `forgotten`: they expired at some time, or a full guard made room up to
        // there.
        let narrowed = if memory < MEMORY { LIFETIME - SKEW - LATENESS } else { 0 };
        let forgotten = known.latest - LIFETIME + narrowed;
        let own = || {
            let width = span(Window::default());
            let counted = |other: &&NonceUse| {
                let number = width.number(other.created().unix());
                other.credential() == used.credential()
                    && width.end(number) > oldest
                    && number <= width.number(now + SKEW)
            };
            known.accepted.iter().filter(counted).count()
        };
        // The tallies are exact while the clock has not gone back.
        let is_latest = known.latest == now;
        if memory < MEMORY && !matches!(claim, Ok(Claim::Fresh | Claim::Replayed)) {
            known.attempted.push(used);
        }
        match claim {
            Ok(Claim::Fresh) => {
                assert!(!*has_ended && created >= known.starts_at.max(oldest), "{used:?}");
                assert!(created <= now + SKEW, "{used:?}");
                assert!(!is_latest || own() < share, "{used:?} is above the share");
                assert!(self.accepted.insert(used), "{used:?} twice");
                known.accepted.push(used);
            }
            Ok(Claim::Replayed) => assert!(known.accepted.contains(&used), "{used:?} is new"),
            Ok(Claim::TooOld { retry_after }) => {
                assert!(retry_after >= Duration::from_secs(1));
                let was_forgotten =
                    |other: &NonceUse| (created..forgotten).contains(&other.created().unix());
                assert!(
                    created < known.starts_at.max(oldest)
                        || known.accepted.iter().any(was_forgotten)
                        || known.attempted.iter().any(was_forgotten),
                    "{used:?} is not too old"
                );
            }
            Ok(Claim::ShareUsedUp { retry_after }) => {
                assert!(own() >= share, "{used:?} has {} of {share}", own());
                assert!((1..=LIFETIME + 2 * SKEW + 16).contains(&retry_after.as_secs()));
            }
            Err(_) => {
                let is_full = memory < MEMORY
                    && known
                        .accepted
                        .iter()
                        .any(|other| other.created().unix() + SKEW + LATENESS >= now);
                assert!(
                    *has_ended || cannot_raise || created > now + SKEW || is_full,
                    "{used:?} is refused for nothing"
                );
            }
        }
    }
}

#[test]
fn nothing_is_fresh_twice_nor_refused_for_nothing_in_any_life_of_a_seed() {
    let seeds = std::env::var(SEEDS).map_or(500, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let life = std::panic::AssertUnwindSafe(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            World::live(seed, std::iter::repeat_with(|| random.u64(..)).take(120));
        });
        if let Err(panic) = std::panic::catch_unwind(life) {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_fresh_twice_nor_refused_for_nothing(
        kind in 0u64..12,
        steps in proptest::collection::vec(any::<u64>(), 1..300),
    ) {
        World::live(kind, steps);
    }
}
