use std::time::SystemTime;

use countersign::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::failure::Failure;

/// Returns the time of this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_unix(since.map_or(0, |since| since.as_secs()))
}

/// Reads seconds since the epoch, or RFC 3339.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = parse_unix(text) {
        return Ok(seconds);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
    let seconds = moment.and_then(|moment| u64::try_from(moment.unix_timestamp()).ok());
    seconds
        .map(Timestamp::from_unix)
        .ok_or_else(|| "a time is like 2027-01-31T00:00:00Z, or seconds since 1970".to_owned())
}

/// When a key expires, as it is given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    At(Timestamp),
}

impl Expiry {
    /// Returns the time, if it is still to come.
    pub(crate) fn in_future(self) -> Result<Option<Timestamp>, Failure> {
        match self {
            Self::Never => Ok(None),
            Self::At(time) if time > now() => Ok(Some(time)),
            Self::At(_) => {
                Err(Failure::local("--expires is in the past", "give a time to come, or `never`"))
            }
        }
    }
}

/// Reads a time, or `never`.
pub(crate) fn parse_expiry(text: &str) -> Result<Expiry, String> {
    match text {
        "never" => Ok(Expiry::Never),
        text => parse(text).map(Expiry::At),
    }
}

/// Reads seconds since the epoch.
pub(crate) fn parse_unix(text: &str) -> Result<Timestamp, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = Some(text).filter(|_| digits).and_then(|text| text.parse().ok());
    seconds
        .filter(|&seconds| seconds <= Timestamp::MAX.unix())
        .map(Timestamp::from_unix)
        .ok_or_else(|| "it is a number of seconds since 1970".to_owned())
}

/// Writes a time in RFC 3339. Writes a time after the year 9999 in seconds.
pub(crate) fn show(time: Timestamp) -> String {
    let moment = i64::try_from(time.unix()).ok();
    let moment = moment.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read_and_nothing_else() {
        let expected = Timestamp::from_unix(1_763_900_000);
        for text in ["1763900000", "2025-11-23T12:13:20Z", "2025-11-23T13:13:20+01:00"] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "+1", "1.5", "tomorrow", "2025-11-23", "1969-12-31T23:59:59Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_unix("2025-11-23T12:13:20Z").is_err());
        assert!(parse_unix("9999999999999999").is_err());
    }

    #[test]
    fn a_time_is_shown_in_rfc_3339() {
        assert_eq!(show(Timestamp::from_unix(1_763_900_000)), "2025-11-23T12:13:20Z");
        assert_eq!(show(Timestamp::MAX), "999999999999999");
    }
}
