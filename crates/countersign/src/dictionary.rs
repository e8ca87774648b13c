//! Cuts a structured-field Dictionary (RFC 9651 §3.2) into the raw text of its members, to notice a repeated key and to
//! compare the text of a member with its own re-serialisation.

use http::{HeaderMap, HeaderName, HeaderValue, header::GetAll};

use crate::malformed::Malformed;

/// The lines of a field. Together they are a Dictionary.
pub(crate) struct Lines<'m>(GetAll<'m, HeaderValue>);

impl<'m> Lines<'m> {
    pub(crate) fn of(headers: &'m HeaderMap, name: &HeaderName) -> Self {
        Self(headers.get_all(name))
    }

    /// As [`Lines::of`], by a name in lower case.
    pub(crate) fn of_name(headers: &'m HeaderMap, name: &str) -> Self {
        Self(headers.get_all(name))
    }

    pub(crate) fn are_none(&self) -> bool {
        self.0.iter().next().is_none()
    }

    /// The text of the field if it has a single line.
    pub(crate) fn only(&self) -> Option<&'m str> {
        let mut lines = self.0.iter();
        let line = lines.next()?;
        line.to_str().ok().filter(|_| lines.next().is_none())
    }

    /// How many bytes they have together.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().fold(0, |size, line| size.saturating_add(line.len()))
    }
}

/// The members of a field of at most `bytes`, as from [`members`]. `None` without the field.
pub(crate) fn read(
    lines: Lines<'_>,
    most: usize,
    bytes: usize,
) -> Result<Option<Vec<(&str, &str)>>, Malformed> {
    if lines.are_none() {
        return Ok(None);
    }
    if lines.size() > bytes {
        return Err(Malformed::TooLong);
    }
    members(lines, most).map(Some)
}

/// The members of a Dictionary, each as its key and its whole raw text `key=value`.
///
/// A comma outside strings separates members of a well-formed Dictionary. The parser of the pieces refuses a piece that
/// is not exactly one member.
pub(crate) fn members<'m>(
    Lines(lines): Lines<'m>,
    most: usize,
) -> Result<Vec<(&'m str, &'m str)>, Malformed> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for line in lines {
        let text = line.to_str().map_err(|_| Malformed::NotADictionary)?;
        for piece in split(text) {
            let piece = piece.trim_matches([' ', '\t']);
            let key = piece.split(['=', ';']).next().unwrap_or(piece);
            if key.is_empty() {
                return Err(Malformed::NotADictionary);
            }
            if members.iter().any(|(other, _)| *other == key) {
                return Err(Malformed::DuplicateKey);
            }
            if members.len() >= most {
                return Err(Malformed::TooManyMembers);
            }
            members.push((key, piece));
        }
    }
    Ok(members)
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    // Most Dictionaries have one member and no comma.
    let whole = (!text.contains(',')).then_some(text);
    let pieces = whole.is_none().then(|| split_at_commas(text));
    whole.into_iter().chain(pieces.into_iter().flatten())
}

fn split_at_commas(text: &str) -> impl Iterator<Item = &str> {
    let mut at = At::Outside;
    text.split(move |character| {
        let outside = matches!(at, At::Outside | At::Percent);
        at = match (at, character) {
            (At::Outside | At::Percent, '%') => At::Percent,
            // RFC 9651 §3.3.8: a Display String escapes with percent signs, so a backslash stands for itself.
            (At::Percent, '"') => At::DisplayString,
            (At::Outside, '"') | (At::Escape, _) => At::String,
            (At::String, '\\') => At::Escape,
            (At::String | At::DisplayString, '"') => At::Outside,
            (At::Outside | At::Percent, _) => At::Outside,
            (At::String, _) => At::String,
            (At::DisplayString, _) => At::DisplayString,
        };
        outside && character == ','
    })
}

#[derive(Clone, Copy)]
enum At {
    Outside,
    Percent,
    String,
    Escape,
    DisplayString,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Result<Vec<(&'static str, &'static str)>, Malformed> {
        let name = HeaderName::from_static("x");
        let lines = lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line)));
        let headers: &'static HeaderMap = Box::leak(Box::new(lines.collect()));
        members(Lines::of(headers, &name), 3)
    }

    #[test]
    fn members_are_cut_at_commas_outside_strings() {
        let lines = [r#"a=("x";key="1,\",2" "y");z="(" , b;q=1"#, "c=:AA==:"];
        let expected =
            vec![("a", r#"a=("x";key="1,\",2" "y");z="(""#), ("b", "b;q=1"), ("c", "c=:AA==:")];
        assert_eq!(read(&lines), Ok(expected));
        let lines = [r#"a=%"\", b;q=",", c=%%"%22,""#];
        let expected = vec![("a", r#"a=%"\""#), ("b", r#"b;q=",""#), ("c", r#"c=%%"%22,""#)];
        assert_eq!(read(&lines), Ok(expected));
    }

    #[test]
    fn a_key_occurs_once_on_all_lines_together() {
        assert_eq!(read(&["a=1, a=2"]), Err(Malformed::DuplicateKey));
        assert_eq!(read(&["a=1", "a=2"]), Err(Malformed::DuplicateKey));
        assert_eq!(read(&["a, a;x"]), Err(Malformed::DuplicateKey));
    }

    #[test]
    fn empty_members_and_too_many_are_refused() {
        for line in ["", ",", "a=1,", ",a=1", "a=1,,b=2", "=1"] {
            assert_eq!(read(&[line]), Err(Malformed::NotADictionary), "{line}");
        }
        assert_eq!(read(&["a, b, c, d"]), Err(Malformed::TooManyMembers));
    }
}
