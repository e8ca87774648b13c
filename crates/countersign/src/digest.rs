use std::{convert::Infallible, fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor},
};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    canonical,
    dictionary::{self, Lines},
    field_name::CONTENT_DIGEST,
    malformed::Malformed,
};

pub(crate) const MAX_MEMBERS: usize = 16;
/// Room for every algorithm there is, several times.
pub(crate) const MAX_FIELD: usize = 2 * 1024;

/// An accepted digest algorithm. Digests of algorithms that are not active in the registry (RFC 9530 §7.2) can be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// `sha-256`.
    Sha256,
    /// `sha-512`.
    Sha512,
}

impl DigestAlgorithm {
    /// The key in a digest field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DigestAlgorithm {
    type Err = BadDigest;

    fn from_str(key: &str) -> Result<Self, BadDigest> {
        match key {
            "sha-256" => Ok(Self::Sha256),
            "sha-512" => Ok(Self::Sha512),
            _ => Err(BadDigest::Unsupported),
        }
    }
}

/// The digests of accepted algorithms in a `Content-Digest` or `Repr-Digest` field: `sha-256` and `sha-512` (RFC 9530
/// §5).
///
/// ```
/// use countersign::ContentDigest;
/// use http::HeaderMap;
///
/// let content = br#"{"item":"book"}"#;
/// let mut headers = HeaderMap::new();
/// headers.insert("content-digest", ContentDigest::sha256(content).to_header()?);
///
/// let digest = ContentDigest::from_headers(&headers)?.ok_or("no digest")?;
/// let mut check = digest.check();
/// check.update(content);
/// assert!(check.finish().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

/// Why a digest field cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDigest {
    /// Not a Dictionary of Byte Sequences, a repeated key, a digest of the wrong length, or more than 2 KiB.
    #[error("the digest field is not a dictionary of digests, each once and of its proper length")]
    Malformed,
    /// Only algorithms with known collisions, or unknown ones.
    #[error("the digest field has neither sha-256 nor sha-512")]
    Unsupported,
}

/// The content does not match its digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content does not have the digest that was sent")]
pub struct DigestMismatch;

impl ContentDigest {
    /// The SHA-256 digest of `content`. Signers of this crate send this one.
    pub fn sha256(content: &[u8]) -> Self {
        Self { sha256: Some(Sha256::digest(content).into()), sha512: None }
    }

    /// The SHA-512 digest of `content`.
    pub fn sha512(content: &[u8]) -> Self {
        Self { sha256: None, sha512: Some(Sha512::digest(content).into()) }
    }

    /// The digest of `content` by this algorithm.
    pub fn new(algorithm: DigestAlgorithm, content: &[u8]) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::sha256(content),
            DigestAlgorithm::Sha512 => Self::sha512(content),
        }
    }

    /// Adds the digest of the same content by another algorithm.
    pub fn and(self, algorithm: DigestAlgorithm, content: &[u8]) -> Self {
        let other = Self::new(algorithm, content);
        Self { sha256: other.sha256.or(self.sha256), sha512: other.sha512.or(self.sha512) }
    }

    /// The digests in the `Content-Digest` field; `None` without the field.
    ///
    /// # Errors
    ///
    /// As [`ContentDigest::from_field`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, BadDigest> {
        Self::from_field(headers, &CONTENT_DIGEST)
    }

    /// The digests in the field of this name, [`CONTENT_DIGEST`] or [`REPR_DIGEST`](crate::REPR_DIGEST); `None` without the field.
    ///
    /// Other algorithms beside `sha-256` or `sha-512` are ignored.
    ///
    /// # Errors
    ///
    /// [`BadDigest`].
    pub fn from_field(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, BadDigest> {
        let lines = Lines::of(headers, name);
        match Self::only(&lines) {
            Some(read) => read.map(Some),
            None => Self::all(lines),
        }
    }

    /// A single digest in canonical form. Nearly all fields are such.
    fn only(lines: &Lines<'_>) -> Option<Result<Self, BadDigest>> {
        let line = lines.only().filter(|line| line.len() <= MAX_FIELD)?;
        let mut buffer = [0; 64];
        let (key, bytes) = canonical::bytes_into(line, &mut buffer)?;
        Some(Self::NONE.with(key, bytes).and_then(Self::not_none))
    }

    fn all(lines: Lines<'_>) -> Result<Option<Self>, BadDigest> {
        let members = dictionary::read(lines, MAX_MEMBERS, MAX_FIELD);
        let Some(members) = members.map_err(|_| BadDigest::Malformed)? else { return Ok(None) };
        let mut digest = Self::NONE;
        for (key, raw) in members {
            let bytes = match canonical::bytes(raw) {
                Some((_, bytes)) => bytes,
                None => Parser::new(raw)
                    .parse_dictionary_with_visitor(OnlyBytes::default())
                    .map_err(|_| BadDigest::Malformed)?
                    .ok_or(BadDigest::Malformed)?,
            };
            digest = digest.with(key, &bytes)?;
        }
        digest.not_none().map(Some)
    }

    const NONE: Self = Self { sha256: None, sha512: None };

    fn not_none(self) -> Result<Self, BadDigest> {
        if self == Self::NONE { Err(BadDigest::Unsupported) } else { Ok(self) }
    }

    /// Adds a member of the field, if its algorithm is accepted.
    fn with(mut self, key: &str, bytes: &[u8]) -> Result<Self, BadDigest> {
        let wrong_length = |_| BadDigest::Malformed;
        match key.parse() {
            Ok(DigestAlgorithm::Sha256) => {
                self.sha256 = Some(bytes.try_into().map_err(wrong_length)?);
            }
            Ok(DigestAlgorithm::Sha512) => {
                self.sha512 = Some(bytes.try_into().map_err(wrong_length)?);
            }
            Err(_) => {}
        }
        Ok(self)
    }

    /// The value of the field.
    ///
    /// # Errors
    ///
    /// Always succeeds: base64 has only header characters.
    pub fn to_header(&self) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        HeaderValue::try_from(self.text())
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(160);
        let digests = [
            (DigestAlgorithm::Sha256, self.sha256.as_ref().map(<[u8; 32]>::as_slice)),
            (DigestAlgorithm::Sha512, self.sha512.as_ref().map(<[u8; 64]>::as_slice)),
        ];
        for (algorithm, digest) in digests {
            let Some(digest) = digest else { continue };
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(algorithm.as_str());
            text.push_str("=:");
            STANDARD.encode_string(digest, &mut text);
            text.push(':');
        }
        text
    }

    /// Whether each digest of `given` is here too, and is the same.
    pub(crate) fn holds(&self, given: &Self) -> bool {
        given.sha256.is_none_or(|digest| self.sha256 == Some(digest))
            && given.sha512.is_none_or(|digest| self.sha512 == Some(digest))
    }

    /// Starts to compare content with these digests. The content may come in pieces.
    pub fn check(self) -> DigestCheck {
        let sha256 = self.sha256.map(|_| DigestAlgorithm::Sha256);
        let sha512 = self.sha512.map(|_| DigestAlgorithm::Sha512);
        DigestCheck {
            running: RunningDigest::new(sha256.into_iter().chain(sha512)),
            expected: self,
        }
    }
}

/// A running digest of content in pieces, by one or more algorithms.
///
/// ```
/// use countersign::{ContentDigest, DigestAlgorithm, RunningDigest};
///
/// let mut running = RunningDigest::new([DigestAlgorithm::Sha256]);
/// running.update(b"a large ");
/// running.update(b"file");
/// assert_eq!(running.finish(), ContentDigest::sha256(b"a large file"));
/// ```
#[derive(Clone)]
pub struct RunningDigest {
    sha256: Option<Sha256>,
    /// Apart, since it is large and rare: a server moves the other one about with each request.
    sha512: Option<Box<Sha512>>,
}

impl RunningDigest {
    /// Starts with no content.
    pub fn new(algorithms: impl IntoIterator<Item = DigestAlgorithm>) -> Self {
        let mut running = Self { sha256: None, sha512: None };
        for algorithm in algorithms {
            match algorithm {
                DigestAlgorithm::Sha256 => running.sha256 = Some(Sha256::new()),
                DigestAlgorithm::Sha512 => running.sha512 = Some(Box::default()),
            }
        }
        running
    }

    /// Takes the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(piece);
        }
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(piece);
        }
    }

    /// The digest of the whole content.
    pub fn finish(self) -> ContentDigest {
        ContentDigest {
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
            sha512: self.sha512.map(|sha512| (*sha512).finalize().into()),
        }
    }
}

impl fmt::Debug for RunningDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningDigest").finish_non_exhaustive()
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// A running comparison of content with its digests.
#[derive(Clone)]
#[must_use = "content that is not compared to its end is not checked"]
pub struct DigestCheck {
    running: RunningDigest,
    expected: ContentDigest,
}

impl DigestCheck {
    /// Takes the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        self.running.update(piece);
    }

    /// Compares at the end of the content. All accepted digests have to match.
    ///
    /// # Errors
    ///
    /// [`DigestMismatch`].
    pub fn finish(self) -> Result<(), DigestMismatch> {
        let found = self.running.finish();
        // The peer knows both sides, so the time of this comparison tells it nothing new.
        if found == self.expected { Ok(()) } else { Err(DigestMismatch) }
    }
}

impl fmt::Debug for DigestCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestCheck").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// Reads the Byte Sequence of a Dictionary with a single member.
#[derive(Default)]
pub(crate) struct OnlyBytes {
    key: Option<()>,
    bytes: Option<Vec<u8>>,
}

impl<'de> DictionaryVisitor<'de> for OnlyBytes {
    type Out = Option<Vec<u8>>;
    type Error = Malformed;

    fn entry(&mut self, _: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Malformed> {
        match self.key.replace(()) {
            None => Ok(self),
            Some(()) => Err(Malformed::NotADictionary),
        }
    }

    fn finish(self) -> Result<Self::Out, Malformed> {
        Ok(self.bytes)
    }
}

impl<'de> EntryVisitor<'de> for &mut OnlyBytes {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(|item: BareItemFromInput<'de>| {
            if let BareItemFromInput::ByteSequence(bytes) = item {
                self.bytes = Some(bytes);
            }
            Ok::<_, Infallible>(sfv::visitor::Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(sfv::visitor::Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_name::REPR_DIGEST;

    const CONTENT: &[u8] = br#"{"hello": "world"}"#;
    const SHA256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    const SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    const MD5: &str = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:";
    const OTHER256: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

    fn read(lines: &[String]) -> Result<Option<ContentDigest>, BadDigest> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_DIGEST, line.parse().unwrap());
        }
        ContentDigest::from_headers(&headers)
    }

    #[test]
    fn it_prints_what_it_reads() {
        assert_eq!(ContentDigest::sha256(CONTENT).to_string(), SHA256);
        assert_eq!(ContentDigest::sha512(CONTENT).to_string(), SHA512);
        let both = format!("{SHA256}, {SHA512}");
        assert_eq!(read(std::slice::from_ref(&both)).unwrap().unwrap().to_string(), both);
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn content_in_pieces_has_the_digests_of_the_whole() {
        use DigestAlgorithm::{Sha256, Sha512};
        let both = ContentDigest::sha256(CONTENT).and(Sha512, CONTENT);
        for (algorithms, expected) in [
            (&[Sha256][..], ContentDigest::sha256(CONTENT)),
            (&[Sha512], ContentDigest::sha512(CONTENT)),
            (&[Sha512, Sha256], both),
        ] {
            for size in [1, 5, CONTENT.len()] {
                let mut running = RunningDigest::new(algorithms.iter().copied());
                CONTENT.chunks(size).for_each(|piece| running.update(piece));
                assert_eq!(running.finish(), expected);
            }
        }
    }

    #[test]
    fn several_are_made_at_once_for_either_field() {
        use DigestAlgorithm::{Sha256, Sha512};
        let both = format!("{SHA256}, {SHA512}");
        for (first, second) in [(Sha256, Sha512), (Sha512, Sha256)] {
            let made = ContentDigest::new(first, CONTENT).and(second, CONTENT);
            assert_eq!(made.to_string(), both);
            let headers = HeaderMap::from_iter([(REPR_DIGEST, made.to_header().unwrap())]);
            assert_eq!(ContentDigest::from_field(&headers, &REPR_DIGEST), Ok(Some(made)));
            assert_eq!(ContentDigest::from_headers(&headers), Ok(None), "of the other field");
        }
        assert_eq!(ContentDigest::sha256(CONTENT).and(Sha256, CONTENT).to_string(), SHA256);
        assert!("md5".parse::<DigestAlgorithm>().is_err());
        for algorithm in [Sha256, Sha512] {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn every_known_digest_has_to_match_and_unknown_ones_do_not_count() {
        let check = |field: &str| {
            let mut check = read(&[field.to_owned()]).unwrap().unwrap().check();
            CONTENT.chunks(5).for_each(|piece| check.update(piece));
            check.finish()
        };
        for field in [SHA256, SHA512, &format!("{MD5}, {SHA256}"), &format!("{SHA512}, x=:AA==:")] {
            assert_eq!(check(field), Ok(()), "{field}");
        }
        let wrong512 = SHA512.replacen("WZ", "WY", 1);
        for field in [OTHER256, &format!("{OTHER256}, {SHA512}"), &format!("{SHA256}, {wrong512}")]
        {
            assert_eq!(check(field), Err(DigestMismatch), "{field}");
        }
    }

    #[test]
    fn a_digest_in_another_form_than_the_usual_counts_as_well() {
        let digest = ContentDigest::sha256(CONTENT);
        for field in [format!("{SHA256};p"), format!(" {SHA256}"), format!("{SHA256} , {MD5};p=1")]
        {
            assert_eq!(read(std::slice::from_ref(&field)), Ok(Some(digest)), "{field}");
        }
    }

    #[test]
    fn a_field_of_2_kib_is_read_and_a_longer_one_is_not() {
        let field = |key: usize| {
            let rest = 2048 - SHA256.len() - ", k=::".len();
            let (digits, left) = (rest / 4 * 4, rest % 4);
            format!("{SHA256}, k{}=:{}:", "k".repeat(left + key), "A".repeat(digits))
        };
        assert_eq!((field(0).len(), field(1).len()), (2048, 2049));
        assert_eq!(read(&[field(0)]), Ok(Some(ContentDigest::sha256(CONTENT))));
        assert_eq!(read(&[field(1)]), Err(BadDigest::Malformed));
    }

    #[test]
    fn a_running_comparison_prints_what_it_expects() {
        let expected = ContentDigest::sha256(CONTENT);
        let printed = format!("{:?}", expected.check());
        assert_eq!(printed, format!("DigestCheck {{ expected: {expected:?}, .. }}"));
    }

    #[test]
    fn a_digest_of_other_content_does_not_match() {
        for bit in 0..CONTENT.len() * 8 {
            let mut content = CONTENT.to_vec();
            content[bit / 8] ^= 1 << (bit % 8);
            let mut check = ContentDigest::sha256(CONTENT).check();
            check.update(&content);
            assert_eq!(check.finish(), Err(DigestMismatch));
        }
        assert_eq!(ContentDigest::sha256(CONTENT).check().finish(), Err(DigestMismatch));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let malformed = [
            String::new(),
            "sha-256".into(),
            "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=".into(),
            "sha-256=:X48E:".into(),
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:".into(),
            format!("{SHA256}, {SHA256}"),
            format!("{SHA256},"),
            format!("{SHA256}, md5"),
            format!(r#"{SHA256}, md5=:AAAA:;p=%"\", {OTHER256};q="x""#),
        ];
        for field in malformed {
            assert_eq!(read(std::slice::from_ref(&field)), Err(BadDigest::Malformed), "{field}");
        }
        let hidden = format!(r#"sha-256=:AAAA:;p=%"\", {};q="x""#, MD5.replace("md5", "sha-256"));
        assert_eq!(read(&[hidden]), Err(BadDigest::Malformed));
        assert_eq!(read(&[SHA256.into(), SHA256.into()]), Err(BadDigest::Malformed));
        assert_eq!(read(&[MD5.into()]), Err(BadDigest::Unsupported));
        assert_eq!(read(&["SHA-256=:X48E:".into()]), Err(BadDigest::Malformed));
    }

    #[test]
    fn one_digest_that_is_not_cut_is_what_cutting_gives() {
        let long = format!("sha-256=:{}:", "AAAA".repeat(MAX_FIELD / 4));
        let [other, too_long] =
            ["a", "sha-512"].map(|key| format!("{key}=:{}:", "AAAA".repeat(22)));
        let fields = [
            (SHA256, true),
            (SHA512, true),
            (MD5, true),
            ("sha-256=:AAAA:", true),
            ("sha-512=:AAAA:", true),
            (&other, false),
            (&too_long, false),
            ("sha-256=:AA:", false),
            ("sha-256=:AAAA:;a", false),
            (" sha-256=:AAAA:", false),
            ("SHA-256=:AAAA:", false),
            ("a=:AAAA:, b=:AAAA:", false),
            ("a=:AAAA:,", false),
            ("", false),
            (&long, false),
        ];
        for (field, is_only) in fields {
            let headers = HeaderMap::from_iter([(CONTENT_DIGEST, field.parse().unwrap())]);
            let lines = Lines::of(&headers, &CONTENT_DIGEST);
            let only = ContentDigest::only(&lines);
            assert_eq!(only.is_some(), is_only, "{field}");
            if let Some(only) = only {
                assert_eq!(only.map(Some), ContentDigest::all(lines), "{field}");
            }
        }
    }
}
