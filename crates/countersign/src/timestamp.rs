use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use httpdate::HttpDate;

/// Seconds since the Unix epoch: the unit of `created` and `expires` (RFC 9421 §2.3).
///
/// Never negative, and never more than a structured-field integer holds (15 digits), so that arithmetic on a stranger's
/// number neither wraps nor panics.
///
/// ```
/// use std::time::Duration;
///
/// use countersign::Timestamp;
///
/// let signed = Timestamp::from_unix(1_763_900_000);
/// let now = signed.plus(Duration::from_secs(30));
/// assert_eq!(now.since(signed), Some(Duration::from_secs(30)));
/// assert_eq!(signed.since(now), None); // still to come
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The largest timestamp of a structured field (RFC 9651 §3.3.1).
    pub const MAX: Self = Self(999_999_999_999_999);

    /// The timestamp `seconds` after the epoch, at most [`Timestamp::MAX`].
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

    /// This moment plus `duration`, in whole seconds; at most [`Timestamp::MAX`].
    pub const fn plus(self, duration: Duration) -> Self {
        Self::from_unix(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment less `duration`, in whole seconds; at least the epoch.
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Reads an HTTP date, such as `Sun, 23 Nov 2025 12:13:20 GMT`, in each of the three forms of RFC 9110 §5.6.7.
    ///
    /// Returns `None` for other text, and for a day that is not in the calendar.
    ///
    /// ```
    /// # use countersign::Timestamp;
    /// # use http::HeaderValue;
    /// let date = HeaderValue::from_static("Sun, 23 Nov 2025 12:13:20 GMT");
    /// assert_eq!(Timestamp::from_http_date(&date), Some(Timestamp::from_unix(1_763_900_000)));
    /// assert_eq!(Timestamp::from_unix(1_763_900_000).http_date(), Some(date));
    /// ```
    pub fn from_http_date(value: &HeaderValue) -> Option<Self> {
        let date: HttpDate = value.to_str().ok()?.parse().ok()?;
        let since = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
        Some(Self::from_unix(since.as_secs()))
    }

    /// Writes an HTTP date in the preferred form of RFC 9110 §5.6.7. Returns `None` after the year 9999.
    pub fn http_date(self) -> Option<HeaderValue> {
        if self > Self::LAST_HTTP_DATE {
            return None;
        }
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(self.0))?;
        HeaderValue::try_from(HttpDate::from(time).to_string()).ok()
    }

    /// 31 December 9999, 23:59:59. An HTTP date has four digits for the year.
    const LAST_HTTP_DATE: Self = Self(253_402_300_799);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn http_dates_are_those_of_the_calendar() {
        let table = [
            (0, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (951_782_399, Some("Mon, 28 Feb 2000 23:59:59 GMT")),
            (951_782_400, Some("Tue, 29 Feb 2000 00:00:00 GMT")),
            (1_763_900_000, Some("Sun, 23 Nov 2025 12:13:20 GMT")),
            (4_107_542_399, Some("Sun, 28 Feb 2100 23:59:59 GMT")),
            (4_107_542_400, Some("Mon, 01 Mar 2100 00:00:00 GMT")),
            (253_402_300_799, Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (253_402_300_800, None),
            (u64::MAX, None),
        ];
        for (seconds, expected) in table {
            let time = Timestamp::from_unix(seconds);
            let date = time.http_date();
            assert_eq!(date.as_ref().map(|date| date.to_str().unwrap()), expected, "{seconds}");
            let read = date.as_ref().and_then(Timestamp::from_http_date);
            assert_eq!(read, expected.map(|_| time), "{seconds}");
        }
    }

    #[test]
    fn http_dates_are_read_in_all_three_forms_and_in_no_other() {
        let read = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            Timestamp::from_http_date(&value).map(Timestamp::unix)
        };
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(form), Some(784_111_777), "{form}");
        }
        for other in [
            "",
            "784111777",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Tue, 06 Nov 1894 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT\u{e9}",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_http_date_is_read_as_it_was_written(seconds in 0..=Timestamp::LAST_HTTP_DATE.0) {
            let time = Timestamp::from_unix(seconds);
            let date = time.http_date().unwrap();
            prop_assert_eq!(Timestamp::from_http_date(&date), Some(time));
        }

        #[test]
        fn no_http_date_panics(text in "(Sun, |Sunday, |Sun |Feb |[ -~]{0,6}|[0-9]{2}|:| |GMT){0,12}") {
            let value = HeaderValue::try_from(text).unwrap();
            let _time: Option<Timestamp> = Timestamp::from_http_date(&value);
        }
    }

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
