use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one side is timed at once: long beside the clock's grain, short beside what a scheduler does.
const SLICE: Duration = Duration::from_micros(100);
/// How many positions of the stack the operations are timed at, spread over a page.
const POSITIONS: usize = 16;
const PAGE: usize = 4096;

/// How long two operations take beside each other.
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
    ///
    /// Each figure is a mean of the medians at all positions of the stack. Some operations take longer where a local value of theirs
    /// lies on two pages: without the mean, a figure would depend on how deep the caller's stack happens to be.
    pub(crate) fn measure<A, B>(
        rounds: usize,
        mut first: impl FnMut() -> A,
        mut second: impl FnMut() -> B,
    ) -> Self {
        let (first_times, second_times) =
            (times_in_a_slice(&mut first), times_in_a_slice(&mut second));
        let mut times_at: [Vec<_>; POSITIONS] = Default::default();
        for _ in 0..rounds {
            for (position, times) in times_at.iter_mut().enumerate() {
                at(position, &mut || {
                    let first = time(&mut first, first_times);
                    times.push((first, time(&mut second, second_times)));
                });
            }
        }
        let ratios: Vec<_> = times_at.into_iter().map(Self::of).collect();
        let positions = u32::try_from(POSITIONS).unwrap();
        let mean = |of: fn(&Self) -> Duration| ratios.iter().map(of).sum::<Duration>() / positions;
        Self {
            median: ratios.iter().map(|ratio| ratio.median).sum::<f64>() / f64::from(positions),
            first: mean(|ratio| ratio.first),
            second: mean(|ratio| ratio.second),
        }
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

fn times_in_a_slice<T>(operation: &mut impl FnMut() -> T) -> u32 {
    let once = (0..8).map(|_| time(operation, 8)).min().unwrap_or_default();
    let once = once.max(Duration::from_nanos(1));
    u32::try_from(SLICE.as_nanos() / once.as_nanos()).unwrap_or(u32::MAX).max(1)
}

/// The mean time of an operation.
fn time<T>(operation: &mut impl FnMut() -> T, times: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        black_box(operation());
    }
    start.elapsed().checked_div(times).unwrap_or_default()
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
