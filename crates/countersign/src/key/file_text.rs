use zeroize::Zeroizing;

use super::error::KeyError;

/// Quotes around a key, from a shell, a variable or an editor.
const QUOTES: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];

/// The text in a key file, without the additions of editors, shells and variables: a byte order mark, UTF-16, quotes,
/// blanks at both ends, and line breaks and tabs written as `\n` and `\t`. The key itself stays unchanged.
pub(super) fn read(content: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    let text = match utf16(content) {
        Some(units) => from_utf16(&units),
        None => {
            let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
            std::str::from_utf8(content).ok().map(|text| Zeroizing::new(text.to_owned()))
        }
    };
    let text = text.ok_or(KeyError::UnknownForm)?;
    Ok(in_lines(unescaped(unquoted(&text))))
}

/// Restores the line breaks of a proof.
fn in_lines(text: Zeroizing<String>) -> Zeroizing<String> {
    const SECOND: &str = "Signature-Input: sig=";
    const THIRD: &str = "Signature: sig=";
    if !text.contains(SECOND) {
        return text;
    }
    let second = text.replace(SECOND, &format!("\n{SECOND}"));
    Zeroizing::new(second.replace(THIRD, &format!("\n{THIRD}")))
}

/// The lines except empty ones and comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let is_comment = |line: &str| ["#", "//", ";"].iter().any(|mark| line.starts_with(mark));
    // Also at the line breaks of old Macs.
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(move |line| !line.is_empty() && !is_comment(line))
}

/// The text without blanks of any kind.
pub(super) fn without_blanks(text: &str) -> Zeroizing<String> {
    let mut joined = Zeroizing::new(String::with_capacity(text.len()));
    joined.extend(text.chars().filter(|character| !is_blank(*character)));
    joined
}

fn is_blank(character: char) -> bool {
    // Editors and web pages insert the last two, which Unicode does not count as white space.
    character.is_whitespace() || matches!(character, '\0' | '\u{feff}' | '\u{200b}')
}

/// The units of UTF-16, as Windows PowerShell's `>` writes it: after a byte order mark, or ASCII with zero as every other
/// byte.
fn utf16(content: &[u8]) -> Option<Zeroizing<Vec<u16>>> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Zeroizing::new(pairs.iter().copied().map(unit).collect()))
    };
    match content {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => units(content, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => units(content, u16::from_be_bytes),
        _ => None,
    }
}

fn from_utf16(units: &[u16]) -> Option<Zeroizing<String>> {
    // Three bytes at most for each unit: a growing buffer would leave copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(units.len().saturating_mul(3)));
    for character in char::decode_utf16(units.iter().copied()) {
        text.push(character.ok()?);
    }
    Some(text)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim_matches(is_blank);
    let inner = |(open, close): &(char, char)| text.strip_prefix(*open)?.strip_suffix(*close);
    match QUOTES.iter().find_map(inner) {
        Some(inner) => inner.trim_matches(is_blank),
        None => text,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Undoes escape sequences for line breaks and quotes, written once or twice over. Valid JSON stays unchanged; invalid
/// JSON loses its blanks, since an editor may have wrapped its line.
fn unescaped(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    if text.starts_with('{') && is_json(text) {
        plain.push_str(text);
        return plain;
    }
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain.push_str(before);
        let behind = behind.trim_start_matches('\\');
        let mut characters = behind.chars();
        match characters.next() {
            Some('n' | 'r') => plain.push('\n'),
            Some('t') => plain.push(' '),
            Some(other) => plain.push(other),
            None => {}
        }
        rest = characters.as_str();
    }
    plain.push_str(rest);
    let end = plain.trim_end_matches(is_blank).len();
    plain.truncate(end);
    match plain.starts_with('{') && !is_json(&plain) {
        true => without_blanks(&plain),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_around_a_text_is_taken_away() {
        let utf16 = |mark: &[u8], unit: fn(u16) -> [u8; 2]| {
            [mark.to_vec(), "a b\r\n".encode_utf16().flat_map(unit).collect()].concat()
        };
        let cases: [(Vec<u8>, &str); 16] = [
            (b"a b".to_vec(), "a b"),
            (b"\xef\xbb\xbfa b\r\n".to_vec(), "a b"),
            (utf16(&[0xff, 0xfe], u16::to_le_bytes), "a b"),
            (utf16(&[0xfe, 0xff], u16::to_be_bytes), "a b"),
            (utf16(&[], u16::to_le_bytes), "a b"),
            (utf16(&[], u16::to_be_bytes), "a b"),
            (b" \t\"a b\" \r\n".to_vec(), "a b"),
            (b"'a b'\n\0".to_vec(), "a b"),
            ("“a b”".as_bytes().to_vec(), "a b"),
            (br"a\nb\r\nc\n".to_vec(), "a\nb\n\nc"),
            (br"a\\nb".to_vec(), "a\nb"),
            (br"a\tb".to_vec(), "a b"),
            (br#""{\"kty\":1}""#.to_vec(), r#"{"kty":1}"#),
            (br#"{"a":"\n"}"#.to_vec(), r#"{"a":"\n"}"#),
            (br#"{\n"a":1}"#.to_vec(), "{\n\"a\":1}"),
            (b"{\"a\":\"b\nc\"}".to_vec(), r#"{"a":"bc"}"#),
        ];
        for (content, expected) in cases {
            assert_eq!(read(&content).unwrap().as_str(), expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_no_key() {
        for content in [&b"\x30\x2e\xff"[..], b"\xff\xfe\x00", b"\xff\xfe\x00\xd8", b"\xff"] {
            assert_eq!(read(content).unwrap_err(), KeyError::UnknownForm, "{content:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let text = "# of the shop\r\n\r\n  one \n// x\n; y\ntwo";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["one", "two"]);
    }
}
