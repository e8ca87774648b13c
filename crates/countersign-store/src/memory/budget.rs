use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    Excess, Level, Quota, Verdict,
    gcra::{Charged, Gcra},
    limits::Budget,
};

const SHARDS: usize = 64;
/// How often a full shard is looked through for what is refilled.
const SWEEP: Duration = Duration::from_secs(1);

/// What each of many subjects, as credentials or client addresses, took of a budget, in this process.
///
/// It is bounded. A subject that has all of its budget takes no room. When there is none left, those who are new share
/// one allowance, and nobody who is counted already gets a new one: whoever brings many addresses slows down newcomers,
/// and lifts no limit.
pub struct MemoryBudget<S> {
    budget: Budget,
    rates: Vec<Gcra>,
    shards: Box<[Mutex<Shard<S>>]>,
    hasher: RandomState,
    /// The times of a subject that never took anything.
    unused: Box<[Duration]>,
    /// The most subjects of a shard.
    room: usize,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

struct Shard<S> {
    subjects: HashMap<S, Box<[Duration]>>,
    /// Of those for whom there was no room.
    rest: Box<[Duration]>,
    next_sweep: Duration,
}

/// Whether a charge is made or only asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Charge,
    Look,
}

impl<S: Copy + Eq + Hash> MemoryBudget<S> {
    /// A budget of these quotas, each of which has to allow a charge; `None` if there are none. Its name is what clients
    /// see in `RateLimit`: letters, digits, `-` and `_`.
    pub fn new(name: &'static str, quotas: impl IntoIterator<Item = Quota>) -> Option<Self> {
        Budget::new(name, quotas).map(Self::of)
    }

    pub(crate) fn of(budget: Budget) -> Self {
        let rates: Vec<_> = budget.quotas.iter().map(Gcra::new).collect();
        let unused: Box<[Duration]> = vec![Duration::ZERO; rates.len()].into();
        let shard =
            || Shard { subjects: HashMap::new(), rest: unused.clone(), next_sweep: Duration::ZERO };
        let shards = std::iter::repeat_with(|| Mutex::new(shard())).take(SHARDS).collect();
        let start = Instant::now();
        Self {
            budget,
            shards,
            rates,
            hasher: RandomState::new(),
            unused,
            room: 1_000_000 / SHARDS,
            clock: Arc::new(move || start.elapsed()),
        }
    }

    /// The most subjects that are counted at a time, at some 100 bytes each. Default: 1,000,000.
    pub fn capacity(mut self, subjects: usize) -> Self {
        self.room = subjects.div_ceil(SHARDS);
        self
    }

    /// Where the time comes from: since any moment, and never stepping back. Default: the system's monotonic clock.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Charges a subject, or finds that it has too little left; then nothing is charged.
    pub fn charge(&self, subject: S, cost: NonZeroU32) -> Verdict {
        self.ask(subject, cost, Mode::Charge)
    }

    /// What charging the least would say. Nothing is charged.
    pub fn look(&self, subject: S) -> Verdict {
        self.ask(subject, NonZeroU32::MIN, Mode::Look)
    }

    fn ask(&self, subject: S, cost: NonZeroU32, mode: Mode) -> Verdict {
        let shards = u64::try_from(self.shards.len()).unwrap_or(u64::MAX);
        let shard = self.hasher.hash_one(subject).checked_rem(shards).unwrap_or(0);
        let shard = usize::try_from(shard).ok().and_then(|shard| self.shards.get(shard));
        // There is one for every remainder; were there none, what is not counted must not pass.
        let Some(shard) = shard else { return self.judge(&self.used_up(), cost, Duration::ZERO) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that times come in order.
        let now = (self.clock)();
        match mode {
            Mode::Look => {
                let full_at = match shard.place_of(&subject, self.room, now) {
                    Place::Counted => shard.subjects.get(&subject).unwrap_or(&self.unused),
                    Place::Free => &self.unused,
                    Place::Shared => &shard.rest,
                };
                self.judge(full_at, cost, now)
            }
            Mode::Charge => {
                let full_at = shard.of(subject, &self.unused, self.room, now);
                let verdict = self.judge(full_at, cost, now);
                if let Verdict::Within(_) = verdict {
                    for (rate, full_at) in self.rates.iter().zip(full_at) {
                        if let Charged::Fits { full_at: time, .. } =
                            rate.charge(*full_at, cost, now)
                        {
                            *full_at = time;
                        }
                    }
                }
                verdict
            }
        }
    }

    /// What those who have used up everything wait for.
    fn used_up(&self) -> Box<[Duration]> {
        self.budget.quotas.iter().map(Quota::window).collect()
    }

    /// Whether every quota allows it; of those that do not the one that takes longest, or else the one that has least
    /// left.
    fn judge(&self, full_at: &[Duration], cost: NonZeroU32, now: Duration) -> Verdict {
        let (mut least, mut longest): (Option<Level>, Option<Excess>) = (None, None);
        let quotas = self.budget.quotas.iter().zip(&self.rates);
        for ((quota, rate), full_at) in quotas.zip(full_at) {
            match rate.charge(*full_at, cost, now) {
                Charged::Fits { left, .. } => {
                    let less = |level: &Level| left.remaining < level.remaining();
                    if least.as_ref().is_none_or(less) {
                        least = Some(self.budget.level(quota, left.remaining, left.reset));
                    }
                }
                Charged::TooMuch { retry_after, left } => {
                    let later = |excess: &Excess| retry_after > excess.retry_after;
                    if longest.as_ref().is_none_or(later) {
                        let level = self.budget.level(quota, left.remaining, left.reset);
                        longest = Some(Excess { level, retry_after });
                    }
                }
            }
        }
        longest.map_or(Verdict::Within(least), Verdict::Exceeded)
    }
}

impl<S: Copy + Eq + Hash> Shard<S> {
    /// The times of a subject, or those that newcomers share when there is no room.
    fn of(
        &mut self,
        subject: S,
        unused: &[Duration],
        room: usize,
        now: Duration,
    ) -> &mut [Duration] {
        match self.place_of(&subject, room, now) {
            Place::Counted | Place::Free => {
                self.subjects.entry(subject).or_insert_with(|| unused.into())
            }
            Place::Shared => &mut self.rest,
        }
    }

    /// Where a subject is counted, after room was made if it is due.
    fn place_of(&mut self, subject: &S, room: usize, now: Duration) -> Place {
        if self.subjects.contains_key(subject) {
            return Place::Counted;
        }
        if self.subjects.len() >= room && now >= self.next_sweep {
            self.next_sweep = now.saturating_add(SWEEP);
            // Whoever has everything back is as one who never took anything.
            self.subjects.retain(|_, full_at| full_at.iter().any(|&time| time > now));
        }
        if self.subjects.len() < room { Place::Free } else { Place::Shared }
    }
}

/// Where a subject is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Counted,
    /// Nowhere yet, and there is room.
    Free,
    /// With all others for whom there is no room.
    Shared,
}

impl<S> fmt::Debug for MemoryBudget<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    /// A budget on a clock of milliseconds.
    fn budget(quotas: &[Quota]) -> (MemoryBudget<u32>, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(5_000));
        let clock = Arc::clone(&time);
        let budget = MemoryBudget::new("test", quotas.iter().copied()).unwrap();
        let now = move || Duration::from_millis(clock.load(Ordering::SeqCst));
        (budget.clock(now), time)
    }

    fn passes(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Within(_))
    }

    #[test]
    fn each_subject_has_its_own_allowance() {
        let (budget, time) = budget(&[Quota::per_second(number(2))]);
        for subject in [1, 2] {
            assert!(passes(&budget.charge(subject, number(1))));
            assert!(passes(&budget.charge(subject, number(1))));
            let Verdict::Exceeded(excess) = budget.charge(subject, number(1)) else { panic!() };
            assert_eq!(excess.retry_after, Duration::from_millis(500));
            assert_eq!(excess.level.to_string(), r#""test-1";r=0;t=1"#);
        }
        time.fetch_add(500, Ordering::SeqCst);
        assert!(passes(&budget.charge(1, number(1))));
        assert!(!passes(&budget.charge(1, number(1))));
    }

    #[test]
    fn what_one_quota_refuses_is_charged_to_none() {
        let (budget, time) = budget(&[Quota::per_second(number(1)), Quota::per_minute(number(3))]);
        assert!(passes(&budget.charge(1, number(1))));
        for _ in 0..10 {
            assert!(!passes(&budget.charge(1, number(1))));
        }
        for _ in 0..2 {
            time.fetch_add(1000, Ordering::SeqCst);
            assert!(passes(&budget.charge(1, number(1))));
        }
        time.fetch_add(1000, Ordering::SeqCst);
        let Verdict::Exceeded(excess) = budget.charge(1, number(1)) else { panic!() };
        assert_eq!(excess.level.name(), "test-60");
        assert_eq!(excess.retry_after, Duration::from_secs(17));
    }

    #[test]
    fn looking_charges_nothing_and_says_what_charging_would() {
        let (budget, _) = budget(&[Quota::per_second(number(1))]);
        for _ in 0..5 {
            assert!(passes(&budget.look(1)));
        }
        assert!(passes(&budget.charge(1, number(1))));
        assert!(!passes(&budget.look(1)));
    }

    #[test]
    fn when_there_is_no_room_newcomers_share_and_nobody_starts_anew() {
        let (budget, time) = budget(&[Quota::per_minute(number(1))]);
        let budget = budget.capacity(SHARDS);
        for subject in 0..10_000 {
            drop(budget.charge(subject, number(1)));
        }
        let counted = || -> usize {
            budget.shards.iter().map(|shard| shard.lock().unwrap().subjects.len()).sum()
        };
        assert_eq!(counted(), SHARDS);
        // Those who were counted, and those who came too late: all have to wait.
        for subject in 0..10_100 {
            assert!(!passes(&budget.look(subject)), "{subject}");
            assert!(!passes(&budget.charge(subject, number(1))), "{subject}");
        }
        time.fetch_add(60_000, Ordering::SeqCst);
        assert!(passes(&budget.charge(20_000, number(1))));
        assert!(counted() <= SHARDS);
    }

    #[test]
    fn what_is_refilled_makes_room_also_for_those_who_only_look() {
        let (budget, time) = budget(&[Quota::per_minute(number(10))]);
        let budget = budget.capacity(SHARDS);
        for subject in 0..10_000 {
            let shard = budget.hasher.hash_one(subject) % 64;
            let shard = &budget.shards[usize::try_from(shard).unwrap()];
            if shard.lock().unwrap().subjects.is_empty() {
                drop(budget.charge(subject, number(1)));
            }
        }
        time.fetch_add(5_000, Ordering::SeqCst);
        for newcomer in 10_000..20_000 {
            drop(budget.charge(newcomer, number(1)));
        }
        assert!((20_000..20_100).all(|newcomer| !passes(&budget.look(newcomer))));
        time.fetch_add(2_000, Ordering::SeqCst);
        assert!((20_000..20_100).all(|newcomer| passes(&budget.look(newcomer))));
    }

    #[test]
    fn of_simultaneous_charges_no_more_pass_than_there_are() {
        let (budget, _) = budget(&[Quota::per_minute(number(100))]);
        let passed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if passes(&budget.charge(7, number(1))) {
                            passed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }
}
