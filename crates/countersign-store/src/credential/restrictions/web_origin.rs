use std::fmt;

use countersign::Origin;

/// A web origin in the form that browsers send (RFC 6454 §6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin(Box<str>);

impl WebOrigin {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let origin: Origin = text.parse().ok()?;
        Some(Self(origin.to_string().into()))
    }

    /// Whether an `Origin` field has this value. Browsers write an origin in one way only. Any other value is not an origin,
    /// including `null` and the lists of RFC 6454 §7.1.
    pub(super) fn is_serialized_as(&self, value: &[u8]) -> bool {
        self.0.as_bytes() == value
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_as_browsers_write_it() {
        for (allowed, said, expected) in [
            ("https://a.test", "https://a.test", true),
            ("https://A.test:443", "https://a.test", true),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:3000", "http://localhost:3001", false),
            ("https://a.test", "http://a.test", false),
            ("https://a.test", "https://a.test.evil", false),
            ("https://a.test", "https://evil.a.test", false),
            ("https://a.test", "https://a.test:8443", false),
            ("https://a.test", "https://a.test/", false),
            ("https://a.test", "https://a.test https://b.test", false),
            ("https://a.test", "https://user@a.test", false),
            ("https://a.test", "null", false),
        ] {
            let origin = WebOrigin::parse(allowed).unwrap();
            assert_eq!(origin.is_serialized_as(said.as_bytes()), expected, "{allowed} {said}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "a.test",
            "*",
            "null",
            "HTTPS://a.test",
            "https://*.a.test",
            "https://a.test/x",
            "ftp://a.test",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }
}
