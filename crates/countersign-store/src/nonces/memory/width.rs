use countersign::Window;

/// The number of seconds of `created` that are remembered and forgotten together: a power of two, stored as its logarithm.
/// Every claim asks several times for the number of a second, and a shift is faster than a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(u32);

impl Width {
    /// Returns the greatest width of which at least `parts` make up a window, or 1 s.
    pub(super) fn part_of(window: Window, parts: u64) -> Self {
        let live = window.lifetime().saturating_add(window.skew()).as_secs();
        Self(live.checked_div(parts).and_then(u64::checked_ilog2).unwrap_or(0))
    }

    /// Returns the number of the bucket or span of a second. Distant seconds never share a number.
    pub(super) const fn number(self, second: u64) -> u64 {
        second >> self.0
    }

    /// Returns the first second after the bucket or span with this number.
    pub(super) const fn end(self, number: u64) -> u64 {
        number.saturating_add(1) << self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign::{Policy, Timestamp};

    use super::*;

    #[test]
    fn a_second_is_before_the_end_of_what_it_belongs_to_and_not_of_the_one_before() {
        for (max_age, parts, seconds) in
            [(60, 90, 1), (60, 5, 16), (1, 90, 1), (900, 90, 8), (900, 5, 128)]
        {
            let seconds_of = Duration::from_secs;
            let policy = Policy::default().window(seconds_of(max_age), seconds_of(10));
            let width = Width::part_of(Window::from(&policy.unwrap()), parts);
            assert_eq!(width.end(0), seconds, "{max_age} by {parts}");
            for second in [0, 1, 7, 8, 1_763_900_000, Timestamp::MAX.unix()] {
                let number = width.number(second);
                assert!(second < width.end(number));
                assert!(number == 0 || second >= width.end(number - 1));
            }
        }
    }
}
