use std::{fmt, time::Duration};

/// Seconds since the Unix epoch: the unit of `created` and `expires` (RFC 9421 §2.3).
///
/// Never negative, and never beyond what a structured-field integer holds (15 digits), so that arithmetic on a
/// stranger's number neither wraps nor panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The largest timestamp that a structured field can carry (RFC 9651 §3.3.1).
    pub const MAX: Self = Self(999_999_999_999_999);

    /// The timestamp `seconds` after the epoch; what lies beyond [`Timestamp::MAX`] becomes it.
    pub const fn from_unix(seconds: u64) -> Self {
        if seconds > Self::MAX.0 { Self::MAX } else { Self(seconds) }
    }

    /// Seconds since the Unix epoch.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, or `None` if `earlier` is still to come.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_secs)
    }

    /// This moment plus `duration`, whose fraction of a second is dropped; at most [`Timestamp::MAX`].
    pub const fn plus(self, duration: Duration) -> Self {
        Self::from_unix(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment less `duration`, whose fraction of a second is dropped; at least the epoch.
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_inside_what_a_structured_field_holds() {
        let late = Timestamp::from_unix(u64::MAX);
        assert_eq!(late, Timestamp::MAX);
        assert_eq!(late.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_unix(5).minus(Duration::from_secs(9)).unix(), 0);
        assert_eq!(Timestamp::from_unix(5).since(late), None);
        assert_eq!(late.since(late), Some(Duration::ZERO));
    }

    #[test]
    fn it_counts_whole_seconds() {
        let time = Timestamp::from_unix(100);
        assert_eq!(time.unix(), 100);
        assert_eq!(time.to_string(), "100");
        assert_eq!(time.plus(Duration::from_millis(2_999)).unix(), 102);
        assert_eq!(time.minus(Duration::from_millis(2_999)).unix(), 98);
        assert_eq!(time.since(Timestamp::from_unix(58)), Some(Duration::from_secs(42)));
    }
}
