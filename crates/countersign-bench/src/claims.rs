use std::{
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use countersign::{Claim, Nonce, NonceUse, Timestamp, Window};
use countersign_store::{MemoryNonces, NonceStore, StoreError};
use fastrand::Rng;

use crate::{
    figure::{Figure, Target},
    process::{resident, switches},
};

/// Enough for whatever is asked for here: what is used is measured.
const MEMORY: usize = 4 << 30;
const CREDENTIALS: u64 = 1000;
/// How many seconds of `created` are live at a time, with [`Window::default`] and no clock that is ahead.
const REMEMBERED: u64 = 81;
/// How many seconds are measured after the guard has been filled.
const MEASURED: u64 = 60;
/// How many claims are made ready at a time, and then timed one by one.
const BATCH: u64 = 4096;
const START: Timestamp = Timestamp::from_unix(1_763_900_000);

/// What claims cost when so many nonces are live. The clock is the benchmark's own: a second has as many claims as keep
/// that number live, however long they take.
pub(crate) fn figures(live: u64) -> Vec<Figure> {
    let per_second = (live / REMEMBERED).max(1);
    let mut times = vec![0u32; usize::try_from(per_second * MEASURED).unwrap()];
    // Written to once, so that it is in memory before memory is measured.
    times.fill(1);
    let mut batch = Vec::with_capacity(usize::try_from(BATCH).unwrap());
    let mut random = Rng::with_seed(1);

    let before = resident();
    let guard = MemoryNonces::volatile(Window::default(), START.minus(Duration::from_secs(60)));
    let guard = guard.unwrap().memory(MEMORY).share(usize::try_from(live / 10).unwrap());
    let mut second = 0;
    while second < 2 * REMEMBERED {
        claim_second(&guard, second, per_second, &mut random, &mut batch, |_| {});
        second += 1;
    }

    let (mut worst_undisturbed, mut left) = (0, times.iter_mut());
    let mut bytes = Vec::new();
    for _ in 0..MEASURED {
        claim_second(&guard, second, per_second, &mut random, &mut batch, |timed| {
            if timed.is_undisturbed {
                let worst = timed.times.iter().copied().max().unwrap_or(0);
                worst_undisturbed = worst.max(worst_undisturbed);
            }
            left.by_ref().zip(timed.times).for_each(|(to, time)| *to = *time);
        });
        second += 1;
        let remembered = guard.remembered() as f64;
        bytes.push((guard.used_memory() as f64 / remembered, (resident() - before) / remembered));
    }
    times.sort_unstable();
    let quantile = |part: f64| f64::from(*times.get((times.len() as f64 * part) as usize).unwrap());
    let remembered = guard.remembered() as f64;
    let counted = bytes.iter().map(|(counted, _)| *counted).fold(0.0, f64::max);
    let resident = bytes.iter().map(|(_, resident)| *resident).fold(0.0, f64::max);
    let clock = clock();
    let worst = f64::from(*times.last().unwrap());
    let over = times.iter().filter(|&&time| time > 1_000_000).count() as f64;
    vec![
        Figure::new("nonces remembered", remembered, "", None),
        Figure::new(
            "claim, median, less the clock",
            quantile(0.5) - clock,
            "ns",
            Some(Target::AtMost(150.0)),
        ),
        Figure::new("claim, 99 of 100", quantile(0.99), "ns", None),
        Figure::new("claim, 999 of 1000", quantile(0.999), "ns", None),
        Figure::new(
            "claim, worst undisturbed",
            f64::from(worst_undisturbed) / 1e3,
            "µs",
            Some(Target::AtMost(1000.0)),
        ),
        Figure::new("claim, worst", worst / 1e3, "µs", None),
        Figure::new("claims over 1 ms", over, "", None),
        Figure::new("reading the clock twice, median", clock, "ns", None),
        Figure::new(
            "memory a nonce, by the process, at most",
            resident,
            "bytes",
            Some(Target::AtMost(24.0)),
        ),
        Figure::new(
            "memory a nonce, by the guard, at most",
            counted,
            "bytes",
            Some(Target::AtMost(24.0)),
        ),
        Figure::new("claims a second, one thread", rate(&guard, second, per_second, 1), "/s", None),
        Figure::new(
            "claims a second, two threads",
            rate(&guard, second + 8, per_second, 2),
            "/s",
            None,
        ),
    ]
}

/// How long each claim of a batch took, in nanoseconds.
struct Timed<'a> {
    times: &'a [u32],
    /// Whether the system let the thread run all the while.
    is_undisturbed: bool,
}

/// Makes the claims of one second of the benchmark's clock.
fn claim_second(
    guard: &MemoryNonces,
    second: u64,
    claims: u64,
    random: &mut Rng,
    batch: &mut Vec<NonceUse>,
    mut timed: impl FnMut(Timed<'_>),
) {
    let now = START.plus(Duration::from_secs(second));
    let mut times = [0; BATCH as usize];
    let mut left = claims;
    while left > 0 {
        let size = left.min(BATCH);
        batch.clear();
        batch.extend((0..size).map(|_| nonce_use(random, now)));
        let before = switches();
        for (used, time) in batch.iter().zip(&mut times) {
            let start = Instant::now();
            let claim = ready(guard.claim(used, now));
            let elapsed = start.elapsed();
            assert!(matches!(claim, Ok(Claim::Fresh)), "{claim:?}");
            *time = u32::try_from(elapsed.as_nanos()).unwrap_or(u32::MAX);
        }
        let is_undisturbed = before == switches();
        timed(Timed { times: times.get(..batch.len()).unwrap(), is_undisturbed });
        left -= size;
    }
}

/// How many claims so many threads make in a second of real time, all of them fresh.
fn rate(guard: &MemoryNonces, second: u64, per_second: u64, threads: u64) -> f64 {
    let now = START.plus(Duration::from_secs(second));
    let claims = (per_second * 4).max(10_000);
    let start = Barrier::new(usize::try_from(threads).unwrap());
    let slowest = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    let mut random = Rng::with_seed(1000 * second + thread);
                    let uses: Vec<_> = (0..claims).map(|_| nonce_use(&mut random, now)).collect();
                    start.wait();
                    let start = Instant::now();
                    for used in &uses {
                        assert!(black_box(ready(guard.claim(used, now))).is_ok());
                    }
                    start.elapsed()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    });
    (claims * threads) as f64 / slowest.as_secs_f64()
}

/// Claims from a volatile guard, which replies at once.
pub(crate) fn claim(
    guard: &MemoryNonces,
    used: &NonceUse,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    ready(guard.claim(used, now))
}

fn ready(claim: impl Future<Output = Result<Claim, StoreError>>) -> Result<Claim, StoreError> {
    match pin!(claim).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(claim) => claim,
        Poll::Pending => Err(StoreError::new("it waits")),
    }
}

/// How long it seems to take to do nothing.
fn clock() -> f64 {
    let nothing = || {
        let start = Instant::now();
        start.elapsed().as_nanos() as u32
    };
    let mut times: Vec<_> = (0..10_001).map(|_| nothing()).collect();
    times.sort_unstable();
    f64::from(*times.get(times.len() / 2).unwrap())
}

/// By one of the credentials, signed in this second, or one of eight in the one before.
fn nonce_use(random: &mut Rng, now: Timestamp) -> NonceUse {
    let credential = i64::try_from(random.u64(..CREDENTIALS)).unwrap();
    let created = now.minus(Duration::from_secs(u64::from(random.u8(..8) == 0)));
    NonceUse::new(credential, created, Nonce::from_random(random.u128(..).to_le_bytes()))
}
