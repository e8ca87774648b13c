use std::{fmt, str::FromStr, time::Duration};

/// A time in a configuration: a number and its unit, as `250ms`, `30s`, `5m`, `1h` or `2d`; never zero.
///
/// ```
/// use std::time::Duration;
///
/// use countersign_service::Period;
///
/// let period: Period = "250ms".parse()?;
/// assert_eq!(period.get(), Duration::from_millis(250));
/// # Ok::<(), countersign_service::BadPeriod>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(Duration);

/// The text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a number above 0 with ms, s, m, h or d, like 250ms or 30s")]
pub struct BadPeriod;

impl Period {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadPeriod)?;
        let (number, unit) = text.split_at_checked(unit_at).ok_or(BadPeriod)?;
        let number: u64 = number.parse().map_err(|_| BadPeriod)?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadPeriod),
        };
        match number.checked_mul(milliseconds) {
            Some(0) | None => Err(BadPeriod),
            Some(milliseconds) => Ok(Self(Duration::from_millis(milliseconds))),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.get(), Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "s", "30", "0s", "-1s", "+1s", "1.5s", "1 s", "1w", "99999999999999999h"] {
            assert_eq!(text.parse::<Period>(), Err(BadPeriod), "{text}");
        }
    }
}
