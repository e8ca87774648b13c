/// The line end of a message, determined by its head.
///
/// The lines of its chunks need the same line end. Otherwise a recipient that accepts only CRLF and a recipient that
/// also accepts LF would see different chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    CrLf,
    Lf,
}

/// The joined content of chunks (RFC 9112 §7.1).
#[derive(Debug)]
pub(super) struct Chunked<'c> {
    pub(super) content: Vec<u8>,
    /// The lines of the trailer section, with the empty line at its end.
    pub(super) trailers: &'c [u8],
    /// The bytes after the trailer section.
    pub(super) rest: &'c [u8],
}

/// Why bytes are not chunks, or could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadChunks {
    #[error("the lines of its chunks and trailers do not end as those of its head")]
    LineEnd,
    #[error("a chunk does not begin with its size as a hexadecimal number")]
    Size,
    #[error("a chunk is larger than any file")]
    TooLarge,
    #[error("a chunk extension is malformed")]
    Extension,
    #[error("it has less content than the size of a chunk says")]
    CutShort,
    #[error("no line end follows a chunk where it ends by its size")]
    Unended,
    #[error("its last chunk, which has the size 0, is missing")]
    NoLastChunk,
    #[error("no empty line follows its last chunk and trailers")]
    NoEnd,
}

impl<'c> Chunked<'c> {
    pub(super) fn decode(encoded: &'c [u8], end: LineEnd) -> Result<Self, BadChunks> {
        let mut content = Vec::new();
        let mut rest = encoded;
        let trailer_section = loop {
            let (line, after) = end.split_line(rest, BadChunks::NoLastChunk)?;
            let size = chunk_size(line)?;
            if size == 0 {
                break after;
            }
            let (data, after) = after.split_at_checked(size).ok_or(BadChunks::CutShort)?;
            content.extend_from_slice(data);
            rest = after.strip_prefix(end.bytes()).ok_or(BadChunks::Unended)?;
        };
        rest = trailer_section;
        loop {
            let (line, after) = end.split_line(rest, BadChunks::NoEnd)?;
            rest = after;
            if line.is_empty() {
                break;
            }
        }
        let trailers = trailer_section.strip_suffix(rest).ok_or(BadChunks::NoEnd)?;
        Ok(Self { content, trailers, rest })
    }
}

impl LineEnd {
    /// Returns the line end of a head; `None` if its lines end in different ways.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let mut lines = head.split_inclusive(|&byte| byte == b'\n');
        let ends_with_cr_lf = |line: &[u8]| line.ends_with(b"\r\n");
        let first = ends_with_cr_lf(lines.next()?);
        let end = if first { Self::CrLf } else { Self::Lf };
        lines.all(|line| ends_with_cr_lf(line) == first).then_some(end)
    }

    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }

    /// Returns the first line without its end, and the bytes after it. The error is `missing` if there is no whole
    /// line.
    fn split_line(self, bytes: &[u8], missing: BadChunks) -> Result<(&[u8], &[u8]), BadChunks> {
        let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
        let (Some(line), Some(rest)) = (parts.next(), parts.next()) else { return Err(missing) };
        let line = match self {
            Self::CrLf => line.strip_suffix(b"\r").ok_or(BadChunks::LineEnd)?,
            Self::Lf => line,
        };
        if line.contains(&b'\r') {
            return Err(BadChunks::LineEnd);
        }
        Ok((line, rest))
    }
}

/// Reads the size in `chunk-size [ chunk-ext ]`. Stricter than httparse, which reads an empty size as 0 and accepts any
/// bytes as an extension.
fn chunk_size(line: &[u8]) -> Result<usize, BadChunks> {
    let length = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, mut extensions) = line.split_at_checked(length).ok_or(BadChunks::Size)?;
    if digits.is_empty() || !matches!(extensions.first(), None | Some(b';' | b' ' | b'\t')) {
        return Err(BadChunks::Size);
    }
    while !extensions.is_empty() {
        extensions = after_extension(extensions).ok_or(BadChunks::Extension)?;
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BadChunks::Size)?;
    usize::from_str_radix(digits, 16).map_err(|_| BadChunks::TooLarge)
}

/// Returns the bytes after `BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ]` (RFC 9112 §7.1.1).
fn after_extension(bytes: &[u8]) -> Option<&[u8]> {
    let name = after_space(bytes).strip_prefix(b";").map(after_space)?;
    let rest = after_token(name)?;
    let Some(value) = after_space(rest).strip_prefix(b"=").map(after_space) else {
        return Some(rest);
    };
    after_token(value).or_else(|| after_quoted_string(value))
}

/// Returns the bytes after optional white space.
fn after_space(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    bytes.get(length..).unwrap_or_default()
}

/// Returns the bytes after a token (RFC 9110 §5.6.2).
fn after_token(bytes: &[u8]) -> Option<&[u8]> {
    let tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = bytes.iter().take_while(|byte| tchar(byte)).count();
    if length == 0 { None } else { bytes.get(length..) }
}

/// Returns the bytes after a quoted string (RFC 9110 §5.6.4).
fn after_quoted_string(bytes: &[u8]) -> Option<&[u8]> {
    let text = |byte: u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', quoted, rest @ ..] if text(*quoted) => rest,
            [byte, rest @ ..] if *byte != b'\\' && text(*byte) => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDS: [(LineEnd, &str); 2] = [(LineEnd::CrLf, "\r\n"), (LineEnd::Lf, "\n")];

    /// `|` stands for the line end.
    #[test]
    fn chunks_are_put_together_and_their_extensions_ignored() {
        let table = [
            ("0||", "", "|", ""),
            ("4|HTTP|7|Message|a|Signatures|0||", "HTTPMessageSignatures", "|", ""),
            ("A|0123456789|00||", "0123456789", "|", ""),
            ("00000000000000000000001|a|0||", "a", "|", ""),
            ("1;a|a|0;b=c||", "a", "|", ""),
            ("1 ;\ta = \"b;\\\"c\\\\ \u{e4}\" ; d|a|0||", "a", "|", ""),
            ("3|\r\n0|0||", "\r\n0", "|", ""),
            ("1|\n|0||", "\n", "|", ""),
            ("0|A: b|C: d||", "", "A: b|C: d||", ""),
            ("0||GET", "", "|", "GET"),
            ("0|||", "", "|", "|"),
        ];
        for (end, line_end) in ENDS {
            for (encoded, content, trailers, rest) in table {
                let [encoded, trailers, rest] =
                    [encoded, trailers, rest].map(|text| text.replace('|', line_end));
                let decoded = Chunked::decode(encoded.as_bytes(), end).unwrap();
                assert_eq!(decoded.content, content.as_bytes(), "{encoded:?}");
                assert_eq!(decoded.trailers, trailers.as_bytes(), "{encoded:?}");
                assert_eq!(decoded.rest, rest.as_bytes(), "{encoded:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_can_be_read_in_two_ways_is_refused() {
        use BadChunks as Bad;
        let table = [
            ("", Bad::NoLastChunk),
            ("0", Bad::NoLastChunk),
            ("1|a|", Bad::NoLastChunk),
            ("0|", Bad::NoEnd),
            ("0|A: b|", Bad::NoEnd),
            ("0|A: b", Bad::NoEnd),
            ("|a|0||", Bad::Size),
            (" |a|0||", Bad::Size),
            (";a|a|0||", Bad::Size),
            (" 1|a|0||", Bad::Size),
            ("+1|a|0||", Bad::Size),
            ("-1|a|0||", Bad::Size),
            ("0x1|a|0||", Bad::Size),
            ("1_0|a|0||", Bad::Size),
            ("1,1|a|0||", Bad::Size),
            ("\u{661}|a|0||", Bad::Size),
            ("10000000000000000|a|0||", Bad::TooLarge),
            ("fffffffffffffffff|a|0||", Bad::TooLarge),
            ("ffffffffffffffff|a|0||", Bad::CutShort),
            ("2|a", Bad::CutShort),
            ("1|ab|0||", Bad::Unended),
            ("1|a0||", Bad::Unended),
            ("1|a", Bad::Unended),
            ("1 |a|0||", Bad::Extension),
            ("1;|a|0||", Bad::Extension),
            ("1;=b|a|0||", Bad::Extension),
            ("1;a=|a|0||", Bad::Extension),
            ("1;a;|a|0||", Bad::Extension),
            ("1;a b|a|0||", Bad::Extension),
            ("1;a=b c|a|0||", Bad::Extension),
            ("1;a |a|0||", Bad::Extension),
            ("1;a=\"|a|0||", Bad::Extension),
            ("1;a=\"b\\\"|a|0||", Bad::Extension),
            ("1;a=\"\\|a|0||", Bad::Extension),
            ("1;a=\"b\"c|a|0||", Bad::Extension),
            ("1;a=\"\u{7f}\"|a|0||", Bad::Extension),
            ("1;\u{e4}|a|0||", Bad::Extension),
            ("1;a\r;b|a|0||", Bad::LineEnd),
            ("1\r\r|a|0||", Bad::LineEnd),
            ("0|A: b\rC: d||", Bad::LineEnd),
        ];
        for (end, line_end) in ENDS {
            for (encoded, expected) in table {
                let encoded = encoded.replace('|', line_end);
                let refused = Chunked::decode(encoded.as_bytes(), end).map(|_| ());
                assert_eq!(refused, Err(expected), "{encoded:?}");
            }
        }
    }

    #[test]
    fn lines_that_do_not_end_as_the_head_are_refused() {
        let table = [
            (LineEnd::CrLf, "1\na\r\n0\r\n\r\n", BadChunks::LineEnd),
            (LineEnd::CrLf, "1\r\na\n0\r\n\r\n", BadChunks::Unended),
            (LineEnd::CrLf, "1\r\na\r\n0\n\r\n", BadChunks::LineEnd),
            (LineEnd::CrLf, "1\r\na\r\n0\r\n\n", BadChunks::LineEnd),
            (LineEnd::CrLf, "0\r\nA: b\n\r\n", BadChunks::LineEnd),
            (LineEnd::Lf, "1\r\na\n0\n\n", BadChunks::LineEnd),
            (LineEnd::Lf, "1\na\r\n0\n\n", BadChunks::Unended),
            (LineEnd::Lf, "1\na\n0\r\n\n", BadChunks::LineEnd),
            (LineEnd::Lf, "1\na\n0\n\r\n", BadChunks::LineEnd),
            (LineEnd::Lf, "0\nA: b\r\n\n", BadChunks::LineEnd),
        ];
        for (end, encoded, expected) in table {
            let refused = Chunked::decode(encoded.as_bytes(), end).map(|_| ());
            assert_eq!(refused, Err(expected), "{encoded:?}");
        }
        for (head, end) in [("A: b\r\n\r\n", LineEnd::CrLf), ("A: b\n\n", LineEnd::Lf)] {
            assert_eq!(LineEnd::of(head.as_bytes()), Some(end));
        }
        for head in ["A: b\n\r\n", "A: b\r\n\n", "A: b\r\nC: d\n\r\n"] {
            assert_eq!(LineEnd::of(head.as_bytes()), None, "{head:?}");
        }
    }

    fn end() -> impl Strategy<Value = (LineEnd, &'static str)> {
        prop_oneof![Just(ENDS[0]), Just(ENDS[1])]
    }

    proptest! {
        #[test]
        fn however_content_is_cut_into_chunks_it_is_the_same(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..20),
            (end, line_end) in end(),
        ) {
            let mut encoded = Vec::new();
            for chunk in &chunks {
                encoded.extend(format!("{:x}{line_end}", chunk.len()).into_bytes());
                encoded.extend(chunk);
                encoded.extend(line_end.bytes());
            }
            let trailers = format!("A: b{line_end}");
            encoded.extend(format!("0{line_end}{trailers}").into_bytes());
            for length in 0..=encoded.len() {
                prop_assert!(Chunked::decode(&encoded[..length], end).is_err());
            }
            encoded.extend(line_end.bytes());
            let decoded = Chunked::decode(&encoded, end).unwrap();
            prop_assert_eq!(decoded.content, chunks.concat());
            prop_assert_eq!(decoded.trailers, (trailers + line_end).into_bytes());
            prop_assert!(decoded.rest.is_empty());
        }

        #[test]
        fn whatever_is_read_lies_within_what_came(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), any::<u8>()],
                0..60,
            ),
            (end, _) in end(),
        ) {
            if let Ok(decoded) = Chunked::decode(&bytes, end) {
                let read = [&decoded.content, decoded.trailers, decoded.rest].concat();
                prop_assert!(read.len() < bytes.len());
                prop_assert!(bytes.ends_with(&[decoded.trailers, decoded.rest].concat()));
            }
        }
    }
}
