use http::{HeaderName, HeaderValue};

/// A header line in the syntax of curl's `-H`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderLine {
    /// `Name: value`, or `Name;` for an empty value.
    Field {
        /// The name in the case of the user's input.
        name: String,
        /// Without outer white space.
        value: HeaderValue,
    },
    /// `Name:`: the field is not sent, even where curl would add it.
    Removed(HeaderName),
}

impl HeaderLine {
    pub(crate) fn field(name: &str, value: HeaderValue) -> Self {
        Self::Field { name: name.to_owned(), value }
    }

    /// Reads one line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let wrong = || format!("`{line}` is not a header");
        let (name, value) = match line.split_once(':') {
            Some((name, value)) => (name, Some(value.trim_matches([' ', '\t', '\r', '\n']))),
            None => (line.trim_end().strip_suffix(';').ok_or_else(wrong)?, None),
        };
        let parsed: HeaderName = name.parse().map_err(|_| wrong())?;
        let value = match value {
            Some("") => return Ok(Self::Removed(parsed)),
            Some(value) => HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?,
            None => HeaderValue::from_static(""),
        };
        Ok(Self::field(name, value))
    }

    /// Whether this line sets or removes the field of this name.
    pub(crate) fn is(&self, wanted: &HeaderName) -> bool {
        match self {
            Self::Field { name, .. } => name.eq_ignore_ascii_case(wanted.as_str()),
            Self::Removed(name) => name == wanted,
        }
    }

    /// Returns the line in the syntax of curl's `-H`.
    pub(crate) fn for_curl(&self) -> Vec<u8> {
        match self {
            Self::Field { name, value } if value.is_empty() => format!("{name};").into_bytes(),
            Self::Field { name, value } => {
                let mut line = format!("{name}: ").into_bytes();
                line.extend_from_slice(value.as_bytes());
                line
            }
            Self::Removed(name) => format!("{name}:").into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_value_or_an_empty_one_or_is_a_removal() {
        let field = |name, value| HeaderLine::field(name, HeaderValue::from_static(value));
        let table = [
            ("X-A: b", field("X-A", "b")),
            ("X-A:b:c ", field("X-A", "b:c")),
            ("X-A;", field("X-A", "")),
            ("X-A:", HeaderLine::Removed(HeaderName::from_static("x-a"))),
            ("X-A:  ", HeaderLine::Removed(HeaderName::from_static("x-a"))),
        ];
        for (line, expected) in table {
            assert_eq!(HeaderLine::parse(line), Ok(expected), "{line}");
        }
        for line in ["", "X-A", ": b", "X A: b", "X-A : b", "X-A: b\nX-B: c", "X\u{e9}: b"] {
            assert!(HeaderLine::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn curl_reads_back_what_was_read() {
        for line in ["X-A: b", "X-A;", "x-a:"] {
            assert_eq!(HeaderLine::parse(line).unwrap().for_curl(), line.as_bytes());
        }
    }
}
