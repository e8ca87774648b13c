use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use countersign::Timestamp;

/// How far the system's clock may be ahead of the expected time. Further ahead is a leap.
const LEAP: Duration = Duration::from_secs(60);
/// How long later readings must agree with a leap before the clock follows it.
const AGREEMENT: Duration = Duration::from_secs(10);
/// How much agreeing readings may differ, since a slewed clock is not exact.
const SLACK: Duration = Duration::from_secs(2);

/// Returns the time of the system's clock.
///
/// A clock before 1970 gives 0. Every signature is then from the future, and is refused.
pub fn system_time() -> Timestamp {
    timestamp(since_epoch())
}

/// The system's clock, with protection against leaps ahead.
///
/// A leap is a reading more than a minute ahead of the expected time: the last reading plus the time since by a monotonic
/// clock. Until readings have agreed with the leap for 10 s, the time goes on from the last reading, and a warning is logged.
/// So a moment of wrong time neither raises the replay ceiling far ahead nor makes a replay guard forget. If the clock was
/// wrong before and was set right, honest callers are refused for those 10 s. A clock that is set back is followed at once,
/// since this makes no guard forget.
///
/// ```
/// use countersign_store::SystemClock;
///
/// let clock = SystemClock::default();
/// let before = clock.now();
/// assert!(clock.now() >= before);
/// ```
#[derive(Debug, Default)]
pub struct SystemClock(Mutex<Option<Course>>);

impl SystemClock {
    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        let mut course = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that readings come in order.
        let reading = Reading { system: since_epoch(), steady: Instant::now() };
        let (next, seen) = match course.take() {
            None => (Course { last: reading, leap: None }, Seen::Time),
            Some(course) => course.follow(reading),
        };
        let time = next.time(reading.steady);
        *course = Some(next);
        drop(course);
        match seen {
            Seen::Time | Seen::LeapAgain => {}
            Seen::Leap => tracing::warn!(
                system = timestamp(reading.system).unix(),
                time = timestamp(time).unix(),
                "the system's clock jumped ahead; it is used again once it has been steady for 10 s"
            ),
            Seen::Agreed => tracing::warn!(
                system = timestamp(reading.system).unix(),
                "the system's clock has been steady since its jump, and is used again"
            ),
        }
        timestamp(time)
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The time since 1970.
    system: Duration,
    steady: Instant,
}

/// The last believed time, and a possible leap.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// The last reading that was believed.
    last: Reading,
    /// The first reading of a leap: later readings agree with it, and not with `last`.
    leap: Option<Reading>,
}

/// The judgement of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// An ordinary time.
    Time,
    Leap,
    /// A known leap, still not old enough to follow.
    LeapAgain,
    Agreed,
}

impl Course {
    /// Judges a reading, and returns the course after it.
    fn follow(self, reading: Reading) -> (Self, Seen) {
        let believed = Self { last: reading, leap: None };
        if reading.system <= self.last.at(reading.steady).saturating_add(LEAP) {
            return (believed, Seen::Time);
        }
        match self.leap {
            Some(leap) if leap.at(reading.steady).abs_diff(reading.system) <= SLACK => {
                match reading.steady.saturating_duration_since(leap.steady) >= AGREEMENT {
                    true => (believed, Seen::Agreed),
                    false => (self, Seen::LeapAgain),
                }
            }
            _ => (Self { leap: Some(reading), ..self }, Seen::Leap),
        }
    }

    /// Returns the time since 1970.
    fn time(&self, steady: Instant) -> Duration {
        self.last.at(steady)
    }
}

impl Reading {
    /// Returns the expected time of the system's clock at a later moment.
    fn at(&self, steady: Instant) -> Duration {
        self.system.saturating_add(steady.saturating_duration_since(self.steady))
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn timestamp(since_epoch: Duration) -> Timestamp {
    Timestamp::from_unix(since_epoch.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_900_000;

    #[test]
    fn a_leap_is_followed_when_it_lasts_and_every_other_reading_at_once() {
        type Readings = &'static [(u64, u64, u64, Seen)];
        // Seconds passed, the system's clock, the resulting time, and the judgement.
        let courses: [(&str, Readings); 7] = [
            (
                "steady",
                &[(1, NOW + 1, NOW + 1, Seen::Time), (3600, NOW + 3600, NOW + 3600, Seen::Time)],
            ),
            (
                "corrected",
                &[(1, NOW + 61, NOW + 61, Seen::Time), (2, NOW + 122, NOW + 122, Seen::Time)],
            ),
            (
                "set back",
                &[(1, NOW - 5000, NOW - 5000, Seen::Time), (2, NOW - 4999, NOW - 4999, Seen::Time)],
            ),
            (
                "a moment",
                &[
                    (1, NOW + 1_000_000, NOW + 1, Seen::Leap),
                    (2, NOW + 1_000_001, NOW + 2, Seen::LeapAgain),
                    (3, NOW + 3, NOW + 3, Seen::Time),
                    (30, NOW + 1_000_030, NOW + 30, Seen::Leap),
                ],
            ),
            (
                "for good",
                &[
                    (1, NOW + 62, NOW + 1, Seen::Leap),
                    (10, NOW + 71, NOW + 10, Seen::LeapAgain),
                    (11, NOW + 72, NOW + 72, Seen::Agreed),
                    (12, NOW + 73, NOW + 73, Seen::Time),
                ],
            ),
            (
                "never the same",
                &[
                    (1, NOW + 1000, NOW + 1, Seen::Leap),
                    (12, NOW + 2000, NOW + 12, Seen::Leap),
                    (24, NOW + 3000, NOW + 24, Seen::Leap),
                    (35, NOW + 3014, NOW + 35, Seen::Leap),
                    (45, NOW + 3026, NOW + 3026, Seen::Agreed),
                ],
            ),
            (
                "asked seldom",
                &[
                    (3600, NOW + 9000, NOW + 3600, Seen::Leap),
                    (7200, NOW + 12_600, NOW + 12_600, Seen::Agreed),
                ],
            ),
        ];
        for (name, readings) in courses {
            let start = Instant::now();
            let first = Reading { system: Duration::from_secs(NOW), steady: start };
            let mut course = Course { last: first, leap: None };
            for &(passed, system, time, seen) in readings {
                let steady = start + Duration::from_secs(passed);
                let reading = Reading { system: Duration::from_secs(system), steady };
                let followed;
                (course, followed) = course.follow(reading);
                let is = (course.time(steady).as_secs(), followed);
                assert_eq!(is, (time, seen), "{name}, after {passed} s");
            }
        }
    }

    #[test]
    fn without_a_leap_it_says_what_the_system_says() {
        let clock = SystemClock::default();
        for _ in 0..3 {
            let (before, now, after) = (system_time(), clock.now(), system_time());
            assert!(before <= now && now <= after, "{before} {now} {after}");
        }
    }
}
