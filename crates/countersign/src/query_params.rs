use std::cmp::Ordering;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The application/x-www-form-urlencoded percent-encode set, with a space as `%20` (RFC 9421 §2.2.8).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The parameters of a query that were asked for. One pass finds them all, so that many names cost hardly more than one.
pub(crate) struct QueryParams<'q> {
    found: Vec<Param<'q>>,
}

struct Param<'q> {
    /// The first bytes of the name as a number, so that most comparisons are of two numbers.
    prefix: u64,
    /// Decoded.
    name: Vec<u8>,
    found: Found<'q>,
}

impl Param<'_> {
    /// The order in which parameters are kept.
    fn cmp(&self, prefix: u64, name: &[u8]) -> Ordering {
        self.prefix.cmp(&prefix).then_with(|| (*self.name).cmp(name))
    }
}

/// What a query has of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found<'q> {
    Nothing,
    Once(&'q str),
    Again,
}

/// Why a parameter has no value that can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoParam {
    Absent,
    Ambiguous,
    NotUtf8,
}

impl<'q> QueryParams<'q> {
    pub(crate) fn find<'n>(query: &'q str, names: impl Iterator<Item = &'n str>) -> Self {
        let param = |name| {
            let name: Vec<u8> = form_decode(name).collect();
            Param { prefix: prefix(&name), name, found: Found::Nothing }
        };
        let mut found: Vec<_> = names.map(param).collect();
        if found.is_empty() {
            return Self { found };
        }
        found.sort_by(|one, other| one.cmp(other.prefix, &other.name));
        let shapes = found.iter().fold(0, |shapes, param| shapes | shape(&param.name));
        for Pair { key, value, encoded } in Pairs::of(query) {
            let decoded: Vec<u8>;
            let key = match encoded {
                false => key.as_bytes(),
                true => {
                    decoded = form_decode(key).collect();
                    &decoded
                }
            };
            // Nearly every key that was not asked for ends here.
            if shapes & shape(key) == 0 {
                continue;
            }
            let prefix = prefix(key);
            let at = found.binary_search_by(|param| param.cmp(prefix, key));
            if let Some(param) = at.ok().and_then(|at| found.get_mut(at)) {
                param.found = match param.found {
                    Found::Nothing => Found::Once(value),
                    Found::Once(_) | Found::Again => Found::Again,
                };
            }
        }
        Self { found }
    }

    /// The value of the parameter with this name, both as RFC 9421 §2.2.8 encodes them.
    pub(crate) fn value(&self, name: &str) -> Result<String, NoParam> {
        // A name that is encoded otherwise would be a second way to write the same identifier.
        if recode(name).as_deref() != Some(name) {
            return Err(NoParam::Absent);
        }
        let decoded: Vec<u8> = form_decode(name).collect();
        let at = self.found.binary_search_by(|param| param.cmp(prefix(&decoded), &decoded));
        match at.ok().and_then(|at| self.found.get(at)).map(|param| param.found) {
            Some(Found::Once(value)) => recode(value).ok_or(NoParam::NotUtf8),
            Some(Found::Again) => Err(NoParam::Ambiguous),
            Some(Found::Nothing) | None => Err(NoParam::Absent),
        }
    }
}

/// The pairs of a query, which may be thousands; each byte is looked at once.
struct Pairs<'q> {
    rest: &'q str,
}

struct Pair<'q> {
    key: &'q str,
    value: &'q str,
    /// Whether the key has anything to decode.
    encoded: bool,
}

impl<'q> Pairs<'q> {
    const fn of(query: &'q str) -> Self {
        Self { rest: query }
    }
}

impl<'q> Iterator for Pairs<'q> {
    type Item = Pair<'q>;

    fn next(&mut self) -> Option<Pair<'q>> {
        self.rest = self.rest.trim_start_matches('&');
        let (mut key_end, mut encoded, mut end) = (None, false, self.rest.len());
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                b'&' => {
                    end = at;
                    break;
                }
                b'=' if key_end.is_none() => key_end = Some(at),
                b'%' | b'+' if key_end.is_none() => encoded = true,
                _ => {}
            }
        }
        let (pair, rest) = self.rest.split_at_checked(end).filter(|(pair, _)| !pair.is_empty())?;
        self.rest = rest;
        let (key, value) = pair.split_at_checked(key_end.unwrap_or(end))?;
        Some(Pair { key, value: value.strip_prefix('=').unwrap_or(value), encoded })
    }
}

/// The first eight bytes, as a number in the order of names; bytes that are missing are zero.
fn prefix(name: &[u8]) -> u64 {
    let bytes = name.iter().map(|&byte| u64::from(byte)).chain(std::iter::repeat(0));
    bytes.take(8).fold(0, |prefix, byte| (prefix << 8) | byte)
}

/// One bit of 64, by length and first byte.
fn shape(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |&byte| u32::from(byte) & 7);
    let length = u32::try_from(name.len() & 7).unwrap_or(0);
    1u64.rotate_left((length << 3) | first)
}

fn form_decode(text: &str) -> impl Iterator<Item = u8> {
    let pieces = text.split('+').enumerate();
    pieces.flat_map(|(at, piece)| {
        let space = (at > 0).then_some(b' ');
        space.into_iter().chain(percent_decode(piece.as_bytes()))
    })
}

fn recode(text: &str) -> Option<String> {
    let text = String::from_utf8(form_decode(text).collect()).ok()?;
    Some(utf8_percent_encode(&text, FORM).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_one_value_in_one_encoding() {
        let query = "a=1&&b=x+y%2b&c&%64=%c3%A9&twice=1&twice=2&bad=%ff&=empty&e%20f=g&i=j=k";
        let names =
            ["a", "b", "c", "d", "twice", "bad", "", "e%20f", "e f", "e+f", "%64", "i", "%ff", "z"];
        let params = QueryParams::find(query, names.into_iter());
        let expected = [
            ("a", Ok("1")),
            ("b", Ok("x%20y%2B")),
            ("c", Ok("")),
            ("d", Ok("%C3%A9")),
            ("twice", Err(NoParam::Ambiguous)),
            ("bad", Err(NoParam::NotUtf8)),
            ("", Ok("empty")),
            ("e%20f", Ok("g")),
            ("e f", Err(NoParam::Absent)),
            ("e+f", Err(NoParam::Absent)),
            ("%64", Err(NoParam::Absent)),
            ("i", Ok("j%3Dk")),
            ("%ff", Err(NoParam::Absent)),
            ("z", Err(NoParam::Absent)),
        ];
        for (name, value) in expected {
            assert_eq!(params.value(name), value.map(str::to_owned), "{name}");
        }
    }
}
