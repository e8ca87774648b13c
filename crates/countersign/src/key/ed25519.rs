use std::ops::Neg as _;

use curve25519_dalek::{EdwardsPoint, Scalar, traits::VartimeMultiscalarMul as _};
use ed25519_dalek::{Signature, Verifier as _};
use sha2::{Digest as _, Sha512};

use super::{bad_signature::BadSignature, error::KeyError, multiples::Multiples};

/// An Ed25519 public key: canonical, of the prime-order group, and not neutral.
#[derive(Clone)]
pub(super) struct Ed25519Key {
    point: ed25519_dalek::VerifyingKey,
    /// Of the point's opposite, if the key is prepared.
    multiples: Option<Multiples>,
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

/// Whether the y coordinate is below 2^255 - 19, as RFC 8032 §5.1.3 demands. The other encoding that is not canonical, of -0 as x, is
/// that of a point of small order.
fn has_canonical_y(encoding: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = encoding;
    *first < 0xed || last & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// Whether the point is of the prime-order group: times the order it is neutral, or times one less than the order its own
/// opposite. The library's own check takes half as long again, since it is made for secret points.
fn is_torsion_free(point: &EdwardsPoint) -> bool {
    let one_less_than_order = Scalar::ONE.neg();
    EdwardsPoint::vartime_multiscalar_mul([one_less_than_order], [point]) == point.neg()
}

impl Ed25519Key {
    /// The key of these 32 bytes (RFC 8032 §5.1.2).
    pub(super) fn new(public_key: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public_key)
            .map_err(|_| KeyError::Weak("it is no point of the curve"))?;
        if !has_canonical_y(public_key) {
            return Err(KeyError::Weak("its encoding is not canonical"));
        }
        let point = key.to_edwards();
        if point.is_small_order() {
            return Err(KeyError::Weak("it has small order"));
        }
        if !is_torsion_free(&point) {
            return Err(KeyError::Weak("it has a part of small order"));
        }
        Ok(Self { point: key, multiples: None })
    }

    /// The same key with its multiples.
    pub(super) fn prepared(&self) -> Self {
        Self { point: self.point, multiples: Some(Multiples::of_opposite(self.point.to_edwards())) }
    }

    pub(super) const fn is_prepared(&self) -> bool {
        self.multiples.is_some()
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        self.point.as_bytes()
    }

    /// Verifies a signature over a message, with the verdict of `verify_strict`. Takes variable time: message, signature and key
    /// are public.
    ///
    /// `verify_strict` accepts if s is below the order of the base point, if neither R nor the key A has small order, and if
    /// `[s]B - [k]A`, written canonically, is R byte for byte, where k is the hash of R, A and the message, reduced by the
    /// order. Here each of these is decided likewise:
    ///
    /// - A has not small order since it was made.
    /// - An accepted R equals a canonical encoding, so it is a point, and of small order if it is one of eight encodings.
    /// - The same s are refused, and k is computed from the same bytes.
    /// - The library, without multiples, computes the sum that `verify_strict` does. With multiples the same point comes out,
    ///   whatever A is ([`Multiples::add_to_base`]), and the library writes it.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        let signature = Signature::from_bytes(signature);
        if SMALL_ORDER.contains(signature.r_bytes()) {
            return Err(BadSignature);
        }
        match &self.multiples {
            Some(multiples) => self.verify_by(multiples, message, &signature),
            None => self.point.verify(message, &signature).map_err(|_| BadSignature),
        }
    }

    fn verify_by(
        &self,
        multiples: &Multiples,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let s = Scalar::from_canonical_bytes(*signature.s_bytes()).into_option();
        let s = s.ok_or(BadSignature)?;
        let k = Sha512::new()
            .chain_update(signature.r_bytes())
            .chain_update(self.as_bytes())
            .chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&k.finalize().into());
        let r = multiples.add_to_base(&s, &k).ok_or(BadSignature)?;
        match r.compress().as_bytes() == signature.r_bytes() {
            true => Ok(()),
            false => Err(BadSignature),
        }
    }
}

impl From<&ed25519_dalek::SigningKey> for Ed25519Key {
    /// The public key of a seed is always a point of the prime-order group: a multiple of the base point.
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self { point: key.verifying_key(), multiples: None }
    }
}

impl PartialEq for Ed25519Key {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::*;

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
    fn an_encoding_is_canonical_if_the_library_writes_it_back() {
        let near_the_prime = (0xe0..=0xff).flat_map(|first| [0x7f, 0xff].map(|last| (first, last)));
        let at_the_prime = near_the_prime.map(|(first, last)| encoding(first, 0xff, last));
        let below = (0..=0xff).map(|byte| encoding(0xff, byte, 0x7f));
        let mut points = 0;
        for bytes in at_the_prime.chain(below) {
            let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&bytes) else { continue };
            let point = key.to_edwards();
            points += 1;
            let is_canonical = point.compress().to_bytes() == bytes;
            assert_eq!(
                has_canonical_y(&bytes) || point.is_small_order(),
                is_canonical || point.is_small_order()
            );
            assert_eq!(Ed25519Key::new(&bytes).is_ok(), is_canonical && point.is_torsion_free());
        }
        assert!(points > 100, "{points}");
    }

    #[test]
    fn a_point_is_free_of_torsion_if_the_library_says_so() {
        for number in 0..20_u64 {
            let free = EdwardsPoint::mul_base(&(Scalar::from(number) - Scalar::from(7_u64)));
            for (at, torsion) in EIGHT_TORSION.into_iter().enumerate() {
                let point = free + torsion;
                assert_eq!(is_torsion_free(&point), at == 0);
                assert_eq!(is_torsion_free(&point), point.is_torsion_free());
            }
        }
    }
}
