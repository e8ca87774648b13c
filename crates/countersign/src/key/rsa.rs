use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs8::{
    ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef,
    spki::{AlgorithmIdentifierRef, der::asn1::AnyRef},
};
use rsa::{
    BoxedUint, Pkcs1v15Sign, Pss, PublicKey,
    pkcs1::{RsaPrivateKeyRef, RsaPssParamsOwned, RsaPublicKeyRef},
    traits::PublicKeyParts,
};
use sha2::{Digest, Sha256, Sha512};
use ssh_key::private::RsaKeypair;

use super::{bad_signature::BadSignature, error::KeyError, jwk::Jwk};
use crate::algorithm::Algorithm;

pub(super) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const RSASSA_PSS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The salt of `rsa-pss-sha512`, in bytes (RFC 9421 §3.3.1).
const SALT: usize = 64;
const NO_PUBLIC_KEY: KeyError = KeyError::Damaged("it is no RSA public key");
const NO_PRIVATE_KEY: KeyError = KeyError::Damaged("it is no RSA private key");

/// An RSA public key, for tools: credentials have other keys.
///
/// An RSA key can be for two algorithms. The holder of the key decides between them, with
/// [`with_algorithm`](Self::with_algorithm); or else the key's file; or else the message, which can choose one of these
/// two only.
///
/// There is no private half: the library's operations with it are not constant-time (RUSTSEC-2023-0071).
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    key: PublicKey,
    algorithm: Option<Algorithm>,
}

impl RsaPublicKey {
    /// A public key from its modulus and exponent, both big-endian.
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`] if the modulus is even, below 2048 bits or above 8192, or the exponent is even, below 3 or not
    /// below 2³³: a small key can be factored, and a large key costs the verifier too much.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (number(modulus, 1024, TOO_LONG)?, number(exponent, 5, BAD_EXPONENT)?);
        let key = PublicKey::new_with_size_limits(n, e, 2048..=8192).map_err(|error| {
            KeyError::Weak(match error {
                rsa::Error::ModulusTooSmall => "its modulus is shorter than 2048 bits",
                rsa::Error::ModulusTooLarge => TOO_LONG,
                rsa::Error::InvalidModulus => "its modulus is even",
                _ => BAD_EXPONENT,
            })
        })?;
        // The library takes 2 as its least exponent; 1 would make every signature its own message.
        if *key.e() < BoxedUint::from(3u8) {
            return Err(KeyError::Weak(BAD_EXPONENT));
        }
        Ok(Self { key, algorithm: None })
    }

    /// The key for this algorithm alone, whatever the message says.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for an algorithm that is not RSA, or if the key's file has the other one.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, KeyError> {
        let found = match (self.algorithm, algorithm) {
            (None, Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256) => {
                self.algorithm = Some(algorithm);
                return Ok(self);
            }
            (Some(own), _) if own == algorithm => return Ok(self),
            (Some(Algorithm::RsaPssSha512), _) => "an RSA public key for rsa-pss-sha512",
            (Some(_), _) => "an RSA public key for rsa-v1_5-sha256",
            (None, _) => "an RSA public key",
        };
        Err(KeyError::WrongKind { found, wanted: "a key of another algorithm" })
    }

    /// The algorithm of this key, if it was said.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Checks a signature over `base` by the key's algorithm. With an unknown algorithm no signature is valid.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let held = match self.algorithm {
            Some(Algorithm::RsaPssSha512) => self.key.verify(
                Pss::<Sha512>::new_with_salt(SALT),
                &Sha512::digest(base),
                signature,
            ),
            Some(Algorithm::RsaV15Sha256) => {
                self.key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(base), signature)
            }
            _ => return Err(BadSignature),
        };
        held.map_err(|_| BadSignature)
    }

    /// The RFC 7638 JWK thumbprint (SHA-256).
    pub fn thumbprint(&self) -> [u8; 32] {
        let [e, n] = [self.key.e(), self.key.n().as_ref()].map(|number| {
            let bytes = number.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            URL_SAFE_NO_PAD.encode(bytes.get(zeros..).unwrap_or_default())
        });
        Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)).into()
    }

    /// RFC 8017 §A.1.1.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKeyRef::try_from(der).map_err(|_| NO_PUBLIC_KEY)?;
        Self::new(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    /// The public half of a private key (RFC 8017 §A.1.2).
    pub(super) fn from_pkcs1_private(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPrivateKeyRef::try_from(der).map_err(|_| NO_PRIVATE_KEY)?;
        Self::new(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    /// RFC 3279 §2.3.1, RFC 4055 §1.2.
    pub(super) fn from_spki(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        let der = info.subject_public_key.as_bytes().ok_or(NO_PUBLIC_KEY)?;
        Self::from_pkcs1(der)?.restricted(&info.algorithm)
    }

    /// The public half of a private key in PKCS#8.
    pub(super) fn from_pkcs8(info: &PrivateKeyInfoRef<'_>) -> Result<Self, KeyError> {
        Self::from_pkcs1_private(info.private_key.as_bytes())?.restricted(&info.algorithm)
    }

    /// An RSA-PSS key has a single use (RFC 4055 §1.2); its parameters bind the hash, and the least length of the salt
    /// (§3.1).
    fn restricted(self, id: &AlgorithmIdentifierRef<'_>) -> Result<Self, KeyError> {
        if id.oid == RSA_ENCRYPTION {
            return match id.parameters {
                None => Ok(self),
                Some(parameters) if parameters == AnyRef::NULL => Ok(self),
                Some(_) => Err(NO_PUBLIC_KEY),
            };
        }
        if let Some(parameters) = id.parameters {
            let parameters = parameters.decode_as::<RsaPssParamsOwned>();
            let parameters = parameters.map_err(|_| NO_PUBLIC_KEY)?;
            let mask = parameters.mask_gen;
            let hash = mask.parameters.map(|hash| hash.oid);
            let ours = parameters.hash.oid == SHA512
                && (mask.oid, hash) == (MGF1, Some(SHA512))
                && usize::from(parameters.salt_len) <= SALT;
            if !ours {
                return Err(KeyError::WrongKind {
                    found: "an RSA-PSS key for other parameters",
                    wanted: "a key for rsa-pss-sha512",
                });
            }
        }
        self.with_algorithm(Algorithm::RsaPssSha512)
    }

    /// RFC 7518 §6.3; of a private key the public half.
    pub(super) fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let algorithm = match jwk.alg.as_deref() {
            None => None,
            Some("PS512") => Some(Algorithm::RsaPssSha512),
            Some("RS256") => Some(Algorithm::RsaV15Sha256),
            Some(_) => return Err(KeyError::Damaged("its alg is neither PS512 nor RS256")),
        };
        let (Some(n), Some(e)) = (&jwk.n, &jwk.e) else {
            return Err(KeyError::Damaged("its members n and e are not both there"));
        };
        let decode = |digits: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(digits);
            bytes.map_err(|_| KeyError::Damaged("one of its members is not base64url"))
        };
        let key = Self::new(&decode(n)?, &decode(e)?)?;
        algorithm.map_or(Ok(key.clone()), |algorithm| key.with_algorithm(algorithm))
    }

    /// The base64 part of a line as in `authorized_keys` (RFC 4253 §6.6), as its strings.
    pub(super) fn from_openssh(strings: &[&[u8]]) -> Result<Self, KeyError> {
        match strings {
            [b"ssh-rsa", exponent, modulus] => Self::new(modulus, exponent),
            _ => Err(KeyError::Damaged("it is no OpenSSH public key")),
        }
    }

    /// The public half of the key in openssh's `PROTOCOL.key`.
    pub(super) fn from_openssh_private(pair: &RsaKeypair) -> Result<Self, KeyError> {
        Self::new(pair.public().n().as_bytes(), pair.public().e().as_bytes())
    }
}

const TOO_LONG: &str = "its modulus is longer than 8192 bits";
const BAD_EXPONENT: &str = "its exponent is even, below 3 or not below 2^33";

/// A number of at most this many bytes, without the zeros in front.
fn number(bytes: &[u8], longest: usize, too_large: &'static str) -> Result<BoxedUint, KeyError> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    let too_large = KeyError::Weak(too_large);
    if bytes.len() > longest {
        return Err(too_large);
    }
    let bits = u32::try_from(bytes.len().saturating_mul(8)).map_err(|_| too_large.clone())?;
    BoxedUint::from_be_slice(bytes, bits).map_err(|_| too_large)
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thumbprint = URL_SAFE_NO_PAD.encode(self.thumbprint());
        f.debug_tuple("RsaPublicKey").field(&thumbprint).field(&self.algorithm).finish()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test that cannot go on fails")]

    use super::*;

    /// A number of this many bits, odd: what is not factored is not seen to be no product of two primes.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut bytes = vec![0x5a; bits.div_ceil(8)];
        bytes[0] = 0xff >> (bytes.len() * 8 - bits);
        *bytes.last_mut().unwrap() |= 1;
        bytes
    }

    #[test]
    fn weak_keys_are_refused() {
        let new = |bits, exponent: &[u8]| RsaPublicKey::new(&modulus(bits), exponent);
        for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
            assert!(new(bits, &[1, 0, 1]).is_ok(), "{bits}");
        }
        for bits in [8, 512, 1024, 2040, 2047, 8193, 16384, 100_000] {
            let refused = new(bits, &[1, 0, 1]);
            assert!(matches!(refused, Err(KeyError::Weak(_))), "{bits}: {refused:?}");
        }
        let mut even = modulus(2048);
        *even.last_mut().unwrap() &= !1;
        assert_eq!(
            RsaPublicKey::new(&even, &[3]).unwrap_err(),
            KeyError::Weak("its modulus is even")
        );
        assert!(matches!(RsaPublicKey::new(&[], &[3]), Err(KeyError::Weak(_))));
        for good in [&[3][..], &[0, 0, 3], &[17], &[1, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
            assert!(new(2048, good).is_ok(), "{good:?}");
        }
        let bad: [&[u8]; 9] = [
            &[],
            &[0],
            &[1],
            &[2],
            &[4],
            &[1, 0, 0],
            &[2, 0, 0, 0, 1],
            &[2, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 1],
        ];
        for bad in bad {
            assert_eq!(new(2048, bad).unwrap_err(), KeyError::Weak(BAD_EXPONENT), "{bad:?}");
        }
    }

    #[test]
    fn an_algorithm_is_said_once_and_is_of_rsa() {
        let key = RsaPublicKey::new(&modulus(2048), &[3]).unwrap();
        assert_eq!(key.algorithm(), None);
        let (pss, v15) = (Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256);
        for (algorithm, other) in [(pss, v15), (v15, pss)] {
            let said = key.clone().with_algorithm(algorithm).unwrap();
            assert_eq!(said.algorithm(), Some(algorithm));
            assert!(said.clone().with_algorithm(algorithm).is_ok());
            assert!(said.with_algorithm(other).is_err());
        }
        let others = ["ed25519", "hmac-sha256", "ecdsa-p256-sha256", "ecdsa-p384-sha384"];
        for other in others {
            assert!(key.clone().with_algorithm(other.parse().unwrap()).is_err(), "{other}");
        }
        assert_eq!(key.verify(b"base", &[0; 256]), Err(BadSignature));
    }

    #[test]
    fn signatures_of_another_length_are_refused() {
        for algorithm in [Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256] {
            let key = RsaPublicKey::new(&modulus(2048), &[3]).unwrap();
            let key = key.with_algorithm(algorithm).unwrap();
            for length in 0..600 {
                assert_eq!(key.verify(b"base", &vec![1; length]), Err(BadSignature), "{length}");
            }
        }
    }
}
