use std::time::Duration;

/// Calls by their duration, between fixed bounds, so that histograms add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram([u64; LatencyHistogram::COUNT]);

impl LatencyHistogram {
    /// The upper bounds of all counts but the last, which has none.
    pub const BOUNDS: [Duration; Self::COUNT - 1] = [
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(20),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(200),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(2),
        Duration::from_secs(5),
    ];
    /// How many counts there are.
    pub const COUNT: usize = 13;

    /// The counts, from the shortest durations to the longest.
    pub const fn counts(&self) -> &[u64; Self::COUNT] {
        &self.0
    }

    /// A histogram of these counts.
    pub const fn of(counts: [u64; Self::COUNT]) -> Self {
        Self(counts)
    }

    /// Returns the duration that this part of the calls did not exceed: 0.5 for the median. It is estimated between the bounds
    /// around it; beyond the last bound, it is that bound. `None` if nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().fold(0, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let float = |count: u64| count as f64;
        let wanted = float(total) * part.clamp(0.0, 1.0);
        let (mut below, mut lower) = (0, Duration::ZERO);
        for (count, upper) in self.0.iter().zip(Self::BOUNDS) {
            let until = count.saturating_add(below);
            if *count > 0 && float(until) >= wanted {
                let part = (wanted - float(below)) / float(*count);
                let width = upper.saturating_sub(lower);
                return Some(lower.saturating_add(width.mul_f64(part.clamp(0.0, 1.0))));
            }
            (below, lower) = (until, upper);
        }
        Some(lower)
    }

    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let place = Self::BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(count) = self.0.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_between_the_bounds_around_it() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for _ in 0..90 {
            histogram.add(Duration::from_millis(15));
        }
        for _ in 0..10 {
            histogram.add(Duration::from_secs(60));
        }
        assert_eq!(histogram.quantile(0.45), Some(Duration::from_millis(15)));
        assert_eq!(histogram.quantile(0.9), Some(Duration::from_millis(20)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_secs(5)));
        assert_eq!(histogram.quantile(0.0), Some(Duration::from_millis(10)));
        assert_eq!(histogram.quantile(7.0), histogram.quantile(1.0));
    }
}
