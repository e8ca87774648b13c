use std::time::Duration;

/// How long counts are kept.
///
/// With the bounds of what is counted apart, this bounds the room that they take on the disk.
///
/// ```
/// use std::time::Duration;
///
/// use countersign_store::UsageRetention;
///
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// let retention = UsageRetention::default().hours(30 * DAY); // for `Registry::usage_retention`
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRetention {
    minutes: Duration,
    hours: Duration,
    days: Duration,
}

impl Default for UsageRetention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            minutes: DAY.saturating_mul(2),
            hours: DAY.saturating_mul(90),
            days: DAY.saturating_mul(3 * 365),
        }
    }
}

impl UsageRetention {
    /// Sets how long counts by minute are kept. Default: 2 days.
    pub const fn minutes(mut self, time: Duration) -> Self {
        self.minutes = time;
        self
    }

    /// Sets how long counts by hour are kept. Default: 90 days.
    pub const fn hours(mut self, time: Duration) -> Self {
        self.hours = time;
        self
    }

    /// Sets how long counts by day are kept, and events since they last happened. Default: 3 years.
    pub const fn days(mut self, time: Duration) -> Self {
        self.days = time;
        self
    }

    pub(crate) const fn of_minutes(&self) -> Duration {
        self.minutes
    }

    pub(crate) const fn of_hours(&self) -> Duration {
        self.hours
    }

    pub(crate) const fn of_days(&self) -> Duration {
        self.days
    }
}
