use std::hash::Hasher as _;

use countersign::NonceUse;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::set::scale;
use crate::StoreError;

/// What is remembered of a nonce that was used: a hash with a key that nobody outside knows, so that nobody can choose
/// where it is kept, nor two uses that look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// Which of so many shards it belongs to.
    pub(super) fn shard(self, shards: usize) -> usize {
        scale(self.0 as u64, shards)
    }

    /// The half that does not say which shard.
    pub(super) fn hash(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub(super) fn bits(self) -> u128 {
        self.0
    }
}

impl From<u128> for Fingerprint {
    fn from(bits: u128) -> Self {
        Self(bits)
    }
}

/// The key of fingerprints.
#[derive(Clone)]
pub(super) struct FingerprintKey(SipHasher24);

impl FingerprintKey {
    pub(super) fn random() -> Result<Self, StoreError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)
            .map_err(|error| StoreError::because("the system has no randomness", error))?;
        Ok(Self::from_bytes(&key))
    }

    pub(super) fn from_bytes(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    pub(super) fn to_bytes(&self) -> [u8; 16] {
        self.0.key()
    }

    #[inline]
    pub(super) fn fingerprint(&self, used: &NonceUse) -> Fingerprint {
        let mut hasher = self.0;
        // Fixed lengths first, then the one that varies: two different uses never write the same bytes.
        hasher.write(&used.credential().to_le_bytes());
        hasher.write(&used.created().unix().to_le_bytes());
        hasher.write(used.nonce().as_str().as_bytes());
        Fingerprint(hasher.finish128().as_u128())
    }
}
