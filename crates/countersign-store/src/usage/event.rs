use std::{fmt, str::FromStr};

use countersign::Timestamp;

use crate::credential::CredentialId;

/// An incident of a credential, which can repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// The credential of the key.
    pub credential: CredentialId,
    /// What happened.
    pub kind: EventKind,
    /// The network, the platform or the violated restriction. At most 100 bytes, and never a secret.
    pub detail: Option<Box<str>>,
}

/// The kind of an event.
///
/// A server raises an event for a request that it refuses. None of these requests counts as [verified](EventCount::verified),
/// since a stranger can cause each of them:
///
/// - with garbage under a known key: [`BadSignature`](Self::BadSignature);
/// - with the publishable key, which anyone may have: [`PublishableWrite`](Self::PublishableWrite),
///   [`UsedAfterRevocation`](Self::UsedAfterRevocation), [`UsedAfterExpiry`](Self::UsedAfterExpiry),
///   [`RestrictionViolated`](Self::RestrictionViolated);
/// - with a captured request, whose signature is valid: [`Replayed`](Self::Replayed), and also the last three of the above. A
///   verifier checks state and restrictions before it claims the nonce, so that a captured request never uses up memory or budget.
///   At that point it cannot tell a repeated request from a fresh one.
///
/// Only [`FirstNetwork`](Self::FirstNetwork), [`FirstPlatform`](Self::FirstPlatform) and [`ManyNetworks`](Self::ManyNetworks) can be
/// verified. The registry finds these in places and clients whose access is `Signed`: a server counts only accepted requests there,
/// with a valid signature and a fresh nonce. Only the holder of the private key can make such a request. An attacker between client
/// and server, as over plain HTTP, can hold a request back and deliver it from another network, once for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A signed request was sent again. Anyone with a captured request can do so.
    Replayed,
    /// A signature is invalid under this key. Anyone with the publishable key can cause this.
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
    /// A request violated a restriction of the credential.
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

/// The text is not the name of an event kind.
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

/// The incidents of one [`EventKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// The time of the first incident.
    pub first: Timestamp,
    /// The time of the last incident.
    pub last: Timestamp,
    /// The number of incidents.
    pub count: u64,
    /// The number of incidents with a valid signature and a fresh nonce: only these count towards a quarantine.
    pub verified: u64,
}
