use std::fmt;

use ed25519_dalek::Verifier as _;
use hmac::Mac;
use subtle::ConstantTimeEq;

use super::{error::KeyError, guessable, hmac::HmacKey, known, publishable::PublishableKey};
use crate::algorithm::Algorithm;

/// The key with which a server checks signatures, prepared for use: an Ed25519 public key, or an HMAC-SHA256 secret.
///
/// The algorithm belongs to the key; the bytes of each kind have a type of their own, so that a public key never serves
/// as a secret.
#[derive(Clone)]
pub struct VerifyingKey(Material);

#[derive(Clone)]
enum Material {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    HmacSha256(HmacKey),
}

/// The canonical encodings of the points of small order (RFC 8032 §5.1.2).
const SMALL_ORDER: [[u8; 32]; 8] = [
    encoding(0x01, 0x00, 0x00),
    encoding(0xec, 0xff, 0x7f),
    encoding(0x00, 0x00, 0x00),
    encoding(0x00, 0x00, 0x80),
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0xfa,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x85,
    ],
];

/// An encoding with equal bytes between the first and the last.
const fn encoding(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [head, .., tail] = &mut bytes;
    (*head, *tail) = (first, last);
    bytes
}

/// The signature is invalid. On purpose it tells no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is invalid")]
pub struct BadSignature;

impl VerifyingKey {
    /// An Ed25519 public key, from its 32 bytes (RFC 8032 §5.1.2).
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`] unless it is the canonical encoding of a point of the prime-order group: under other keys a
    /// signature can be valid for many messages.
    pub fn ed25519(public_key: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public_key)
            .map_err(|_| KeyError::Weak("it is no point of the curve"))?;
        let point = key.to_edwards();
        if point.compress().as_bytes() != public_key {
            return Err(KeyError::Weak("its encoding is not canonical"));
        }
        if point.is_small_order() {
            return Err(KeyError::Weak("it has small order"));
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Weak("it has a part of small order"));
        }
        Ok(Self(Material::Ed25519(Box::new(key))))
    }

    /// An HMAC-SHA256 secret of 32 to 64 bytes, and the identifier under which callers name it.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`].
    pub fn hmac_sha256(id: [u8; 16], secret: &[u8]) -> Result<Self, KeyError> {
        HmacKey::new(id, secret).map(Self::from)
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
            Material::Ed25519(key) => PublishableKey::ed25519(key.to_bytes()),
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
                let signature = signature.try_into().map_err(|_| BadSignature)?;
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                // `verify_strict` also checks that the key has not small order, which is known since the key was made;
                // and that R has not, for which it decompresses R. An accepted R is canonical, since it is compared as
                // bytes with the computed one; so these eight encodings are all that exist.
                if SMALL_ORDER.contains(signature.r_bytes()) {
                    return Err(BadSignature);
                }
                key.verify(base, &signature).map_err(|_| BadSignature)
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

impl From<&ed25519_dalek::SigningKey> for VerifyingKey {
    /// The public key of a seed is always a point of the prime-order group: a multiple of the base point.
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(Material::Ed25519(Box::new(key.verifying_key())))
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
    fn the_points_of_small_order_are_these_eight() {
        let mut distinct = SMALL_ORDER.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 8);
        for encoding in SMALL_ORDER {
            let point = ed25519_dalek::VerifyingKey::from_bytes(&encoding).unwrap().to_edwards();
            assert!(point.is_small_order());
            assert_eq!(point.compress().to_bytes(), encoding, "canonical");
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
    fn signatures_of_another_length_are_refused() {
        let keys = [
            VerifyingKey::hmac_sha256([1; 16], &[7; 32]).unwrap(),
            crate::PrivateKey::ed25519(&[5; 32]).verifying_key(),
        ];
        for key in keys {
            for length in 0..=128 {
                assert_eq!(key.verify(b"base", &vec![0; length]), Err(BadSignature), "{length}");
            }
        }
    }
}
