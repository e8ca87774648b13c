use http::HeaderValue;
use time::{PrimitiveDateTime, macros::format_description};

/// Reads the form of a date that is written today (RFC 9110 §5.6.7), as seconds since 1970.
pub(crate) fn parse(value: &HeaderValue) -> Option<i64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = value.to_str().ok()?;
    Some(PrimitiveDateTime::parse(date, &format).ok()?.assume_utc().unix_timestamp())
}
