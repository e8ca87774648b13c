use std::time::Duration;

use http::{HeaderMap, HeaderName};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The remainder of the quota that is nearest to its end: the first member of `RateLimit`
/// (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaLeft {
    /// The name of the quota, as in `signed-60`.
    pub name: String,
    /// How much may still be asked at once.
    pub remaining: u64,
    /// When the quota is full again, if the response tells it; in a 429 when to send the request again.
    pub resets_in: Option<Duration>,
}

impl QuotaLeft {
    /// The quota in a response; `None` without a valid `RateLimit`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(RATE_LIMIT)?.to_str().ok()?;
        // Names of quotas are without quotation marks and backslashes here, and others are not read.
        let (name, rest) = value.strip_prefix('"')?.split_once('"')?;
        let parameters = rest.split(',').next().unwrap_or_default();
        let number = |key: &str| {
            let mut found = parameters.split(';').filter_map(|one| one.trim().split_once('='));
            let (_, value) = found.find(|(name, _)| *name == key)?;
            value.parse::<u64>().ok()
        };
        let resets_in = number("t").map(Duration::from_secs);
        Some(Self { name: name.to_owned(), remaining: number("r")?, resets_in })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_quota_is_read() {
        let left = |name: &str, remaining, seconds: Option<u64>| {
            let resets_in = seconds.map(Duration::from_secs);
            Some(QuotaLeft { name: name.to_owned(), remaining, resets_in })
        };
        let table = [
            (r#""signed-60";r=0;t=29"#, left("signed-60", 0, Some(29))),
            (r#""a"; r=7; x=1, "b";r=1;t=2"#, left("a", 7, None)),
            (r#""a";t=2, "b";r=1"#, None),
            ("a;r=1", None),
            (r#""a";r=-1"#, None),
            (r#""a"#, None),
            ("", None),
        ];
        for (value, expected) in table {
            let headers = HeaderMap::from_iter([(RATE_LIMIT, value.parse().unwrap())]);
            assert_eq!(QuotaLeft::of(&headers), expected, "{value}");
        }
        assert_eq!(QuotaLeft::of(&HeaderMap::new()), None);
    }
}
