use std::{fmt, str::FromStr};

use ed25519_dalek::{
    hazmat::{ExpandedSecretKey, raw_sign},
    pkcs8::KeypairBytes,
};
use hmac::Mac;
use pkcs8::{EncodePrivateKey as _, LineEnding};
use sha2::Sha512;
use zeroize::Zeroizing;

#[cfg(feature = "key-files")]
use super::guessable;
use super::{
    encoding::{self, Format},
    error::KeyError,
    hmac::HmacKey,
    publishable::PublishableKey,
    verifying::VerifyingKey,
};
use crate::algorithm::Algorithm;

/// The signing half of a credential: an Ed25519 seed, or an HMAC-SHA256 secret. Wiped on drop, and never printed.
///
/// Its text form `sk_…` comes from [`PrivateKey::expose_text`] and is read by `parse`. Key files of other forms are
/// read by [`KeyFile`](crate::KeyFile).
///
/// ```
/// use countersign::PrivateKey;
///
/// let key = PrivateKey::ed25519(&[7; 32]); // 32 random bytes
/// assert_eq!(format!("{key:?}"), "PrivateKey { .. }");
///
/// let text = key.expose_text(); // wiped on drop as well
/// let again: PrivateKey = text.parse()?;
/// assert_eq!(again.publishable_key(), key.publishable_key());
/// # Ok::<(), countersign::KeyError>(())
/// ```
pub struct PrivateKey(Secret);

enum Secret {
    Ed25519(Box<Expanded>),
    HmacSha256(HmacKey),
}

/// A key with what the library would derive from its seed for each signature anew. All of it comes from the seed alone.
struct Expanded {
    key: ed25519_dalek::SigningKey,
    secret: ExpandedSecretKey,
}

impl PrivateKey {
    /// The Ed25519 private key of a 32-byte seed (RFC 8032 §5.1.5). Take the seed from a good random source.
    ///
    /// The public key is always derived from the seed: a signer that takes both can be made to reveal the seed.
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Self(Secret::Ed25519(Box::new(Expanded { key, secret: ExpandedSecretKey::from(seed) })))
    }

    /// An HMAC-SHA256 secret of 32 to 64 random bytes with a random identifier, its publishable half.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`].
    pub fn hmac_sha256(id: [u8; 16], secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(Secret::HmacSha256(HmacKey::new(id, secret)?)))
    }

    /// The algorithm of this key.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Secret::Ed25519(_) => Algorithm::Ed25519,
            Secret::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// The publishable half.
    pub fn publishable_key(&self) -> PublishableKey {
        self.verifying_key().publishable_key()
    }

    /// The key with which a server checks its signatures. For HMAC it is the same secret.
    pub fn verifying_key(&self) -> VerifyingKey {
        match &self.0 {
            Secret::Ed25519(expanded) => VerifyingKey::from(&expanded.key),
            Secret::HmacSha256(key) => VerifyingKey::from(key.clone()),
        }
    }

    /// Refuses a guessable HMAC secret.
    #[cfg(feature = "key-files")]
    pub(super) fn require_unguessable(&self) -> Result<(), KeyError> {
        match &self.0 {
            Secret::Ed25519(_) => Ok(()),
            Secret::HmacSha256(key) => guessable::require_unguessable(&key.secret),
        }
    }

    /// Signs a signature base: 64 bytes for Ed25519, 32 for HMAC-SHA256.
    pub fn sign(&self, base: &[u8]) -> Vec<u8> {
        match &self.0 {
            Secret::Ed25519(expanded) => {
                let Expanded { key, secret } = &**expanded;
                raw_sign::<Sha512>(secret, base, key.as_ref()).to_bytes().to_vec()
            }
            Secret::HmacSha256(key) => key.after(base).finalize().into_bytes().to_vec(),
        }
    }

    /// The PKCS#8 PEM form of an Ed25519 key (RFC 8410 §7), as `openssl genpkey` writes it. Every reader can sign.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for an HMAC secret: it has no PEM form.
    pub fn expose_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let Secret::Ed25519(expanded) = &self.0 else {
            return Err(KeyError::WrongKind {
                found: "an HMAC secret, which PKCS#8 does not have",
                wanted: "an Ed25519 key",
            });
        };
        // Without the public half: openssl writes no public half here, and its older versions refuse it.
        let pair = KeypairBytes { secret_key: expanded.key.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Damaged("it cannot be encoded"))
    }

    /// The text form `sk_…`. Anyone who reads it can sign.
    pub fn expose_text(&self) -> Zeroizing<String> {
        match &self.0 {
            Secret::Ed25519(expanded) => {
                encoding::encode(encoding::PRIVATE, Format::Ed25519, &[expanded.key.as_bytes()])
            }
            Secret::HmacSha256(key) => {
                encoding::encode(encoding::PRIVATE, Format::HmacSha256, &[&key.id, &key.secret])
            }
        }
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    /// Reads the text form `sk_…`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if encoding::after_prefix(encoding::PUBLISHABLE, text).is_some() {
            return Err(KeyError::WrongKind {
                found: "a publishable key (pk_…)",
                wanted: "a private key",
            });
        }
        let (format, bytes) = encoding::decode(encoding::PRIVATE, text)?;
        match format {
            Format::Ed25519 => {
                let seed = bytes.as_slice().try_into();
                let seed = seed.map_err(|_| KeyError::Damaged("an Ed25519 seed has 32 bytes"))?;
                Ok(Self::ed25519(seed))
            }
            Format::HmacSha256 => {
                let (id, secret) =
                    bytes.split_first_chunk().ok_or(KeyError::Damaged("it is cut short"))?;
                Self::hmac_sha256(*id, secret)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [PrivateKey; 2] {
        [PrivateKey::ed25519(&[5; 32]), PrivateKey::hmac_sha256([6; 16], &[7; 32]).unwrap()]
    }

    #[test]
    fn text_is_read_back_and_signs_alike() {
        for key in keys() {
            let text = key.expose_text();
            assert!(text.starts_with("sk_"));
            let read: PrivateKey = text.parse().unwrap();
            assert_eq!(read.sign(b"base"), key.sign(b"base"));
            assert_eq!(read.publishable_key(), key.publishable_key());
        }
    }

    #[test]
    fn what_it_signs_its_verifying_key_accepts_and_no_other() {
        let [ed25519, hmac] = keys();
        for (key, other) in [(&ed25519, &hmac), (&hmac, &ed25519)] {
            let signature = key.sign(b"base");
            assert!(key.verifying_key().verify(b"base", &signature).is_ok());
            assert!(key.verifying_key().verify(b"Base", &signature).is_err());
            assert!(other.verifying_key().verify(b"base", &signature).is_err());
        }
    }

    #[test]
    fn a_publishable_key_is_named_as_such() {
        let text = keys()[0].publishable_key().to_string();
        assert!(matches!(text.parse::<PrivateKey>(), Err(KeyError::WrongKind { .. })));
        let secret = keys()[0].expose_text();
        assert!(matches!(secret.parse::<PublishableKey>(), Err(KeyError::WrongKind { .. })));
    }

    #[test]
    fn nothing_secret_is_printed() {
        for key in keys() {
            assert_eq!(format!("{key:?}"), "PrivateKey { .. }");
            let verifying = format!("{:?}", key.verifying_key());
            assert_eq!(verifying, format!("VerifyingKey({})", key.publishable_key()));
        }
    }
}
