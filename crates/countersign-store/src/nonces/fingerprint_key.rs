use std::hash::Hasher as _;

use countersign::NonceUse;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::error::StoreError;

/// The secret key with which a replay guard hashes used nonces. Without it, a caller cannot find two uses with the same
/// fingerprint.
#[derive(Clone)]
pub(crate) struct FingerprintKey(SipHasher24);

impl FingerprintKey {
    pub(crate) fn random() -> Result<Self, StoreError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)
            .map_err(|error| StoreError::because("the system has no randomness", error))?;
        Ok(Self::from_bytes(&key))
    }

    pub(crate) fn from_bytes(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    pub(crate) fn to_bytes(&self) -> [u8; 16] {
        self.0.key()
    }

    /// Hashes a use of a nonce. The hash may never change, or servers of two versions that share a guard would each accept a
    /// request once.
    #[inline]
    pub(crate) fn fingerprint(&self, used: &NonceUse) -> u128 {
        let mut hasher = self.0;
        // Fields of fixed length first, then the nonce, whose length varies: two different uses never hash the same bytes.
        hasher.write(&used.credential().to_le_bytes());
        hasher.write(&used.created().unix().to_le_bytes());
        hasher.write(used.nonce().as_bytes());
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use countersign::{Nonce, Timestamp};

    use super::*;

    /// A use of a nonce, and four others that differ from it in one part each.
    pub(in super::super) fn uses() -> (NonceUse, [NonceUse; 4]) {
        let used = |credential, created, nonce: &str| {
            NonceUse::new(credential, Timestamp::from_unix(created), nonce.parse().unwrap())
        };
        let others = [
            used(2, 1_763_900_000, Nonce::from_random([7; 16]).as_str()),
            used(1, 1_763_900_001, Nonce::from_random([7; 16]).as_str()),
            used(1, 1_763_900_000, "BwcHBwcHBwcHBwcHBwcHB="),
            used(1, 1_763_900_000, "BwcHBwcHBwcHBwcHBwcHBwA"),
        ];
        (used(1, 1_763_900_000, Nonce::from_random([7; 16]).as_str()), others)
    }

    #[test]
    fn fingerprints_are_the_same_in_every_version_and_differ_with_every_part() {
        let (first, others) = uses();
        let key = FingerprintKey::from_bytes(&[9; 16]);
        assert_eq!(FingerprintKey::from_bytes(&key.to_bytes()).fingerprint(&first), KNOWN);
        assert_eq!(key.fingerprint(&first), KNOWN);
        let other_key = FingerprintKey::from_bytes(&[8; 16]);
        assert_ne!(other_key.fingerprint(&first), KNOWN);
        for other in others {
            assert_ne!(key.fingerprint(&other), KNOWN, "{other:?}");
        }
    }

    /// SipHash-2-4 with 128 bits: of the two numbers as 8 bytes each, little-endian, and of the nonce.
    const KNOWN: u128 = 0x0d9c_93bd_a811_42b0_9603_a093_58f7_f124;
}
