use std::sync::Arc;

use countersign::PublishableKey;

use super::Credential;

/// The two credentials of a rotation, as they are after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// The credential that took over.
    pub new: Arc<Credential>,
    /// The credential that was replaced: retiring or, without an overlap, revoked.
    pub old: Arc<Credential>,
    /// Whether the rotation was made now, or before.
    pub made: Made,
}

/// When a rotation was made that can be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// By this call.
    Now,
    /// By an earlier call. This one changed nothing.
    Before,
}

/// Why a key cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReplaced {
    /// The old key is revoked.
    #[error("the key is revoked, so that no other can take over from it")]
    Revoked,
    /// The old key has expired.
    #[error("the key has expired, so that no other can take over from it")]
    Expired,
    /// The old key is in quarantine, which the new key would not be.
    #[error("the key is in quarantine, so that no other can take over from it")]
    Quarantined,
    /// Another key has taken over already.
    #[error("the key {0} has taken over already")]
    Replaced(PublishableKey),
    /// The new key is the old one.
    #[error("the new key is the same as the old one")]
    SameKey,
}

impl Rotation {
    /// Makes a rotation, for a key store of your own.
    pub const fn new(new: Arc<Credential>, old: Arc<Credential>, made: Made) -> Self {
        Self { new, old, made }
    }
}
