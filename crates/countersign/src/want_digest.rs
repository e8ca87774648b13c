use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::{
    dictionary::{self, Lines},
    digest::{DigestAlgorithm, MAX_FIELD, MAX_MEMBERS},
};

/// The name of the `Want-Content-Digest` field (RFC 9530 §4).
pub const WANT_CONTENT_DIGEST: HeaderName = HeaderName::from_static("want-content-digest");
/// The name of the `Want-Repr-Digest` field (RFC 9530 §4).
pub const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");

const MOST_WANTED: u8 = 10;

/// The digests that the sender of a message wants in the response, or in the next request (RFC 9530 §4).
///
/// It is a wish: the verifier checks any digest that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantDigest(Vec<(Box<str>, u8)>);

/// Not a Dictionary of integers from 0 to 10, a repeated key, or more than 2 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the field is not a dictionary of digest algorithms, each once, with an integer from 0 to 10"
)]
pub struct BadWant;

impl WantDigest {
    /// The accepted algorithms; `sha-256` before `sha-512`, since current processors have instructions for it.
    pub fn accepted() -> Self {
        let accepted = [(DigestAlgorithm::Sha256, MOST_WANTED), (DigestAlgorithm::Sha512, 5)];
        Self(accepted.map(|(algorithm, weight)| (algorithm.as_str().into(), weight)).into())
    }

    /// The wishes in the field of this name, [`WANT_CONTENT_DIGEST`] or [`WANT_REPR_DIGEST`]; `None` without the field.
    ///
    /// # Errors
    ///
    /// [`BadWant`].
    pub fn from_field(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, BadWant> {
        let members = dictionary::read(Lines::of(headers, name), MAX_MEMBERS, MAX_FIELD);
        let Some(members) = members.map_err(|_| BadWant)? else { return Ok(None) };
        let weights = members.into_iter().map(|(key, raw)| Ok((key.into(), weight(raw)?)));
        weights.collect::<Result<_, _>>().map(|weights| Some(Self(weights)))
    }

    /// The known algorithms that the sender accepts, the most wanted first, and equally wanted ones in the order of the
    /// field. Weight 0 refuses an algorithm.
    pub fn preferred(&self) -> Vec<DigestAlgorithm> {
        let known = |(key, weight): &(Box<str>, u8)| Some((key.parse().ok()?, *weight));
        let mut wanted: Vec<(DigestAlgorithm, u8)> =
            self.0.iter().filter_map(known).filter(|(_, weight)| *weight > 0).collect();
        wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        wanted.into_iter().map(|(algorithm, _)| algorithm).collect()
    }

    /// The value of the field.
    ///
    /// # Errors
    ///
    /// Always succeeds: keys and digits are header characters.
    pub fn to_header(&self) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        HeaderValue::try_from(self.to_string())
    }
}

/// The integer of a member. Parameters are for later versions of the field, and ignored.
fn weight(raw: &str) -> Result<u8, BadWant> {
    let mut members = Parser::new(raw).parse::<Dictionary>().map_err(|_| BadWant)?;
    let (Some((_, ListEntry::Item(item))), None) = (members.pop(), members.pop()) else {
        return Err(BadWant);
    };
    let BareItem::Integer(weight) = item.bare_item else { return Err(BadWant) };
    let weight = u8::try_from(i64::from(weight)).map_err(|_| BadWant)?;
    if weight <= MOST_WANTED { Ok(weight) } else { Err(BadWant) }
}

impl fmt::Display for WantDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, weight)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{key}={weight}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Result<WantDigest, BadWant> {
        let headers = HeaderMap::from_iter([(WANT_REPR_DIGEST, field.parse().unwrap())]);
        assert_eq!(WantDigest::from_field(&headers, &WANT_CONTENT_DIGEST), Ok(None));
        WantDigest::from_field(&headers, &WANT_REPR_DIGEST).map(Option::unwrap)
    }

    #[test]
    fn what_is_wanted_most_comes_first_and_what_is_not_acceptable_never() {
        use DigestAlgorithm::{Sha256, Sha512};
        let table: [(&str, &[DigestAlgorithm]); 7] = [
            ("sha-256=1, sha-512=2", &[Sha512, Sha256]),
            ("sha-512=10, sha-256=10", &[Sha512, Sha256]),
            ("sha-256=10, sha-512=0", &[Sha256]),
            ("md5=10, sha-512=1", &[Sha512]),
            ("sha-256=1;later=?0", &[Sha256]),
            ("md5=10", &[]),
            ("sha-256=0", &[]),
        ];
        for (field, expected) in table {
            assert_eq!(read(field).unwrap().preferred(), expected, "{field}");
        }
        assert_eq!(WantDigest::accepted().preferred(), [Sha256, Sha512]);
    }

    #[test]
    fn it_prints_what_it_reads() {
        let text = WantDigest::accepted().to_string();
        assert_eq!(text, "sha-256=10, sha-512=5");
        assert_eq!(read(&text), Ok(WantDigest::accepted()));
        let unknown = "sha-512=3, sha-256=10, unixsum=0";
        assert_eq!(read(unknown).unwrap().to_string(), unknown);
    }

    #[test]
    fn what_is_no_preference_is_refused() {
        let long = format!("sha-256=1, {}=1", "a".repeat(2048));
        let many: Vec<_> = (0..17).map(|at| format!("a{at}=1")).collect();
        let refused = [
            "",
            "sha-256",
            "sha-256=11",
            "sha-256=-1",
            "sha-256=1.0",
            "sha-256=?1",
            "sha-256=\"1\"",
            "sha-256=(1)",
            "sha-256=1, sha-256=2",
            "sha-256=1,",
            "SHA-256=1",
            &long,
            &many.join(", "),
        ];
        for field in refused {
            assert_eq!(read(field), Err(BadWant), "{field}");
        }
    }
}
