use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

use crate::byte_set::ByteSet;

/// Characters outside the application/x-www-form-urlencoded percent-encode set (RFC 9421 §2.2.8).
static PLAIN: ByteSet = ByteSet::ALPHANUMERIC.with(b"*-._");

/// The requested parameters of a query. A single pass finds them all, so that many names cost hardly more than one.
pub(crate) struct QueryParams<'m> {
    params: Vec<Param<'m>>,
}

/// A requested parameter.
struct Param<'m> {
    /// The name as RFC 9421 §2.2.8 encodes it. A request for a parameter has to use this form.
    name: &'m str,
    decoded: Vec<u8>,
    /// The tail of the decoded name.
    tail: u64,
    found: Found<'m>,
}

/// The occurrences of a name in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found<'q> {
    Nothing,
    Once(&'q [u8]),
    Again,
}

/// Why a parameter has no value to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoParam {
    Absent,
    Ambiguous,
    NotUtf8,
}

impl<'m> QueryParams<'m> {
    pub(crate) fn find(query: &'m str, names: impl Iterator<Item = &'m str>) -> Self {
        // A name in another encoding would be a second identifier of the same parameter.
        let names = names.filter(|name| recode(name.as_bytes()).as_deref() == Some(name));
        let param = |name: &'m str| {
            let decoded: Vec<u8> = form_decode(name.as_bytes()).collect();
            Param { name, tail: tail(decoded.iter().copied()), decoded, found: Found::Nothing }
        };
        let mut params: Vec<_> = names.map(param).collect();
        if params.is_empty() {
            return Self { params };
        }
        params.sort_by_key(|param| param.tail);
        let tails: Vec<_> = params.iter().map(|param| param.tail).collect();
        let mut sieve = Sieve::of(params.iter());
        for pair in query.as_bytes().split(|&byte| byte == b'&') {
            let tail = tail(decode_key(pair));
            // Nearly all other keys end here, and so does a repeated one.
            if pair.is_empty() || !sieve.lets_through(tail) {
                continue;
            }
            let from = tails.partition_point(|&other| other < tail);
            if tails.get(from) != Some(&tail) {
                continue;
            }
            let key: Vec<u8> = decode_key(pair).collect();
            let alike = params.iter_mut().skip(from).take_while(|param| param.tail == tail);
            let mut is_settled = false;
            for param in alike.filter(|param| param.decoded == key) {
                param.found = match param.found {
                    Found::Nothing => Found::Once(value_of(pair)),
                    Found::Once(_) | Found::Again => Found::Again,
                };
                is_settled |= param.found == Found::Again;
            }
            if is_settled {
                sieve = Sieve::of(params.iter().filter(|param| param.found != Found::Again));
            }
        }
        Self { params }
    }

    /// The value of the parameter with this name, both as RFC 9421 §2.2.8 encodes them.
    pub(crate) fn value(&self, name: &str) -> Result<Cow<'m, str>, NoParam> {
        let param = self.params.iter().find(|param| param.name == name);
        match param.map(|param| param.found) {
            Some(Found::Once(value)) => recode(value).ok_or(NoParam::NotUtf8),
            Some(Found::Again) => Err(NoParam::Ambiguous),
            Some(Found::Nothing) | None => Err(NoParam::Absent),
        }
    }
}

/// Lets the requested tails pass and few others, by one bit.
struct Sieve([u64; 64]);

impl Sieve {
    fn of<'p>(params: impl Iterator<Item = &'p Param<'p>>) -> Self {
        let mut sieve = Self([0; 64]);
        for param in params {
            let (word, bit) = Self::place(param.tail);
            if let Some(word) = sieve.0.get_mut(word) {
                *word |= bit;
            }
        }
        sieve
    }

    fn lets_through(&self, tail: u64) -> bool {
        let (word, bit) = Self::place(tail);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The top bits of a multiple of the golden ratio depend on all others, and differ for all tails of one byte.
    fn place(tail: u64) -> (usize, u64) {
        let mixed = tail.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (usize::from((mixed >> 58) as u8), 1 << ((mixed >> 52) & 63))
    }
}

/// The last eight bytes as a number: different names mostly differ in them.
fn tail(name: impl Iterator<Item = u8>) -> u64 {
    name.fold(0, |tail, byte| (tail << 8) | u64::from(byte))
}

/// The characters that a key encodes.
static SPECIAL: ByteSet = ByteSet::NONE.with(b"=%+");

/// The decoded key of a pair.
fn decode_key(mut pair: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (mut byte, rest) = pair.split_first().map(|(&byte, rest)| (byte, rest))?;
        pair = rest;
        if SPECIAL.has(byte) {
            if byte == b'=' {
                return None;
            }
            (byte, pair) = decode(byte, rest);
        }
        Some(byte)
    })
}

/// The text after the first `=` of a pair.
fn value_of(pair: &[u8]) -> &[u8] {
    let mut parts = pair.splitn(2, |&byte| byte == b'=');
    parts.nth(1).unwrap_or_default()
}

fn form_decode(mut text: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&first, rest) = text.split_first()?;
        let (byte, rest) = decode(first, rest);
        text = rest;
        Some(byte)
    })
}

/// The byte that `first` and perhaps the next two digits stand for, and the rest.
fn decode(first: u8, rest: &[u8]) -> (u8, &[u8]) {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (first, rest) {
        (b'+', _) => (b' ', rest),
        (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => ((high << 4) | low, behind),
            _ => (first, rest),
        },
        _ => (first, rest),
    }
}

/// The text of a name or a value in the encoding that is signed; `None` if it is not UTF-8.
fn recode(text: &[u8]) -> Option<Cow<'_, str>> {
    // Characters that stand for themselves are decoded and encoded unchanged.
    if text.iter().all(|&byte| PLAIN.has(byte)) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let text = String::from_utf8(form_decode(text).collect()).ok()?;
    let mut encoded = String::with_capacity(text.len().saturating_mul(2));
    for byte in text.bytes() {
        match PLAIN.has(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(percent_encode_byte(byte)),
        }
    }
    Some(Cow::Owned(encoded))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// The application/x-www-form-urlencoded percent-encode set, with a space as `%20`.
    const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

    fn decode_plainly(text: &str) -> Vec<u8> {
        let pieces: Vec<Vec<u8>> =
            text.split('+').map(|piece| percent_decode(piece.as_bytes()).collect()).collect();
        pieces.join(&b' ')
    }

    fn recode_plainly(text: &str) -> Option<String> {
        let text = String::from_utf8(decode_plainly(text)).ok()?;
        Some(utf8_percent_encode(&text, FORM).to_string())
    }

    /// As RFC 9421 §2.2.8 says it, one name after the other.
    fn value_plainly(query: &str, name: &str) -> Result<String, NoParam> {
        if recode_plainly(name).as_deref() != Some(name) {
            return Err(NoParam::Absent);
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(key, _)| decode_plainly(key) == decode_plainly(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => recode_plainly(value).ok_or(NoParam::NotUtf8),
            (Some(_), Some(_)) => Err(NoParam::Ambiguous),
            (None, _) => Err(NoParam::Absent),
        }
    }

    /// Texts of pieces that mean something in a query, and names that are alike in their last bytes.
    fn text(pieces: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("a"),
            Just("b"),
            Just("abcdefgh"),
            Just("%61"),
            Just("%4"),
            Just("%"),
            Just("%2B"),
            Just("%20"),
            Just("%00"),
            Just("%ff"),
            Just("%C3%A9"),
            Just("+"),
            Just("="),
            Just("!"),
            Just("-"),
        ];
        proptest::collection::vec(piece, pieces).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn one_pass_finds_what_a_search_for_each_name_finds(
            pairs in proptest::collection::vec(text(0..4), 0..8),
            names in proptest::collection::vec(text(0..3), 1..6),
        ) {
            let query = pairs.join("&");
            let names = names.into_iter().chain(pairs.iter().filter_map(|pair| recode_plainly(pair)));
            let names: Vec<_> = names.collect();
            let params = QueryParams::find(&query, names.iter().map(String::as_str));
            for name in &names {
                let value = params.value(name).map(Cow::into_owned);
                prop_assert_eq!(value, value_plainly(&query, name), "{} of {}", name, query);
            }
        }
    }

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
            assert_eq!(params.value(name), value.map(Cow::Borrowed), "{name}");
        }
    }
}
