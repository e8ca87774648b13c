use countersign::{Origin, Scheme};

use crate::failure::Failure;

/// A URL, split into the parts that are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Begins with `/`; no fragment.
    pub(crate) path_and_query: String,
}

impl Url {
    /// Reads `http(s)://host/path?query` without changing a byte of path and query.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        // The URL may hold a password, so the message does not show it.
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(Failure::local(
                "the URL holds a user name",
                "give it as an Authorization header, or to `countersign curl` with -u, so that it is signed",
            ));
        }
        // A password with a slash in it would be part of the path.
        let shown = if text.contains('@') { "this".to_owned() } else { format!("`{text}`") };
        let wrong =
            |hint: &str| Failure::local(format!("{shown} is not a URL that can be signed"), hint);
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("write it in full, like https://api.example.com/v1/orders"))?;
        let scheme = match scheme.to_ascii_lowercase().parse::<Scheme>() {
            Ok(scheme) => scheme,
            Err(_) => return Err(wrong("only http:// and https:// are signed")),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let origin = Origin::new(scheme, authority).map_err(|_| match ascii_host(authority) {
            Some(ascii) => wrong(&format!("write its host in ASCII: {ascii}")),
            None => wrong("its host is a name or an address, with a port if need be"),
        })?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { origin, path_and_query: format!("{slash}{path}") })
    }

    /// Adds a piece to the query.
    pub(crate) fn push_query(&mut self, piece: &str) {
        let separator = match self.path_and_query.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        self.path_and_query.push_str(separator);
        self.path_and_query.push_str(piece);
    }
}

/// Returns an authority with an internationalised name (RFC 5890) in the form that is sent: `bücher.example` becomes
/// `xn--bcher-kva.example`.
fn ascii_host(authority: &str) -> Option<String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, format!(":{port}")),
        None => (authority, String::new()),
    };
    let ascii = idna::domain_to_ascii(host).ok().filter(|_| !host.is_ascii())?;
    Origin::new(Scheme::Https, &ascii).ok().map(|_| format!("{ascii}{port}"))
}

/// Refuses characters that have to be percent-encoded, and shows the encoding.
pub(super) fn check_characters(path_and_query: &str) -> Result<(), Failure> {
    for (at, character) in path_and_query.char_indices() {
        let digits = at
            .checked_add(1)
            .and_then(|from| path_and_query.as_bytes().get(from..from.checked_add(2)?));
        let encoded = || percent_encoded(character.to_string().as_bytes());
        match character {
            '%' if !digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) => {
                return Err(Failure::local(
                    "the URL has a % without two hexadecimal digits behind it",
                    "write a percent sign as %25",
                ));
            }
            '%' | '!'..='~' => {}
            ' ' => {
                return Err(Failure::local("the URL has a space", "write it as %20"));
            }
            _ if character.is_ascii() => {
                return Err(Failure::local(
                    "the URL has a control character",
                    format!("leave it out, or write it as {}", encoded()),
                ));
            }
            _ => {
                return Err(Failure::local(
                    format!("the URL has the character `{character}`, which is not ASCII"),
                    format!("write it as {}", encoded()),
                ));
            }
        }
    }
    Ok(())
}

/// Percent-encodes all bytes except RFC 3986's unreserved characters.
pub(crate) fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_without_changing_it() {
        let table = [
            ("https://Example.com", "https://example.com", "/"),
            ("HTTP://example.com:80/a?b=c#d", "http://example.com", "/a?b=c"),
            ("https://example.com:8443?x", "https://example.com:8443", "/?x"),
            ("https://[::1]:1/%7Ea/{b}?'c'=%20+", "https://[::1]:1", "/%7Ea/{b}?'c'=%20+"),
            ("https://example.com/a?b=https://c/", "https://example.com", "/a?b=https://c/"),
        ];
        for (text, origin, path_and_query) in table {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.origin.to_string(), origin, "{text}");
            assert_eq!(url.path_and_query, path_and_query, "{text}");
        }
        for text in [
            "",
            "example.com/a",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///a",
            "https://user:password@example.com/",
            "ftp://user:password@example.com/",
            "user:password@example.com/",
            "https://user:password/@example.com/",
            "//user:password@example.com/",
            "https://exa mple.com/",
            "https://example.com:port/",
        ] {
            let failure = Url::parse(text).unwrap_err().to_string();
            assert!(!failure.contains("password"), "{failure}");
        }
    }

    #[test]
    fn a_query_grows_by_pieces() {
        for (text, expected) in [
            ("https://a/b", "/b?x=1"),
            ("https://a/b?", "/b?x=1"),
            ("https://a/b?c", "/b?c&x=1"),
            ("https://a", "/?x=1"),
        ] {
            let mut url = Url::parse(text).unwrap();
            url.push_query("x=1");
            assert_eq!(url.path_and_query, expected);
        }
    }
}
