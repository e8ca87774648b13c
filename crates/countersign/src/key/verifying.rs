use std::{fmt, sync::Arc};

use hmac::Mac;
use subtle::ConstantTimeEq;

use super::{
    bad_signature::BadSignature, ed25519::Ed25519Key, error::KeyError, guessable, hmac::HmacKey,
    known, multiples::Multiples, publishable::PublishableKey,
};
use crate::algorithm::Algorithm;

/// The key with which a server checks signatures, prepared for use: an Ed25519 public key, or an HMAC-SHA256 secret.
///
/// The algorithm belongs to the key; the bytes of each kind have a type of their own, so that a public key never serves
/// as a secret.
///
/// ```
/// use countersign::PrivateKey;
///
/// let private = PrivateKey::ed25519(&[7; 32]);
/// let verifying = private.verifying_key();
/// let signature = private.sign(b"a signature base");
/// assert!(verifying.verify(b"a signature base", &signature).is_ok());
/// assert!(verifying.verify(b"another", &signature).is_err());
/// ```
#[derive(Clone)]
pub struct VerifyingKey(Material);

#[derive(Clone)]
enum Material {
    Ed25519(Arc<Ed25519Key>),
    HmacSha256(HmacKey),
}

impl VerifyingKey {
    /// The memory that a prepared Ed25519 key takes more than others, in bytes.
    pub const PREPARED_BYTES: usize = Multiples::BYTES;

    /// An Ed25519 public key, from its 32 bytes (RFC 8032 §5.1.2).
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`] unless it is the canonical encoding of a point of the prime-order group: under other keys a
    /// signature can be valid for many messages.
    pub fn ed25519(public_key: &[u8; 32]) -> Result<Self, KeyError> {
        Ed25519Key::new(public_key).map(Self::from)
    }

    /// An HMAC-SHA256 secret of 32 to 64 bytes, and the identifier under which callers name it.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`].
    pub fn hmac_sha256(id: [u8; 16], secret: &[u8]) -> Result<Self, KeyError> {
        HmacKey::new(id, secret).map(Self::from)
    }

    /// The same key, prepared for many verifications. A prepared Ed25519 key verifies in two thirds of the time, with the same
    /// verdicts, and takes [`PREPARED_BYTES`](Self::PREPARED_BYTES) of memory, which its clones share. Preparing takes the time of
    /// two verifications, so it pays from the sixth on.
    ///
    /// The first prepared key of a process also makes 320 KiB that all of them share. An HMAC key is always prepared.
    pub fn prepared(&self) -> Self {
        match &self.0 {
            Material::Ed25519(key) if !key.is_prepared() => key.prepared().into(),
            Material::Ed25519(_) | Material::HmacSha256(_) => self.clone(),
        }
    }

    /// Whether preparing this key would change nothing.
    pub fn is_prepared(&self) -> bool {
        match &self.0 {
            Material::Ed25519(key) => key.is_prepared(),
            Material::HmacSha256(_) => true,
        }
    }

    /// The algorithm of this key.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// The publishable half of the credential.
    pub fn publishable_key(&self) -> PublishableKey {
        match &self.0 {
            Material::Ed25519(key) => PublishableKey::ed25519(*key.as_bytes()),
            Material::HmacSha256(key) => PublishableKey::hmac_sha256(key.id),
        }
    }

    /// As [`PublishableKey::thumbprint`].
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        self.publishable_key().thumbprint()
    }

    /// The HMAC secret, for a store that has to keep it; `None` for an Ed25519 key.
    pub fn hmac_secret(&self) -> Option<&[u8]> {
        match &self.0 {
            Material::Ed25519(_) => None,
            Material::HmacSha256(key) => Some(&key.secret),
        }
    }

    /// Checks that the private half may be secret. Registries ask this of every key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Published`] for the test keys of RFC 9421 and other standards, [`KeyError::Guessable`] for an HMAC
    /// secret that shows less than 112 bits of randomness.
    pub fn require_secret(&self) -> Result<(), KeyError> {
        let published = match &self.0 {
            Material::HmacSha256(key) => known::of_secret(&key.secret),
            Material::Ed25519(_) => known::of_public_key(self.publishable_key().as_bytes()),
        };
        match (published, &self.0) {
            (Some(place), _) => Err(KeyError::Published(place)),
            (None, Material::HmacSha256(key)) => guessable::require_unguessable(&key.secret),
            (None, Material::Ed25519(_)) => Ok(()),
        }
    }

    /// Checks a signature over `base`.
    ///
    /// Ed25519 gives the same results as `verify_strict`, for whole 64 bytes; HMAC takes constant time, for whole 32
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.0 {
            Material::Ed25519(key) => {
                key.verify(base, signature.try_into().map_err(|_| BadSignature)?)
            }
            Material::HmacSha256(key) => {
                key.after(base).verify_slice(signature).map_err(|_| BadSignature)
            }
        }
    }
}

impl From<HmacKey> for VerifyingKey {
    fn from(key: HmacKey) -> Self {
        Self(Material::HmacSha256(key))
    }
}

impl From<Ed25519Key> for VerifyingKey {
    fn from(key: Ed25519Key) -> Self {
        Self(Material::Ed25519(Arc::new(key)))
    }
}

impl From<&ed25519_dalek::SigningKey> for VerifyingKey {
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Ed25519Key::from(key).into()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.publishable_key()).finish()
    }
}

impl PartialEq for VerifyingKey {
    /// Two keys are the same if they accept the same signatures. Secrets are compared in constant time.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Material::Ed25519(one), Material::Ed25519(other)) => one == other,
            (Material::HmacSha256(one), Material::HmacSha256(other)) => {
                one.id == other.id && bool::from(one.secret.ct_eq(&other.secret))
            }
            _ => false,
        }
    }
}

impl Eq for VerifyingKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_public_keys_are_refused() {
        // The eight points of small order, and encodings of them that are not canonical.
        let small_order = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for hex in small_order {
            let mut bytes = [0; 32];
            for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            }
            let refused = VerifyingKey::ed25519(&bytes);
            assert!(matches!(refused, Err(KeyError::Weak(_))), "{hex}: {refused:?}");
        }
    }

    #[test]
    fn a_public_key_with_a_part_of_small_order_is_refused() {
        let good = ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key().to_edwards();
        assert!(VerifyingKey::ed25519(&good.compress().to_bytes()).is_ok());
        let torsion = ed25519_dalek::VerifyingKey::from_bytes(&[0; 32]).unwrap().to_edwards();
        assert!(torsion.is_small_order());
        let mixed = (good + torsion).compress().to_bytes();
        assert_eq!(
            VerifyingKey::ed25519(&mixed).unwrap_err(),
            KeyError::Weak("it has a part of small order")
        );
    }

    #[test]
    fn hmac_secrets_are_32_to_64_bytes() {
        for length in 0..100 {
            let key = VerifyingKey::hmac_sha256([1; 16], &vec![7; length]);
            match length {
                32..=64 => assert!(key.is_ok()),
                _ => assert_eq!(key.unwrap_err(), KeyError::SecretLength(length)),
            }
        }
    }

    #[test]
    fn keys_are_the_same_if_algorithm_name_and_secret_are() {
        let hmac = |id, secret: &[u8]| VerifyingKey::hmac_sha256([id; 16], secret).unwrap();
        let ed25519 = |seed| crate::PrivateKey::ed25519(&[seed; 32]).verifying_key();
        let keys = [
            hmac(1, &[7; 32]),
            hmac(1, &[8; 32]),
            hmac(1, &[7; 33]),
            hmac(2, &[7; 32]),
            ed25519(1),
            ed25519(2),
        ];
        for (at, one) in keys.iter().enumerate() {
            for (other_at, other) in keys.iter().enumerate() {
                assert_eq!(*one == other.clone(), at == other_at, "{at} {other_at}");
            }
        }
    }

    #[test]
    fn a_prepared_key_is_the_same_key() {
        let ed25519 = crate::PrivateKey::ed25519(&[5; 32]).verifying_key();
        let hmac = VerifyingKey::hmac_sha256([1; 16], &[7; 32]).unwrap();
        for (key, was_prepared) in [(ed25519, false), (hmac, true)] {
            let prepared = key.prepared();
            assert_eq!((key.is_prepared(), prepared.is_prepared()), (was_prepared, true));
            assert_eq!(prepared, key);
            assert_eq!(prepared.prepared(), key);
            assert_eq!(format!("{prepared:?}"), format!("{key:?}"));
        }
    }

    #[test]
    fn signatures_of_another_length_are_refused() {
        let ed25519 = crate::PrivateKey::ed25519(&[5; 32]).verifying_key();
        let hmac = VerifyingKey::hmac_sha256([1; 16], &[7; 32]).unwrap();
        let keys = [hmac, ed25519.prepared(), ed25519];
        for key in keys {
            for length in 0..=128 {
                assert_eq!(key.verify(b"base", &vec![0; length]), Err(BadSignature), "{length}");
            }
        }
    }
}
