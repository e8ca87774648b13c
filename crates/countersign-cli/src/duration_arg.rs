use std::time::Duration;

/// Reads a duration: a number and its unit, like `90d`, `24h`, `15m` or `30s`; `0` needs no unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let refused = || "a duration is a number with s, m, h, d or w, like 24h or 90d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (unit_at, unit) = text.char_indices().next_back().ok_or_else(refused)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(refused()),
    };
    let number = text.get(..unit_at).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| digits);
    number
        .and_then(|number| number.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(refused)
}

/// Writes a duration of whole seconds as [`parse`] reads it, in the largest unit that fits.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", seconds.checked_div(*unit).unwrap_or(0)),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        for (text, seconds, shown) in [
            ("0", 0, "0s"),
            ("0d", 0, "0s"),
            ("30s", 30, "30s"),
            ("90m", 5400, "90m"),
            ("24h", 86_400, "1d"),
            ("7d", 604_800, "7d"),
            ("1w", 604_800, "7d"),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(show(Duration::from_secs(seconds)), shown);
        }
        for text in
            ["", "d", "1", "-1d", "+1d", "1.5h", "1 d", "1y", "1D", "1é", "99999999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
