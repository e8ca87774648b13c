use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// An amount in a window, with a limit on how much of it may come at once.
///
/// A quota is refilled evenly, by GCRA: 60 a minute are one a second, after a burst. So twice the amount never passes at once,
/// at the edge of a window.
///
/// Printed and parsed as `600/1m`, or `600/1m:50` with at most 50 at once. The units of a window are `s`, `m`, `h`, `d` and `w`.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
///
/// use countersign_store::Quota;
///
/// let quota: Quota = "600/1m:50".parse()?;
/// let amount = NonZeroU32::new(600).unwrap();
/// assert_eq!(quota, Quota::per_minute(amount).burst(NonZeroU32::new(50).unwrap()));
/// assert_eq!(quota.window(), Duration::from_secs(60));
/// # Ok::<(), countersign_store::BadQuota>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    amount: NonZeroU32,
    window: Duration,
    burst: NonZeroU32,
}

/// The error for a window with a fraction of a second, below one second or above 31 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quota is for whole seconds: one of them to 31 days")]
pub struct BadWindow;

/// Why a text is not a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuota {
    /// The text is not of the form.
    #[error("a quota is like 600/1m, or 600/1m:50 with at most 50 at once")]
    Form,
    /// The window is too short or too long.
    #[error(transparent)]
    Window(#[from] BadWindow),
}

impl Quota {
    const LONGEST: Duration = Duration::from_secs(31 * 86_400);

    /// Makes a quota of an amount in a window. All of it may come at once.
    ///
    /// # Errors
    ///
    /// [`BadWindow`], since `RateLimit-Policy` counts windows in seconds.
    pub fn new(amount: NonZeroU32, window: Duration) -> Result<Self, BadWindow> {
        let seconds = Duration::from_secs(window.as_secs());
        if seconds != window || window.is_zero() || window > Self::LONGEST {
            return Err(BadWindow);
        }
        Ok(Self { amount, window, burst: amount })
    }

    /// Makes a quota of an amount in each second.
    pub const fn per_second(amount: NonZeroU32) -> Self {
        Self { amount, window: Duration::from_secs(1), burst: amount }
    }

    /// Makes a quota of an amount in each minute.
    pub const fn per_minute(amount: NonZeroU32) -> Self {
        Self { amount, window: Duration::from_secs(60), burst: amount }
    }

    /// Sets how much may come at once, after a long enough pause. Default: the amount.
    pub const fn burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }

    /// Returns the amount in a window.
    pub const fn amount(&self) -> NonZeroU32 {
        self.amount
    }

    /// Returns the window.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Returns how much may come at once, after a long enough pause.
    pub const fn at_once(&self) -> NonZeroU32 {
        self.burst
    }

    /// Returns the share of one server in this quota of several servers: at least 1.
    pub(crate) fn share(self, servers: NonZeroU32) -> Self {
        let share = |all: NonZeroU32| {
            let share = all.get().checked_div(servers.get()).and_then(NonZeroU32::new);
            share.unwrap_or(NonZeroU32::MIN)
        };
        Self { amount: share(self.amount), window: self.window, burst: share(self.burst) }
    }

    /// Returns the time to refill a cost of 1, rounded up, so that a quota is never refilled too fast.
    pub(crate) fn interval(&self) -> Duration {
        let nanos = self.window.as_nanos().div_ceil(u128::from(self.amount.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The units of a window, the longest first.
const UNITS: [(u64, char); 5] = [(604_800, 'w'), (86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];

impl FromStr for Quota {
    type Err = BadQuota;

    fn from_str(text: &str) -> Result<Self, BadQuota> {
        let (amount, rest) = text.split_once('/').ok_or(BadQuota::Form)?;
        let (window, burst) = match rest.split_once(':') {
            Some((window, burst)) => (window, Some(burst)),
            None => (rest, None),
        };
        let quota = Self::new(number(amount)?, seconds(window)?)?;
        Ok(match burst {
            Some(burst) => quota.burst(number(burst)?),
            None => quota,
        })
    }
}

fn number(text: &str) -> Result<NonZeroU32, BadQuota> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(BadQuota::Form)
}

/// Reads a window: a number and its unit.
fn seconds(text: &str) -> Result<Duration, BadQuota> {
    let read = || {
        let (at, unit) = text.char_indices().next_back()?;
        let (unit, _) = UNITS.into_iter().find(|(_, name)| *name == unit)?;
        let number = number(text.get(..at)?).ok()?;
        u64::from(number.get()).checked_mul(unit).map(Duration::from_secs)
    };
    read().ok_or(BadQuota::Form)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.window.as_secs();
        // A day is said more often than 7 of them are a week.
        let units = UNITS.into_iter().filter(|(_, name)| *name != 'w');
        let whole = units.filter_map(|(unit, name)| Some((seconds.checked_div(unit)?, unit, name)));
        let mut whole =
            whole.filter(|(number, unit, _)| number.checked_mul(*unit) == Some(seconds));
        let (number, name) = whole
            .find(|(number, ..)| *number > 0)
            .map_or((seconds, 's'), |(number, _, name)| (number, name));
        write!(f, "{}/{number}{name}", self.amount)?;
        match self.burst == self.amount {
            true => Ok(()),
            false => write!(f, ":{}", self.burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_it_is_shown() {
        for text in ["1/1s", "600/1m", "600/1m:50", "10000/1d:100", "7/90s", "1/7d", "1/2h:1"] {
            let shown = text.strip_suffix(":1").unwrap_or(text);
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), shown);
        }
        assert_eq!("1/1w".parse::<Quota>().unwrap().to_string(), "1/7d");
        for text in [
            "",
            "600",
            "600/",
            "/1m",
            "0/1m",
            "600/1m:",
            "600/1m:0",
            "600/0",
            "+6/1m",
            "6/+1m",
            "6/1M",
            "6/1",
            "6/é",
            "4294967296/1m",
            "6/4294967296s",
            "6/m",
            "6/0s",
        ] {
            assert_eq!(text.parse::<Quota>(), Err(BadQuota::Form), "{text}");
        }
        assert_eq!("600/32d".parse::<Quota>(), Err(BadQuota::Window(BadWindow)));
    }

    #[test]
    fn a_window_is_whole_seconds_that_can_be_waited_for() {
        let ten = NonZeroU32::new(10).unwrap();
        let day = Duration::from_secs(86_400);
        for (window, expected) in [
            (Duration::ZERO, Err(BadWindow)),
            (Duration::from_millis(999), Err(BadWindow)),
            (Duration::from_millis(1500), Err(BadWindow)),
            (day * 31 + Duration::from_secs(1), Err(BadWindow)),
            (Duration::from_secs(1), Ok(Duration::from_millis(100))),
            (day * 31, Ok(day * 31 / 10)),
        ] {
            assert_eq!(
                Quota::new(ten, window).map(|quota| quota.interval()),
                expected,
                "{window:?}"
            );
        }
    }

    #[test]
    fn a_server_has_its_share_and_at_least_one() {
        let number = |number| NonZeroU32::new(number).unwrap();
        for (amount, burst, servers, expected) in
            [(100, 10, 1, (100, 10)), (100, 10, 4, (25, 2)), (3, 1, 4, (1, 1)), (7, 9, 2, (3, 4))]
        {
            let quota = Quota::per_minute(number(amount)).burst(number(burst));
            let share = quota.share(number(servers));
            assert_eq!((share.amount().get(), share.at_once().get()), expected);
            assert_eq!(share.window(), Duration::from_secs(60));
        }
    }

    #[test]
    fn what_cannot_be_divided_is_refilled_slower_and_not_faster() {
        let quota = Quota::per_second(NonZeroU32::new(3).unwrap());
        assert_eq!(quota.interval(), Duration::from_nanos(333_333_334));
    }
}
