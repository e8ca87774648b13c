use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{byte_set::ByteSet, timestamp::Timestamp};

/// The nonce of a signature, which is then good for one request: 16 to 64 characters of base64 or base64url.
///
/// ```
/// use countersign::Nonce;
///
/// let nonce = Nonce::from_random([9; 16]); // 16 bytes of the system's random generator
/// assert_eq!(nonce.as_str(), "CQkJCQkJCQkJCQkJCQkJCQ");
/// assert!("too short".parse::<Nonce>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce {
    characters: [u8; Self::MAX],
    length: u8,
}

/// Not 16 to 64 characters of base64 or base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a nonce has 16 to 64 characters of base64 or base64url")]
pub struct NotANonce;

impl Nonce {
    const MAX: usize = 64;

    /// The nonce of 16 random bytes: 22 characters of base64url.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let mut characters = [0; Self::MAX];
        // 16 bytes always fit; were they not to, the nonce would be refused by every server, never reused.
        let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut characters).unwrap_or(0);
        Self { characters, length: u8::try_from(length).unwrap_or(0) }
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// Its characters, as bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.characters.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        static ALLOWED: ByteSet = ByteSet::ALPHANUMERIC.with(b"+/-_=");
        if !(16..=Self::MAX).contains(&text.len()) || !ALLOWED.has_all_of(text) {
            return Err(NotANonce);
        }
        let mut characters = [0; Self::MAX];
        characters.get_mut(..text.len()).ok_or(NotANonce)?.copy_from_slice(text.as_bytes());
        Ok(Self { characters, length: u8::try_from(text.len()).map_err(|_| NotANonce)? })
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// The use of a nonce, to be claimed from a replay guard. The signature covers all three parts.
///
/// [`Authentic::nonce_use`](crate::Authentic::nonce_use) makes it from a valid signature, so that a guard stores nothing
/// for strangers. To test a store by itself, use [`NonceUse::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NonceUse {
    credential: i64,
    created: Timestamp,
    nonce: Nonce,
}

impl NonceUse {
    /// A nonce used by the credential with this number (its row in the registry, never a text from the wire). Of credentials that
    /// took over from each other, the verifier gives the number of the first.
    pub const fn new(credential: i64, created: Timestamp, nonce: Nonce) -> Self {
        Self { credential, created, nonce }
    }

    /// The number of the credential.
    pub const fn credential(&self) -> i64 {
        self.credential
    }

    /// When the request says it was signed.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// The nonce.
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }
}

/// The verdict of a replay guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a claim that nobody looks at guards nothing"]
pub enum Claim {
    /// First use; it is remembered now.
    Fresh,
    /// Used before.
    Replayed,
    /// Signed before the guard's low-water mark: the guard cannot tell whether this is the first use. Sign anew after
    /// `retry_after`.
    TooOld {
        /// When a new signature will be above the mark.
        retry_after: Duration,
    },
    /// This credential has had as many nonces accepted within a window as its share allows.
    ShareUsedUp {
        /// When the first of them are no longer counted.
        retry_after: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_nonce_is_one_that_is_accepted() {
        for bytes in [[0; 16], [255; 16]] {
            let nonce = Nonce::from_random(bytes);
            assert_eq!(nonce.as_str().len(), 22);
            assert_eq!(nonce.as_str().parse(), Ok(nonce));
            assert_eq!(format!("{nonce} {nonce:?}"), format!("{0} Nonce({0})", nonce.as_str()));
        }
    }

    #[test]
    fn length_and_characters_are_bounded() {
        for length in 0..100 {
            let accepted = "a".repeat(length).parse::<Nonce>().is_ok();
            assert_eq!(accepted, (16..=64).contains(&length), "{length}");
        }
        for refused in
            ["aaaaaaaaaaaaaaa\"", "aaaaaaaaaaaaaaa\n", "aaaaaaaaaaaaaaa ", "aaaaaaaaaaaaaaaaé"]
        {
            assert_eq!(refused.parse::<Nonce>(), Err(NotANonce), "{refused}");
        }
    }
}
