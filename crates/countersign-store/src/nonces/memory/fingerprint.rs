/// The keyed hash under which a guard remembers a used nonce. The key is secret, so a caller can neither choose where its
/// nonces are kept nor find two uses with the same fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// Returns the index of its shard, below `shards`.
    pub(super) fn shard(self, shards: usize) -> usize {
        scale(self.0 as u64, shards)
    }

    /// Returns the upper 64 bits. The lower 64 bits select the shard.
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

/// Maps a hash to a number below `of`, spread as evenly as the upper bits of the hash.
pub(super) fn scale(hash: u64, of: usize) -> usize {
    ((u128::from(hash).saturating_mul(of as u128)) >> 64) as usize
}
