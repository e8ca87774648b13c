use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::{
    Budget, OverLimit, QuotaLeft, Verdict,
    gcra::{Charged, Gcra},
    quota::Quota,
};

const SHARDS: usize = 64;
/// The shortest time between two sweeps of a full shard. A sweep removes refilled subjects.
const SWEEP: Duration = Duration::from_secs(1);

/// A budget for each of many subjects, such as credentials or client addresses, counted in this process.
///
/// The memory is bounded, and a subject with its whole budget takes none. When the table is full, new subjects share one
/// allowance, and subjects already in the table keep theirs. A client with many addresses slows newcomers down, but lifts no
/// limit.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use countersign_store::{MemoryBudget, Quota, Verdict};
///
/// let once = Quota::per_minute(NonZeroU32::MIN);
/// let budget = MemoryBudget::new("logins", [once]).ok_or("no quota")?;
/// assert!(matches!(budget.charge("ana", NonZeroU32::MIN), Verdict::Within(_)));
/// assert!(matches!(budget.charge("ana", NonZeroU32::MIN), Verdict::Exceeded(_)));
/// assert!(matches!(budget.charge("ben", NonZeroU32::MIN), Verdict::Within(_)));
/// # Ok::<(), &str>(())
/// ```
pub struct MemoryBudget<S> {
    budget: Budget,
    accounts: Accounts<S>,
}

/// The charges of subjects under budgets.
pub(crate) struct Accounts<S> {
    shards: Box<[Mutex<Shard<S>>]>,
    hasher: RandomState,
    /// The most subjects in one shard.
    room: usize,
    pub(crate) clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// Where a subject is counted if there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// With all others for which there was no room. They have the same budget.
    Shared,
    /// By itself all the same.
    Counted,
}

struct Shard<S> {
    subjects: HashMap<S, Account>,
    /// The shared account of all subjects without room.
    rest: Account,
    next_sweep: Duration,
}

/// The charges of a subject.
#[derive(Clone)]
struct Account {
    /// For each quota, the time at which it is full again.
    full_at: Box<[Duration]>,
    /// The part set aside, neither spent nor free.
    reserved: u32,
}

/// A part of a budget, set aside until it is [spent](Self::spend). When it is dropped unspent, exactly this part is free again,
/// whatever was refilled or charged in between.
#[must_use = "what is not spent is free again at once"]
pub(crate) struct Reservation<'b, S: Copy + Eq + Hash> {
    accounts: &'b Accounts<S>,
    budget: &'b Budget,
    subject: S,
    place: Place,
    cost: NonZeroU32,
    at: Duration,
    fate: Fate,
}

/// Whether the part set aside is charged or freed on drop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Spent,
    Released,
}

impl<S: Copy + Eq + Hash> MemoryBudget<S> {
    /// Makes a budget of these quotas, each of which must allow a charge. `None` without a quota. Clients see the name in
    /// `RateLimit`: letters, digits, `-` and `_`.
    pub fn new(name: &'static str, quotas: impl IntoIterator<Item = Quota>) -> Option<Self> {
        Budget::new(name, quotas).map(Self::of)
    }

    pub(crate) fn of(budget: Budget) -> Self {
        let accounts = Accounts::new(budget.quotas.len());
        Self { budget, accounts }
    }

    /// Sets the number of subjects counted at a time, at some 100 bytes each. It is rounded up to a multiple of 64, the number
    /// of parts of the table; a part can be full before the others. Default: 1,000,000.
    pub fn capacity(mut self, subjects: usize) -> Self {
        self.accounts.room = subjects.div_ceil(SHARDS);
        self
    }

    /// Sets the clock: the time since any moment, which never goes back. Default: the system's monotonic clock.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.accounts.clock = Arc::new(clock);
        self
    }

    /// Charges a subject. If the subject has too little left, charges nothing.
    pub fn charge(&self, subject: S, cost: NonZeroU32) -> Verdict {
        self.accounts.charge(&self.budget, subject, Overflow::Shared, cost)
    }

    /// Returns the verdict on a charge of 1, without charging it.
    pub fn look(&self, subject: S) -> Verdict {
        self.accounts.look(&self.budget, subject)
    }

    /// Sets `cost` aside. If the subject has too little left, sets nothing aside.
    #[cfg(test)]
    fn reserve(&self, subject: S, cost: NonZeroU32) -> (Verdict, Option<Reservation<'_, S>>) {
        self.accounts.reserve(&self.budget, subject, Overflow::Shared, cost)
    }
}

impl<S: Copy + Eq + Hash> Accounts<S> {
    /// Makes a table. A budget that overflows into the account that is shared has so many quotas.
    pub(crate) fn new(quotas: usize) -> Self {
        let shard = || Shard {
            subjects: HashMap::new(),
            rest: Account::unused(quotas),
            next_sweep: Duration::ZERO,
        };
        let start = Instant::now();
        Self {
            shards: std::iter::repeat_with(|| Mutex::new(shard())).take(SHARDS).collect(),
            hasher: RandomState::new(),
            room: 1_000_000 / SHARDS,
            clock: Arc::new(move || start.elapsed()),
        }
    }

    /// Charges a subject. If the subject has too little left, charges nothing.
    pub(crate) fn charge(
        &self,
        budget: &Budget,
        subject: S,
        overflow: Overflow,
        cost: NonZeroU32,
    ) -> Verdict {
        let spend = |account: &mut Account, _, now| account.spend(&budget.rates, cost, now);
        self.take(budget, subject, overflow, cost, spend).0
    }

    /// Sets `cost` aside. If the subject has too little left, sets nothing aside.
    pub(crate) fn reserve<'b>(
        &'b self,
        budget: &'b Budget,
        subject: S,
        overflow: Overflow,
        cost: NonZeroU32,
    ) -> (Verdict, Option<Reservation<'b, S>>) {
        self.take(budget, subject, overflow, cost, |account, place, at| {
            account.reserved = account.reserved.saturating_add(cost.get());
            let (accounts, fate) = (self, Fate::Released);
            Reservation { accounts, budget, subject, place, cost, at, fate }
        })
    }

    /// Calls `take` with the account of a subject, if it has enough left.
    fn take<T>(
        &self,
        budget: &Budget,
        subject: S,
        overflow: Overflow,
        cost: NonZeroU32,
        take: impl FnOnce(&mut Account, Place, Duration) -> T,
    ) -> (Verdict, Option<T>) {
        let Some(shard) = self.shard(subject) else {
            return (no_shard(budget, cost), None);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that times come in order.
        let now = (self.clock)();
        let place = shard.place_of(&subject, overflow, self.room, now);
        let account = match place {
            Place::Counted | Place::Free => {
                let unused = || Account::unused(budget.quotas.len());
                shard.subjects.entry(subject).or_insert_with(unused)
            }
            Place::Shared => &mut shard.rest,
        };
        let verdict = judge(budget, account, cost, now);
        let taken = matches!(verdict, Verdict::Within(_)).then(|| take(account, place, now));
        (verdict, taken)
    }

    /// Returns the verdict on a charge of 1, without charging it.
    fn look(&self, budget: &Budget, subject: S) -> Verdict {
        let cost = NonZeroU32::MIN;
        let Some(shard) = self.shard(subject) else {
            return no_shard(budget, cost);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        let unused = Account::unused(budget.quotas.len());
        let account = match shard.place_of(&subject, Overflow::Shared, self.room, now) {
            Place::Counted => shard.subjects.get(&subject).unwrap_or(&unused),
            Place::Free => &unused,
            Place::Shared => &shard.rest,
        };
        judge(budget, account, cost, now)
    }

    fn shard(&self, subject: S) -> Option<&Mutex<Shard<S>>> {
        let shards = u64::try_from(self.shards.len()).unwrap_or(u64::MAX);
        let shard = self.hasher.hash_one(subject).checked_rem(shards).unwrap_or(0);
        usize::try_from(shard).ok().and_then(|shard| self.shards.get(shard))
    }
}

/// Refuses a charge without a shard to count it. Every subject has a shard, so this does not happen.
fn no_shard(budget: &Budget, cost: NonZeroU32) -> Verdict {
    let full_at = budget.quotas.iter().map(Quota::window).collect();
    judge(budget, &Account { full_at, reserved: 0 }, cost, Duration::ZERO)
}

/// Returns whether every quota allows the charge. A refusal names the quota with the longest wait, an allowed charge the
/// quota with the least left.
fn judge(budget: &Budget, account: &Account, cost: NonZeroU32, now: Duration) -> Verdict {
    let (mut least, mut longest): (Option<QuotaLeft>, Option<OverLimit>) = (None, None);
    let quotas = budget.quotas.iter().zip(&budget.rates);
    for ((quota, rate), full_at) in quotas.zip(&account.full_at) {
        match rate.charge(rate.after(*full_at, account.reserved, now), cost, now) {
            Charged::Fits { left, .. } => {
                let less = |other: &QuotaLeft| left.remaining < other.remaining();
                if least.as_ref().is_none_or(less) {
                    least = Some(QuotaLeft::new(budget, quota, left.remaining, left.reset));
                }
            }
            Charged::TooMuch { retry_after, left } => {
                let later = |over: &OverLimit| retry_after > over.retry_after;
                if longest.as_ref().is_none_or(later) {
                    let left = QuotaLeft::new(budget, quota, left.remaining, left.reset);
                    longest = Some(OverLimit { left, retry_after });
                }
            }
        }
    }
    longest.map_or(Verdict::Within(least), Verdict::Exceeded)
}

impl<S: Copy + Eq + Hash> Shard<S> {
    /// Returns where a subject is counted. First removes refilled subjects from a full shard, if a sweep is due.
    fn place_of(&mut self, subject: &S, overflow: Overflow, room: usize, now: Duration) -> Place {
        if self.subjects.contains_key(subject) {
            return Place::Counted;
        }
        if self.subjects.len() >= room && now >= self.next_sweep {
            self.next_sweep = now.saturating_add(SWEEP);
            // A refilled subject is the same as a new one.
            self.subjects.retain(|_, account| account.is_in_use(now));
        }
        match overflow {
            Overflow::Shared if self.subjects.len() >= room => Place::Shared,
            Overflow::Shared | Overflow::Counted => Place::Free,
        }
    }
}

impl Account {
    /// Returns the account of a subject without charges, under a budget of so many quotas.
    fn unused(quotas: usize) -> Self {
        Self { full_at: vec![Duration::ZERO; quotas].into(), reserved: 0 }
    }

    fn spend(&mut self, rates: &[Gcra], cost: NonZeroU32, at: Duration) {
        for (rate, full_at) in rates.iter().zip(&mut self.full_at) {
            *full_at = rate.after(*full_at, cost.get(), at);
        }
    }

    fn is_in_use(&self, now: Duration) -> bool {
        self.reserved > 0 || self.full_at.iter().any(|&time| time > now)
    }
}

impl<S: Copy + Eq + Hash> Reservation<'_, S> {
    /// Charges the part set aside, as of the time of its reservation.
    pub(crate) fn spend(mut self) {
        self.fate = Fate::Spent;
    }
}

impl<S: Copy + Eq + Hash> Drop for Reservation<'_, S> {
    fn drop(&mut self) {
        let Some(shard) = self.accounts.shard(self.subject) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // A sweep keeps an account with a part set aside, so the account is still in its place.
        let account = match self.place {
            Place::Counted | Place::Free => shard.subjects.get_mut(&self.subject),
            Place::Shared => Some(&mut shard.rest),
        };
        let Some(account) = account else { return };
        account.reserved = account.reserved.saturating_sub(self.cost.get());
        if self.fate == Fate::Spent {
            account.spend(&self.budget.rates, self.cost, self.at);
        }
    }
}

/// The account in which a subject is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Counted,
    /// No account yet, but there is room for one.
    Free,
    /// The shared account of all subjects without room.
    Shared,
}

impl<S> fmt::Debug for Accounts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for MemoryBudget<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    /// Returns a budget and its clock, in milliseconds.
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
            let Verdict::Exceeded(over) = budget.charge(subject, number(1)) else { panic!() };
            assert_eq!(over.retry_after, Duration::from_millis(500));
            assert_eq!(over.left.to_string(), r#""test-1";r=0;t=1"#);
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
        let Verdict::Exceeded(over) = budget.charge(1, number(1)) else { panic!() };
        assert_eq!(over.left.name(), "test-60");
        assert_eq!(over.retry_after, Duration::from_secs(17));
    }

    #[test]
    fn the_level_is_that_of_the_quota_with_least_left_and_of_equal_ones_the_first() {
        let (second, minute) = (Quota::per_second, Quota::per_minute);
        let table = [
            ([second(number(9)), minute(number(3))], "test-60"),
            ([minute(number(3)), second(number(9))], "test-60"),
            ([second(number(3)), minute(number(9))], "test-1"),
            ([second(number(3)), minute(number(3))], "test-1"),
            ([minute(number(3)), second(number(3))], "test-60"),
        ];
        for (quotas, expected) in table {
            let (budget, _) = budget(&quotas);
            let Verdict::Within(Some(left)) = budget.charge(1, number(1)) else { panic!() };
            assert_eq!((left.name().as_str(), left.remaining()), (expected, 2), "{quotas:?}");
        }
    }

    #[test]
    fn of_quotas_that_refuse_equally_long_the_first_is_told() {
        let (second, minute) = (Quota::per_second(number(1)), Quota::per_minute(number(60)));
        let minute = minute.burst(number(1));
        for (quotas, expected) in [([second, minute], "test-1"), ([minute, second], "test-60")] {
            let (budget, _) = budget(&quotas);
            assert!(passes(&budget.charge(1, number(1))));
            let Verdict::Exceeded(over) = budget.charge(1, number(1)) else { panic!() };
            assert_eq!(over.retry_after, Duration::from_secs(1));
            assert_eq!(over.left.name(), expected, "{quotas:?}");
        }
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
            budget.accounts.shards.iter().map(|shard| shard.lock().unwrap().subjects.len()).sum()
        };
        assert_eq!(counted(), SHARDS);
        // Subjects with an account and latecomers all have to wait.
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
            let shard = budget.accounts.hasher.hash_one(subject) % 64;
            let shard = &budget.accounts.shards[usize::try_from(shard).unwrap()];
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
    fn a_place_is_free_when_all_is_refilled_and_looked_for_once_a_second() {
        let (budget, time) = budget(&[Quota::per_second(number(1))]);
        let budget = budget.capacity(SHARDS);
        let shard_of = |subject: u32| {
            let shard = budget.accounts.hasher.hash_one(subject) % 64;
            &budget.accounts.shards[usize::try_from(shard).unwrap()]
        };
        let alike = (1..).filter(|&other| std::ptr::eq(shard_of(other), shard_of(0)));
        let newcomers: Vec<_> = alike.take(3).collect();
        let charge_at = |subject, at| {
            time.store(at, Ordering::SeqCst);
            drop(budget.charge(subject, number(1)));
            shard_of(0).lock().unwrap().subjects.contains_key(&subject)
        };
        assert!(charge_at(0, 5_000));
        assert!(!charge_at(newcomers[0], 5_001), "the place is taken");
        assert!(!charge_at(newcomers[1], 6_000), "it was looked for a moment ago");
        assert!(charge_at(newcomers[1], 6_001));
        assert!(charge_at(newcomers[2], 7_001), "to the instant at which all is refilled");
    }

    #[test]
    fn a_million_subjects_are_counted_by_default() {
        let (budget, _) = budget(&[Quota::per_second(number(1))]);
        assert_eq!(budget.accounts.room * SHARDS, 1_000_000);
    }

    #[test]
    fn it_prints_its_quotas_and_none_of_its_subjects() {
        let (budget, _) = budget(&[Quota::per_second(number(1))]);
        drop(budget.charge(4_711, number(1)));
        let printed = format!("{budget:?}");
        assert!(printed.starts_with("MemoryBudget { budget: "), "{printed}");
        assert!(!printed.contains("4711"), "{printed}");
    }

    #[test]
    fn what_is_set_aside_is_for_nobody_else_and_free_again_if_it_is_not_spent() {
        let (budget, _) = budget(&[Quota::per_minute(number(3)), Quota::per_second(number(3))]);
        let (verdict, reservation) = budget.reserve(1, number(2));
        let Verdict::Within(Some(left)) = verdict else { panic!("{verdict:?}") };
        assert_eq!(left.remaining(), 1);
        assert!(!passes(&budget.charge(1, number(2))));
        assert!(passes(&budget.charge(1, number(1))));
        assert!(!passes(&budget.look(1)));
        assert!(budget.reserve(1, number(1)).1.is_none());
        drop(reservation);
        budget.reserve(1, number(2)).1.unwrap().spend();
        assert!(!passes(&budget.look(1)));
    }

    #[test]
    fn what_was_refilled_and_charged_meanwhile_is_not_free_a_second_time() {
        let (budget, time) = budget(&[Quota::per_minute(number(3))]);
        let (one, other) = (budget.reserve(1, number(1)).1, budget.reserve(1, number(1)).1);
        drop(one);
        time.fetch_add(50_000, Ordering::SeqCst);
        assert!(passes(&budget.charge(1, number(2))));
        drop(other);
        assert!(passes(&budget.charge(1, number(1))));
        assert!(!passes(&budget.charge(1, number(1))));
        // Nor is a part that was set aside before a pause.
        let (_, reservation) = budget.reserve(2, number(3));
        time.fetch_add(120_000, Ordering::SeqCst);
        drop(reservation);
        assert!(passes(&budget.charge(2, number(3))));
        assert!(!passes(&budget.charge(2, number(1))));
    }

    #[test]
    fn what_is_spent_late_is_charged_as_of_when_it_was_set_aside() {
        let (budget, time) = budget(&[Quota::per_second(number(1))]);
        for _ in 0..5 {
            let (_, reservation) = budget.reserve(1, number(1));
            time.fetch_add(400, Ordering::SeqCst);
            reservation.unwrap().spend();
            time.fetch_add(599, Ordering::SeqCst);
            assert!(!passes(&budget.look(1)));
            time.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_has_something_set_aside_is_not_swept_out() {
        let (budget, time) = budget(&[Quota::per_minute(number(1))]);
        let budget = budget.capacity(SHARDS);
        let reservations: Vec<_> =
            (0..1000).filter_map(|subject| budget.reserve(subject, number(1)).1).collect();
        // Each shard has a reservation of a counted subject, and another in the account of newcomers.
        assert_eq!(reservations.len(), 2 * SHARDS);
        time.fetch_add(120_000, Ordering::SeqCst);
        assert!((0..1000).all(|subject| !passes(&budget.charge(subject, number(1)))));
        drop(reservations);
        let passed = (0..1000).filter(|&subject| passes(&budget.charge(subject, number(1))));
        assert_eq!(passed.count(), 2 * SHARDS);
    }

    proptest! {
        #[test]
        fn in_whatever_order_they_are_settled_no_more_is_spent_than_there_was(
            (amount, burst) in (1u32..20, 1u32..20),
            steps in proptest::collection::vec((0u64..300, 1u32..4, 0usize..6, any::<bool>()), 1..150),
        ) {
            let (budget, time) = budget(&[Quota::per_second(number(amount)).burst(number(burst))]);
            let (mut pending, mut spent) = (Vec::new(), Vec::new());
            for (wait, cost, settled, is_spent) in steps {
                let now = time.fetch_add(wait, Ordering::SeqCst).saturating_add(wait);
                let cost = cost.min(burst);
                if let (_, Some(reservation)) = budget.reserve(1, number(cost)) {
                    pending.push((now, cost, reservation));
                }
                if settled < pending.len() {
                    let (at, cost, reservation) = pending.swap_remove(settled);
                    if is_spent {
                        reservation.spend();
                        spent.push((at, cost));
                    }
                }
            }
            spent.sort_unstable();
            for (first, &(start, _)) in spent.iter().enumerate() {
                let mut sum = 0;
                for &(at, cost) in spent.iter().skip(first) {
                    sum += cost;
                    let refilled = Duration::from_millis(at - start).as_secs_f64() * f64::from(amount);
                    prop_assert!(f64::from(sum) <= f64::from(burst) + refilled + 1e-6);
                }
            }
        }
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
