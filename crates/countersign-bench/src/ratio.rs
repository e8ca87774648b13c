use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one round of one side takes: long beside the clock's grain, short beside what a scheduler does.
const ROUND: Duration = Duration::from_micros(1500);

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
    pub(crate) fn measure<A, B>(
        rounds: usize,
        mut first: impl FnMut() -> A,
        mut second: impl FnMut() -> B,
    ) -> Self {
        let (first_times, second_times) =
            (times_in_a_round(&mut first), times_in_a_round(&mut second));
        let times = (0..rounds)
            .map(|_| (time(&mut first, first_times), time(&mut second, second_times)))
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
    let once = time(operation, 16).max(Duration::from_nanos(1));
    u32::try_from(ROUND.as_nanos() / once.as_nanos()).unwrap_or(u32::MAX).max(1)
}

/// The mean time of an operation.
fn time<T>(operation: &mut impl FnMut() -> T, times: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        black_box(operation());
    }
    start.elapsed().checked_div(times).unwrap_or_default()
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    middle(&times)
}

fn middle<T: Copy>(sorted: &[T]) -> T {
    *sorted.get(sorted.len() / 2).unwrap()
}
