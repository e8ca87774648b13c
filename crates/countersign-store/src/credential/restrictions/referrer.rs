use std::fmt;

use countersign::Origin;

/// An allowed origin, and a prefix of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Referrer {
    origin: Origin,
    /// Empty, or segments without a final slash: `/app`.
    path: Box<str>,
}

/// The page in a `Referer` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<'t> {
    origin: Origin,
    path: &'t str,
    query: Option<&'t str>,
}

impl Referrer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Page { origin, path, query } = Page::parse(text)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        // An empty segment is probably a mistake, and hardly the path of a page.
        let is_clean = query.is_none() && !path.ends_with('/') && !path.contains("//");
        is_clean.then(|| Self { origin, path: path.into() })
    }

    /// Whether the page is at or under this path, by whole segments.
    pub(super) fn holds(&self, page: &Page<'_>) -> bool {
        let under = page.path.strip_prefix(&*self.path);
        let under = under.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        under && self.origin == page.origin
    }
}

impl<'t> Page<'t> {
    /// Parses an `absolute-URI` of RFC 9110 §10.1.3, without user information and fragment. A relative reference names no
    /// origin.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let origin = Origin::new(scheme.parse().ok()?, authority).ok()?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let is_query = |byte: u8| is_path(byte) || byte == b'?';
        let good = path.bytes().all(is_path)
            && query.is_none_or(|query| query.bytes().all(is_query))
            && !path.split('/').any(is_dots);
        good.then_some(Self { origin, path, query })
    }
}

/// Whether a byte may be in a path (RFC 3986 §3.3). The digits after a `%` are compared as they are.
const fn is_path(byte: u8) -> bool {
    const REST: &[u8] = b"/-._~%!$&'()*+,;=:@";
    let mut rest = REST;
    while let [other, others @ ..] = rest {
        if *other == byte {
            return true;
        }
        rest = others;
    }
    byte.is_ascii_alphanumeric()
}

/// Whether a segment is `.` or `..` in any spelling (RFC 3986 §5.2.4). Browsers resolve such segments before sending.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

impl fmt::Display for Referrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use url::Url;

    use super::*;

    #[test]
    fn a_page_is_matched_by_its_origin_and_by_whole_segments() {
        for (allowed, page, expected) in [
            ("https://a.test", "https://a.test/", true),
            ("https://a.test", "https://a.test", true),
            ("https://a.test", "https://a.test?x=1", true),
            ("https://a.test", "https://a.test/any/page?x=/../y", true),
            ("https://a.test/", "https://a.test/any", true),
            ("https://a.test", "https://A.test:443/", true),
            ("https://a.test", "http://a.test/", false),
            ("https://a.test", "https://a.test:8443/", false),
            ("https://a.test", "https://a.test.evil/", false),
            ("https://a.test", "https://evil.test/https://a.test/", false),
            ("https://a.test", "https://evil.test/?https://a.test/", false),
            ("https://a.test", "https://a.test@evil.test/", false),
            ("https://a.test", "https://user@a.test/", false),
            ("https://a.test", "https://a.test\\@evil.test/", false),
            ("https://a.test", "https://a.test#fragment", false),
            ("https://a.test", "https://a.test/a b", false),
            ("https://a.test", "//a.test/", false),
            ("https://a.test", "a.test", false),
            ("https://a.test", "/page", false),
            ("https://a.test/app", "https://a.test/app", true),
            ("https://a.test/app", "https://a.test/app/", true),
            ("https://a.test/app", "https://a.test/app?x=1", true),
            ("https://a.test/app/", "https://a.test/app/cart", true),
            ("https://a.test/app", "https://a.test/apple", false),
            ("https://a.test/app", "https://a.test/App", false),
            ("https://a.test/app", "https://a.test/", false),
            ("https://a.test/app", "https://a.test/?/app", false),
            ("https://a.test/app", "https://a.test//app", false),
            ("https://a.test/app", "https://a.test/app/../admin", false),
            ("https://a.test/app", "https://a.test/app/%2E./admin", false),
            ("https://a.test/app", "https://b.test/app", false),
        ] {
            let referrer = Referrer::parse(allowed).unwrap();
            let holds = Page::parse(page).is_some_and(|page| referrer.holds(&page));
            assert_eq!(holds, expected, "{allowed} {page}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        /// The parser of browsers (<https://url.spec.whatwg.org>) is more lenient. It must not see another page than this
        /// parser does.
        #[test]
        fn what_passes_is_under_the_entry_for_browsers_too(
            parts in vec(select(PARTS), 0..6), start in select(STARTS)
        ) {
            let said = format!("{start}{}", parts.concat());
            let allowed = Referrer::parse("https://a.test/app").unwrap();
            if Page::parse(&said).is_some_and(|page| allowed.holds(&page)) {
                let url = Url::parse(&said).unwrap();
                let origin = url.origin().ascii_serialization();
                prop_assert_eq!(origin, "https://a.test");
                let rest = url.path().strip_prefix("/app");
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
            }
        }
    }

    const STARTS: &[&str] =
        &["https://a.test/app", "https://a.test/", "https://a.test", "https://", "http://"];

    const PARTS: &[&str] = &[
        "a.test", "/..", "A.TEST", "b.test", ".b.test", "app", "/", "/app", "/x", "..", ".", "%2e",
        "%2E%2E", "%2f", "\\", "@", ":", ":443", ":80", "?", "#", "&", ";", "\t", "\n", " ", "%",
        "%00", "é", "[", "]",
    ];

    #[test]
    fn an_entry_is_an_origin_with_or_without_a_path() {
        for (text, printed) in [
            ("https://a.test", "https://a.test"),
            ("https://A.test:443/", "https://a.test"),
            ("https://a.test/app/one/", "https://a.test/app/one"),
        ] {
            assert_eq!(Referrer::parse(text).unwrap().to_string(), printed);
        }
        for text in [
            "a.test",
            "https://a.test//",
            "https://a.test//app",
            "https://a.test/app?x",
            "https://a.test?",
            "https://a.test/app#x",
            "https://a.test/a/../b",
            "https://a.test/./b",
            "https://*.test/",
            "https://a.test/ä",
        ] {
            assert_eq!(Referrer::parse(text), None, "{text}");
        }
    }
}
