use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one round of one side takes: long beside the clock's grain, short beside what a scheduler does.
const ROUND: Duration = Duration::from_micros(1500);

/// How many positions of the stack an operation is timed at, spread over a page.
const POSITIONS: usize = 32;
const PAGE: usize = 4096;
/// From one operation to the next the position moves by so much: few of them are spread over the page as well as many.
const STRIDE: usize = 13;

/// How long two operations take beside each other, as a mean over positions of the stack.
///
/// Some operations take longer where a local value of theirs lies across two pages: without the mean, a figure would depend on
/// how deep the caller's stack happens to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    /// The median, over all rounds, of the first by the second.
    pub(crate) median: f64,
    /// The median time of the first.
    pub(crate) first: Duration,
    /// The median time of the second.
    pub(crate) second: Duration,
}

impl Ratio {
    /// Measures both in turn, so that whatever else the machine does befalls them alike.
    pub(crate) fn measure<A, B>(
        rounds: usize,
        mut first: impl FnMut() -> A,
        mut second: impl FnMut() -> B,
    ) -> Self {
        let (first_times, second_times) =
            (times_in_a_round(&mut first), times_in_a_round(&mut second));
        let times = (0..rounds)
            .map(|round| {
                (time(&mut first, first_times, round), time(&mut second, second_times, round))
            })
            .collect();
        Self::of(times)
    }

    /// The same of what was timed elsewhere: how long both took in each round.
    pub(crate) fn of(times: Vec<(Duration, Duration)>) -> Self {
        let ratio = |(one, other): &(Duration, Duration)| one.as_secs_f64() / other.as_secs_f64();
        let mut ratios: Vec<_> = times.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (firsts, seconds) = times.into_iter().unzip();
        Self { median: middle(&ratios), first: median(firsts), second: median(seconds) }
    }
}

fn times_in_a_round<T>(operation: &mut impl FnMut() -> T) -> u32 {
    let once = time(operation, 16, 0).max(Duration::from_nanos(1));
    u32::try_from(ROUND.as_nanos() / once.as_nanos()).unwrap_or(u32::MAX).max(1)
}

/// The mean time of an operation. It is timed at all positions if there are as many times, and at others in the next round.
fn time<T>(operation: &mut impl FnMut() -> T, times: u32, round: usize) -> Duration {
    let positions = usize::try_from(times).unwrap().min(POSITIONS);
    let times_each = times.div_ceil(u32::try_from(positions).unwrap());
    let mut elapsed = Duration::ZERO;
    for next in 0..positions {
        at((round + next * STRIDE) % POSITIONS, &mut || {
            let start = Instant::now();
            for _ in 0..times_each {
                black_box(operation());
            }
            elapsed += start.elapsed();
        });
    }
    elapsed.checked_div(times_each * u32::try_from(positions).unwrap()).unwrap_or_default()
}

/// Calls a function where the stack has this position in its page.
#[inline(never)]
fn at(position: usize, function: &mut dyn FnMut()) {
    let here = [0u8; 16];
    let address = std::ptr::from_ref(black_box(&here)).addr();
    if address % PAGE / (PAGE / POSITIONS) == position {
        function();
    } else {
        at(position, function);
    }
    black_box(&here);
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    middle(&times)
}

fn middle<T: Copy>(sorted: &[T]) -> T {
    *sorted.get(sorted.len() / 2).unwrap()
}
