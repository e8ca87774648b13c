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

    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let place = Self::BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(count) = self.0.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }
}
