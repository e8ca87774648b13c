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

/// A number below `of`, as evenly spread as the upper bits of the hash are.
pub(super) fn scale(hash: u64, of: usize) -> usize {
    ((u128::from(hash).saturating_mul(of as u128)) >> 64) as usize
}
