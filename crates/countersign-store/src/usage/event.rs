use std::{fmt, str::FromStr};

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
///
/// A server raises an event for a request that it refuses. None of these requests counts as [verified](EventCount::verified),
/// since a stranger can bring about each of them:
///
/// - with garbage under a known key: [`BadSignature`](Self::BadSignature);
/// - with the publishable key, which anyone may have: [`PublishableWrite`](Self::PublishableWrite),
///   [`UsedAfterRevocation`](Self::UsedAfterRevocation), [`UsedAfterExpiry`](Self::UsedAfterExpiry),
///   [`RestrictionViolated`](Self::RestrictionViolated);
/// - with a captured request, whose signature is valid: [`Replayed`](Self::Replayed), and also the last three of the above. A
///   verifier checks state and restrictions before it claims the nonce, so that a captured request never uses up memory or budget.
///   So it cannot tell a repeated request from a fresh one there.
///
/// Only [`FirstNetwork`](Self::FirstNetwork), [`FirstPlatform`](Self::FirstPlatform) and [`ManyNetworks`](Self::ManyNetworks) can be
/// verified. They are found in places and clients whose access is `Signed`: a server counts only accepted requests there, whose
/// signature was valid and whose nonce was fresh. Only the holder of the private key can make one.
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

impl EventKind {
    const ALL: [Self; 9] = [
        Self::Replayed,
        Self::BadSignature,
        Self::UsedAfterRevocation,
        Self::UsedAfterExpiry,
        Self::PublishableWrite,
        Self::FirstNetwork,
        Self::FirstPlatform,
        Self::ManyNetworks,
        Self::RestrictionViolated,
    ];

    /// Returns the name, as in `first-network`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::BadSignature => "bad-signature",
            Self::UsedAfterRevocation => "used-after-revocation",
            Self::UsedAfterExpiry => "used-after-expiry",
            Self::PublishableWrite => "publishable-write",
            Self::FirstNetwork => "first-network",
            Self::FirstPlatform => "first-platform",
            Self::ManyNetworks => "many-networks",
            Self::RestrictionViolated => "restriction-violated",
        }
    }

    /// Returns the kinds.
    pub const fn all() -> &'static [Self] {
        &Self::ALL
    }
}

/// A text names no kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such kind of event")]
pub struct UnknownEventKind;

impl FromStr for EventKind {
    type Err = UnknownEventKind;

    fn from_str(text: &str) -> Result<Self, UnknownEventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEventKind)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
