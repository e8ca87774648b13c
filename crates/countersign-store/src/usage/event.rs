use countersign::Timestamp;

use crate::credential::CredentialId;

/// What happened to a credential, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// Whose key it is.
    pub credential: CredentialId,
    /// What happened.
    pub kind: EventKind,
    /// What exactly, such as a network, a platform or the violated restriction. Of at most 100 bytes, and never a secret.
    pub detail: Option<Box<str>>,
}

/// What an event says of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A signed request was sent again. Whoever captured a request can do so.
    Replayed,
    /// A signature did not hold under this key. Whoever knows the publishable key can do so.
    BadSignature,
    /// A valid signature of a revoked key, or its publishable key.
    UsedAfterRevocation,
    /// A valid signature of an expired key, or its publishable key.
    UsedAfterExpiry,
    /// A publishable key alone, where a signature is required.
    PublishableWrite,
    /// Signed requests from a network that the credential had not used.
    FirstNetwork,
    /// Signed requests from a platform that the credential had not used.
    FirstPlatform,
    /// Signed requests from many networks in one hour.
    ManyNetworks,
    /// A restriction of the credential did not hold.
    RestrictionViolated,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// How many times.
    pub count: u64,
    /// How many of them had a valid signature with a nonce that was fresh: only these count towards a quarantine.
    pub verified: u64,
}
