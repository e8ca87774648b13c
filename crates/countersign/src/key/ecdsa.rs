use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use sha2::{Digest, Sha256};
use ssh_key::private::EcdsaKeypair;

use super::{
    bad_signature::BadSignature,
    error::KeyError,
    jwk::{Jwk, bytes},
};
use crate::algorithm::Algorithm;

pub(super) const ID_EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const WANTED: &str = "a key on P-256 or P-384";
const OTHER_CURVE: KeyError =
    KeyError::WrongKind { found: "an elliptic-curve key on another curve", wanted: WANTED };
const NO_PRIVATE_KEY: KeyError = KeyError::Damaged("it is no private key on P-256 or P-384");

/// An ECDSA public key, for tools: credentials have other keys. The curve decides the algorithm.
#[derive(Clone, PartialEq, Eq)]
pub struct EcdsaPublicKey(Point);

#[derive(Clone, PartialEq, Eq)]
enum Point {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl EcdsaPublicKey {
    /// A public key on P-256, from its point (SEC 1 §2.3.3, compressed or not).
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`] unless it is a point of the curve other than the identity.
    pub fn p256(point: &[u8]) -> Result<Self, KeyError> {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(known_form(point)?);
        key.map(|key| Self(Point::P256(key))).map_err(|_| NO_POINT)
    }

    /// A public key on P-384, likewise.
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`].
    pub fn p384(point: &[u8]) -> Result<Self, KeyError> {
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(known_form(point)?);
        key.map(|key| Self(Point::P384(key))).map_err(|_| NO_POINT)
    }

    /// The algorithm of this key.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Point::P256(_) => Algorithm::EcdsaP256Sha256,
            Point::P384(_) => Algorithm::EcdsaP384Sha384,
        }
    }

    /// Checks a signature over `base`: r and s, each as long as the order of the curve (RFC 9421 §3.3.4).
    ///
    /// ECDSA is malleable: (r, n − s) holds where (r, s) does, and RFC 9421 asks for neither of the two.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let held = match &self.0 {
            Point::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify(base, &signature)),
            Point::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify(base, &signature)),
        };
        held.map_err(|_| BadSignature)
    }

    /// The RFC 7638 JWK thumbprint (SHA-256).
    pub fn thumbprint(&self) -> [u8; 32] {
        let (crv, point) = match &self.0 {
            Point::P256(key) => ("P-256", key.to_sec1_point(false).as_bytes().to_vec()),
            Point::P384(key) => ("P-384", key.to_sec1_point(false).as_bytes().to_vec()),
        };
        // An uncompressed point is a byte of 4, x, and y.
        let coordinates = point.get(1..).unwrap_or_default();
        let (x, y) = coordinates.split_at(coordinates.len().div_euclid(2));
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Sha256::digest(format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)).into()
    }

    /// RFC 5480 §2.
    pub(super) fn from_spki(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        let damaged = KeyError::Damaged("it is no elliptic-curve public key");
        let curve = info.algorithm.parameters_oid().map_err(|_| damaged.clone())?;
        let point = info.subject_public_key.as_bytes().ok_or(damaged)?;
        match curve {
            SECP256R1 => Self::p256(point),
            SECP384R1 => Self::p384(point),
            _ => Err(OTHER_CURVE),
        }
    }

    /// The base64 part of a line as in `authorized_keys` (RFC 5656 §3.1), as its strings.
    pub(super) fn from_openssh(strings: &[&[u8]]) -> Result<Self, KeyError> {
        match strings {
            [b"ecdsa-sha2-nistp256", b"nistp256", point] => Self::p256(point),
            [b"ecdsa-sha2-nistp384", b"nistp384", point] => Self::p384(point),
            [b"ecdsa-sha2-nistp521", b"nistp521", _] => Err(OTHER_CURVE),
            _ => Err(KeyError::Damaged("it is no OpenSSH public key")),
        }
    }
}

const NO_POINT: KeyError = KeyError::Weak("it is no point of the curve");

/// Refuses a form that the library reads beside SEC 1: a half of a point.
fn known_form(point: &[u8]) -> Result<&[u8], KeyError> {
    match point.first() {
        Some(2..=4) => Ok(point),
        _ => Err(NO_POINT),
    }
}

impl fmt::Debug for EcdsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thumbprint = URL_SAFE_NO_PAD.encode(self.thumbprint());
        f.debug_tuple("EcdsaPublicKey").field(&thumbprint).finish()
    }
}

/// An ECDSA private key, for tools: credentials have other keys. Wiped on drop, and prints nothing.
pub struct EcdsaPrivateKey(Scalar);

enum Scalar {
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
}

impl EcdsaPrivateKey {
    /// The private key on P-256 with this scalar, big-endian.
    ///
    /// # Errors
    ///
    /// [`KeyError::Damaged`] unless it is above 0 and below the order of the curve.
    pub fn p256(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar);
        key.map(|key| Self(Scalar::P256(Box::new(key)))).map_err(|_| NO_PRIVATE_KEY)
    }

    /// The private key on P-384, likewise.
    ///
    /// # Errors
    ///
    /// [`KeyError::Damaged`].
    pub fn p384(scalar: &[u8; 48]) -> Result<Self, KeyError> {
        let key = p384::ecdsa::SigningKey::from_slice(scalar);
        key.map(|key| Self(Scalar::P384(Box::new(key)))).map_err(|_| NO_PRIVATE_KEY)
    }

    /// The algorithm of this key.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Scalar::P256(_) => Algorithm::EcdsaP256Sha256,
            Scalar::P384(_) => Algorithm::EcdsaP384Sha384,
        }
    }

    /// The key that verifies its signatures.
    pub fn public_key(&self) -> EcdsaPublicKey {
        EcdsaPublicKey(match &self.0 {
            Scalar::P256(key) => Point::P256(*key.verifying_key()),
            Scalar::P384(key) => Point::P384(*key.verifying_key()),
        })
    }

    /// Signs a signature base: r and s (RFC 9421 §3.3.4), 64 bytes for P-256, 96 for P-384.
    ///
    /// The number that must never repeat is derived from key and base (RFC 6979), so it needs no randomness.
    pub fn sign(&self, base: &[u8]) -> Vec<u8> {
        match &self.0 {
            Scalar::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(base);
                signature.to_bytes().to_vec()
            }
            Scalar::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(base);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// RFC 5915. The library refuses a public half of another key, and parameters of another curve.
    pub(super) fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        Self::p256_from_sec1(der).or_else(|_| Self::p384_from_sec1(der))
    }

    fn p256_from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let key = p256::SecretKey::from_sec1_der(der).map_err(|_| NO_PRIVATE_KEY)?;
        Ok(Self(Scalar::P256(Box::new(key.into()))))
    }

    fn p384_from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let key = p384::SecretKey::from_sec1_der(der).map_err(|_| NO_PRIVATE_KEY)?;
        Ok(Self(Scalar::P384(Box::new(key.into()))))
    }

    /// The key of RFC 5656 in openssh's `PROTOCOL.key`.
    pub(super) fn from_openssh(pair: &EcdsaKeypair) -> Result<Self, KeyError> {
        let (private, public) = match pair {
            EcdsaKeypair::NistP256 { public, private } => {
                (Self::p256(private.as_ref())?, EcdsaPublicKey::p256(public.as_bytes())?)
            }
            EcdsaKeypair::NistP384 { public, private } => {
                (Self::p384(private.as_ref())?, EcdsaPublicKey::p384(public.as_bytes())?)
            }
            EcdsaKeypair::NistP521 { .. } => return Err(OTHER_CURVE),
        };
        match private.public_key() == public {
            true => Ok(private),
            false => Err(KeyError::Mismatched),
        }
    }

    /// RFC 5915 within PKCS#8, where the curve is said outside.
    pub(super) fn from_pkcs8(info: &PrivateKeyInfoRef<'_>) -> Result<Self, KeyError> {
        let der = info.private_key.as_bytes();
        match info.algorithm.parameters_oid().map_err(|_| NO_PRIVATE_KEY)? {
            SECP256R1 => Self::p256_from_sec1(der),
            SECP384R1 => Self::p384_from_sec1(der),
            _ => Err(OTHER_CURVE),
        }
    }
}

impl fmt::Debug for EcdsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcdsaPrivateKey").finish_non_exhaustive()
    }
}

/// RFC 7518 §6.2: the public half, and the private one if present.
pub(super) fn from_jwk(jwk: &Jwk) -> Result<(EcdsaPublicKey, Option<EcdsaPrivateKey>), KeyError> {
    let (alg, public): (_, fn(&[u8]) -> _) = match jwk.crv.as_deref() {
        Some("P-256") => ("ES256", |point| EcdsaPublicKey::p256(point)),
        Some("P-384") => ("ES384", |point| EcdsaPublicKey::p384(point)),
        _ => return Err(OTHER_CURVE),
    };
    if jwk.alg.as_deref().is_some_and(|named| named != alg) {
        return Err(KeyError::Damaged("its alg is not that of its curve"));
    }
    let missing = KeyError::Damaged("its members x and y are not both there");
    let (Some(x), Some(y)) = (&jwk.x, &jwk.y) else { return Err(missing) };
    let public = match alg {
        "ES256" => public(&[&[4], bytes::<32>(x)?.as_slice(), bytes::<32>(y)?.as_slice()].concat()),
        _ => public(&[&[4], bytes::<48>(x)?.as_slice(), bytes::<48>(y)?.as_slice()].concat()),
    }?;
    let Some(d) = &jwk.d else { return Ok((public, None)) };
    let private = match alg {
        "ES256" => EcdsaPrivateKey::p256(&*bytes(d)?)?,
        _ => EcdsaPrivateKey::p384(&*bytes(d)?)?,
    };
    match private.public_key() == public {
        true => Ok((public, Some(private))),
        false => Err(KeyError::Mismatched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [EcdsaPrivateKey; 2] {
        [EcdsaPrivateKey::p256(&[7; 32]).unwrap(), EcdsaPrivateKey::p384(&[7; 48]).unwrap()]
    }

    #[test]
    fn what_it_signs_its_public_key_accepts_and_no_other() {
        let [p256, p384] = keys();
        for (key, other, length) in [(&p256, &p384, 64), (&p384, &p256, 96)] {
            let signature = key.sign(b"base");
            assert_eq!(signature.len(), length);
            assert_eq!(signature, key.sign(b"base"), "deterministic");
            assert_eq!(key.public_key().verify(b"base", &signature), Ok(()));
            assert_eq!(key.public_key().verify(b"Base", &signature), Err(BadSignature));
            assert_eq!(other.public_key().verify(b"base", &signature), Err(BadSignature));
        }
    }

    #[test]
    fn signatures_of_another_length_are_refused() {
        for key in keys() {
            let mut signature = key.sign(b"base");
            let whole = signature.len();
            signature.extend([0; 64]);
            for length in 0..signature.len() {
                let held = key.public_key().verify(b"base", &signature[..length]);
                assert_eq!(held.is_ok(), length == whole, "{length}");
                assert_eq!(key.public_key().verify(b"base", &vec![0; length]), Err(BadSignature));
            }
        }
    }

    #[test]
    fn what_is_no_point_of_the_curve_is_no_key() {
        for key in keys() {
            let (read, point): (fn(&[u8]) -> _, _) = match key.public_key().0 {
                Point::P256(key) => (EcdsaPublicKey::p256, key.to_sec1_point(false).to_bytes()),
                Point::P384(key) => (EcdsaPublicKey::p384, key.to_sec1_point(false).to_bytes()),
            };
            assert_eq!(read(&point), Ok(key.public_key()));
            let half = point.len() / 2;
            let compressed = [&[2 + (point[2 * half] & 1)], &point[1..=half]].concat();
            assert_eq!(read(&compressed), Ok(key.public_key()));
            let mut off = point.to_vec();
            off[2 * half] ^= 1;
            let (mut hybrid, mut compact) = (point.to_vec(), compressed);
            (hybrid[0], compact[0]) = (6, 5);
            let beyond = [&[4], vec![0xff; 2 * half].as_slice()].concat();
            let zero = [&[4], vec![0; 2 * half].as_slice()].concat();
            let identity = vec![0];
            let cut = point[..2 * half].to_vec();
            for bytes in [off, hybrid, compact, beyond, zero, identity, cut, Vec::new()] {
                assert_eq!(read(&bytes), Err(NO_POINT), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_scalar_is_above_zero_and_below_the_order() {
        assert!(EcdsaPrivateKey::p256(&[0; 32]).is_err());
        assert!(EcdsaPrivateKey::p256(&[0xff; 32]).is_err());
        assert!(EcdsaPrivateKey::p384(&[0; 48]).is_err());
        assert!(EcdsaPrivateKey::p384(&[0xff; 48]).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        for key in keys() {
            assert_eq!(format!("{key:?}"), "EcdsaPrivateKey { .. }");
        }
    }
}
