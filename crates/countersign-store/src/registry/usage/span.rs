use countersign::Timestamp;

/// How long the time is that a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resolution {
    Minute,
    Hour,
    Day,
}

impl Resolution {
    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    const fn finer(self) -> Option<Self> {
        match self {
            Self::Minute => None,
            Self::Hour => Some(Self::Minute),
            Self::Day => Some(Self::Hour),
        }
    }

    /// The first second of the minute, hour or day of a time.
    pub(super) fn start(self, time: Timestamp) -> Timestamp {
        let past = time.unix().checked_rem(self.seconds()).unwrap_or(0);
        Timestamp::from_unix(time.unix().saturating_sub(past))
    }

    /// The first whole minute, hour or day that begins then or later.
    pub(super) fn next_start(self, time: Timestamp) -> Timestamp {
        let start = self.start(time);
        match start == time {
            true => time,
            false => Timestamp::from_unix(start.unix().saturating_add(self.seconds())),
        }
    }
}

/// A time, and the resolution in which its rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) resolution: Resolution,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    /// Divides a range: whole days are read by the day, the rest by the hour and then by the minute, unless a coarser or a finer
    /// resolution is excluded.
    pub(super) fn cover(
        from: Timestamp,
        to: Timestamp,
        coarsest: Resolution,
        finest: Resolution,
    ) -> Vec<Self> {
        if from >= to {
            return Vec::new();
        }
        let Some(finer) = coarsest.finer().filter(|_| coarsest > finest) else {
            return vec![Self { resolution: coarsest, from, to }];
        };
        let (first, last) = (coarsest.next_start(from), coarsest.start(to));
        if first >= last {
            return Self::cover(from, to, finer, finest);
        }
        let mut spans = Self::cover(from, first, finer, finest);
        spans.push(Self { resolution: coarsest, from: first, to: last });
        spans.extend(Self::cover(last, to, finer, finest));
        spans
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    /// The first second of a day.
    const DAY: Timestamp = Timestamp::from_unix(20_000 * 86_400);

    pub(in super::super) fn at(days: u32, hours: u32, minutes: u32) -> Timestamp {
        let parts = [(days, 86_400), (hours, 3600), (minutes, 60)];
        parts.into_iter().fold(DAY, |time, (number, seconds)| {
            time.plus(Duration::from_secs(seconds).saturating_mul(number))
        })
    }

    #[test]
    fn whole_days_are_read_by_the_day_and_the_rest_by_hours_and_minutes() {
        use Resolution::{Day, Hour, Minute};
        let span = |resolution, from, to| Span { resolution, from, to };
        let all = Span::cover(at(0, 22, 58), at(3, 1, 1), Day, Minute);
        let expected = [
            span(Minute, at(0, 22, 58), at(0, 23, 0)),
            span(Hour, at(0, 23, 0), at(1, 0, 0)),
            span(Day, at(1, 0, 0), at(3, 0, 0)),
            span(Hour, at(3, 0, 0), at(3, 1, 0)),
            span(Minute, at(3, 1, 0), at(3, 1, 1)),
        ];
        assert_eq!(all, expected);
        let hours = Span::cover(at(0, 22, 0), at(3, 1, 0), Hour, Hour);
        assert_eq!(hours, [span(Hour, at(0, 22, 0), at(3, 1, 0))]);
        let minutes = Span::cover(at(0, 0, 1), at(0, 0, 9), Day, Minute);
        assert_eq!(minutes, [span(Minute, at(0, 0, 1), at(0, 0, 9))]);
        assert_eq!(Span::cover(at(1, 0, 0), at(1, 0, 0), Day, Minute), []);
        assert_eq!(Span::cover(at(1, 0, 0), at(0, 0, 0), Day, Minute), []);
    }
}
