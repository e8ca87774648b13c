use http::{Method, Uri, Version};

/// The target of a request as it was received: never decoded, never normalised.
#[derive(Clone, Copy, Debug)]
pub struct Target<'m> {
    uri: &'m Uri,
    absolute_form: bool,
}

/// Why a target is refused before anything else is looked at.
///
/// Proxies, routers and signers can read such a spelling differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTarget {
    /// Longer than 8 KiB.
    #[error("the target is longer than 8 KiB")]
    TooLong,
    /// `*`, or a CONNECT authority: it has no path.
    #[error("the target is not a path")]
    NoPath,
    /// `.` or `..` as a segment, or an encoded dot.
    #[error("the path has a dot segment or an encoded dot")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `\`, or one of `%2f`, `%5c`, `%00`.
    #[error("the path has a backslash, or an encoded slash, backslash or NUL")]
    Separator,
    /// A `%` without two hexadecimal digits.
    #[error("the target has a % without two hexadecimal digits")]
    BadPercent,
    /// A byte above 0x7e, or a control character.
    #[error("the target has a character that is not printable ASCII")]
    NotAscii,
    /// `/path?`: RFC 9421 §2.2.7 gives it the same `@query` as `/path`.
    #[error("the target has a ? and no query behind it")]
    EmptyQuery,
}

impl<'m> Target<'m> {
    const MAX: usize = 8 * 1024;

    /// The target of a received request, or of one to send.
    pub fn new(uri: &'m Uri, version: Version) -> Self {
        // HTTP/2 and HTTP/3 name scheme and authority in every request; only in HTTP/1 they make another form of it.
        Self { uri, absolute_form: version <= Version::HTTP_11 && uri.scheme().is_some() }
    }

    /// As [`Target::new`], for a request line in origin form: `/path?query`, as clients send to servers.
    pub const fn origin_form(uri: &'m Uri) -> Self {
        Self { uri, absolute_form: false }
    }

    /// The path, `/` where it is empty (RFC 9421 §2.2.6).
    pub fn path(&self) -> &'m str {
        match self.uri.path() {
            "" => "/",
            path => path,
        }
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&'m str> {
        self.uri.query()
    }

    /// The request target of the request line (RFC 9421 §2.2.5).
    pub(crate) fn request_target(&self, method: &Method) -> String {
        if *method == Method::CONNECT {
            return self.uri.authority().map(ToString::to_string).unwrap_or_default();
        }
        if self.absolute_form {
            return self.uri.to_string();
        }
        match self.query() {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path().to_owned(),
        }
    }

    /// Refuses targets that programs read differently.
    ///
    /// # Errors
    ///
    /// [`BadTarget`].
    pub fn check(&self) -> Result<(), BadTarget> {
        let (path, query) = (self.path(), self.query());
        if path.len().saturating_add(query.map_or(0, str::len)) > Self::MAX {
            return Err(BadTarget::TooLong);
        }
        // RFC 9112 §3.2.3: a bare authority is for CONNECT alone. Taken for `/` it would reach a handler.
        let authority_form = self.uri.path().is_empty() && self.uri.scheme().is_none();
        if authority_form || !path.starts_with('/') {
            return Err(BadTarget::NoPath);
        }
        check_path(path)?;
        match query {
            Some("") => Err(BadTarget::EmptyQuery),
            Some(query) => check_characters(query),
            None => Ok(()),
        }
    }
}

/// One pass for paths that have none of the characters that need a closer look, as nearly all do.
fn check_path(path: &str) -> Result<(), BadTarget> {
    let Some(behind) = path.strip_prefix('/') else { return check_path_closely(path) };
    let mut last = b'/';
    for byte in behind.bytes() {
        let is_plain = match byte {
            b'/' => last != b'/',
            // A dot segment begins so.
            b'.' => last != b'/',
            b'%' | b'\\' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !is_plain {
            return check_path_closely(path);
        }
        last = byte;
    }
    Ok(())
}

fn check_path_closely(path: &str) -> Result<(), BadTarget> {
    check_characters(path)?;
    if path.contains('\\') {
        return Err(BadTarget::Separator);
    }
    for (at, _) in path.match_indices('%') {
        let digits = at.checked_add(1).and_then(|from| path.get(from..from.checked_add(2)?));
        match digits.map(str::to_ascii_lowercase).as_deref() {
            Some("2e") => return Err(BadTarget::DotSegment),
            Some("2f" | "5c" | "00") => return Err(BadTarget::Separator),
            _ => {}
        }
    }
    if path.contains("//") {
        return Err(BadTarget::EmptySegment);
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(BadTarget::DotSegment);
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), BadTarget> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadTarget::NotAscii);
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.as_bytes().get(..2).ok_or(BadTarget::BadPercent)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadTarget::BadPercent);
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(target: &[u8]) -> Result<(), BadTarget> {
        let uri = Uri::try_from(target).unwrap();
        Target::new(&uri, Version::HTTP_11).check()
    }

    proptest! {
        #[test]
        fn the_short_way_accepts_nothing_that_a_closer_look_refuses(path in "(/|[/.%\\\\25CcEeFf0a~ é\u{0}\u{7f}]){0,12}") {
            prop_assert_eq!(check_path(&path), check_path_closely(&path));
        }
    }

    #[test]
    fn ordinary_targets_pass() {
        for target in [
            "/",
            "/v1/orders",
            "/v1/orders/",
            "/v1/orders?expand=customer",
            "/a%20b/%C3%A9?x=%00&y=//..",
            "/a.b/..c/...",
            "/a;b=c@d:e,f'(g)!h$i&j+k~l*m",
            "/p?a=b?c",
            "https://example.com",
            "https://example.com/a?b",
        ] {
            assert_eq!(check(target.as_bytes()), Ok(()), "{target}");
        }
    }

    #[test]
    fn a_target_of_8_kib_passes_and_a_longer_one_does_not() {
        let target =
            |path: usize, query: usize| format!("/{}?{}", "p".repeat(path - 1), "q".repeat(query));
        for (path, query, expected) in [
            (8191, 1, Ok(())),
            (1, 8191, Ok(())),
            (4096, 4096, Ok(())),
            (8192, 1, Err(BadTarget::TooLong)),
            (1, 8192, Err(BadTarget::TooLong)),
            (4097, 4096, Err(BadTarget::TooLong)),
        ] {
            assert_eq!(check(target(path, query).as_bytes()), expected, "{path} {query}");
        }
        assert_eq!(check(format!("/{}", "p".repeat(8191)).as_bytes()), Ok(()));
    }

    #[test]
    fn what_programs_read_differently_is_refused() {
        use BadTarget::{
            BadPercent, DotSegment, EmptyQuery, EmptySegment, NoPath, NotAscii, Separator, TooLong,
        };
        let long = format!("/{}", "a".repeat(8 * 1024));
        let refused: [(&[u8], BadTarget); 25] = [
            (b"/a/../b", DotSegment),
            (b"/a/./b", DotSegment),
            (b"/..", DotSegment),
            (b"/a/%2e%2e/b", DotSegment),
            (b"/a/%2E", DotSegment),
            (b"//a", EmptySegment),
            (b"/a//b", EmptySegment),
            (b"/a//", EmptySegment),
            (b"/a%2Fb", Separator),
            (b"/a%2fb", Separator),
            (b"/a%5Cb", Separator),
            (b"/a\\b", Separator),
            (b"/a%00", Separator),
            (b"/%zz", BadPercent),
            (b"/%1", BadPercent),
            (b"/a%", BadPercent),
            (b"/a?b=%", BadPercent),
            (b"/a?b=%q0", BadPercent),
            ("/é".as_bytes(), NotAscii),
            ("/a?é".as_bytes(), NotAscii),
            (b"/a?", EmptyQuery),
            (b"*", NoPath),
            (b"example.com", NoPath),
            (b"example.com:443", NoPath),
            (long.as_bytes(), TooLong),
        ];
        for (target, expected) in refused {
            let shown = String::from_utf8_lossy(target);
            assert_eq!(check(target), Err(expected), "{shown:.40}");
        }
    }
}
