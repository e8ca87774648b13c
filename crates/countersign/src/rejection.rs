use std::time::Duration;

use crate::{
    code::Code,
    digest::{BadDigest, DigestMismatch},
    key::BadSignature,
    malformed::Malformed,
    origin::Misdirected,
    target::BadTarget,
    timestamp::Timestamp,
};

/// Why a request was refused. The message may go to the caller: it is about the form of the request, and never about a
/// key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Rejection {
    #[error("the request does not name an origin of this server")]
    Misdirected(#[from] Misdirected),
    #[error("the request's target is refused")]
    Target(#[from] BadTarget),
    #[error("the request has no signature with this service's tag")]
    Required,
    #[error("the signature fields are malformed")]
    Malformed(#[from] Malformed),
    #[error("the signature does not meet this service's policy")]
    Policy(#[from] Unmet),
    #[error("the signature is outside its time window")]
    Stale(#[from] Stale),
    #[error("the digest of the content cannot be checked")]
    Digest(#[from] BadDigest),
    #[error("the signature does not match the request, or its key is not known here")]
    Invalid,
    #[error("this signature was used before")]
    Replayed,
    #[error("this credential has signed more requests than it may within their lifetime")]
    ShareUsedUp { retry_after: Duration },
    #[error("the content is not the signed content")]
    DigestMismatch,
}

impl Rejection {
    /// The code of the refusal.
    pub const fn code(&self) -> Code {
        match self {
            Self::Misdirected(Misdirected::NotOurs | Misdirected::OtherScheme) => Code::Misdirected,
            Self::Misdirected(_) => Code::BadRequest,
            Self::Target(BadTarget::TooLong) => Code::UriTooLong,
            Self::Target(_) => Code::BadTarget,
            Self::Required => Code::SignatureRequired,
            Self::Malformed(Malformed::TooLong) => Code::HeaderTooLarge,
            Self::Malformed(_) => Code::SignatureMalformed,
            Self::Policy(_) => Code::SignaturePolicy,
            Self::Stale(_) => Code::SignatureStale,
            Self::Digest(BadDigest::Malformed) => Code::SignatureMalformed,
            Self::Digest(BadDigest::Unsupported) => Code::DigestUnsupported,
            Self::Invalid => Code::SignatureInvalid,
            Self::Replayed => Code::SignatureReplayed,
            Self::ShareUsedUp { .. } => Code::RateLimited,
            Self::DigestMismatch => Code::DigestMismatch,
        }
    }

    /// The remedy for the caller: the hint of the code, or a closer one. RFC 9421 allows several things that a policy
    /// refuses, and then the RFC alone does not help.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.hint(),
            Self::Digest(BadDigest::Malformed) => {
                "send Content-Digest as RFC 9530 has it, like sha-256=:BASE64:, with the digest in base64 between colons; hex and the \
                 older form of the Digest field are not read"
            }
            Self::Policy(Unmet::ContentDigest) => {
                "send Content-Digest (RFC 9530), like sha-256=:BASE64:, and cover it; the older Digest field does not count"
            }
            _ => self.code().hint(),
        }
    }

    /// When trying again, signed anew, can help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stale(Stale::BelowMark { retry_after }) | Self::ShareUsedUp { retry_after } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}

impl From<BadSignature> for Rejection {
    fn from(_: BadSignature) -> Self {
        Self::Invalid
    }
}

impl From<DigestMismatch> for Rejection {
    fn from(_: DigestMismatch) -> Self {
        Self::DigestMismatch
    }
}

/// The requirement of the policy that the signature does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Unmet {
    #[error("{0} has to be covered")]
    Component(&'static str),
    #[error("the field {0} is present, so it has to be covered")]
    PresentField(String),
    #[error("there is content, so Content-Digest has to be present and covered")]
    ContentDigest,
    #[error("the signature parameter {0} is missing")]
    Parameter(&'static str),
}

/// Why a signature is outside its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Stale {
    #[error("it was created {} s before the time here, which is {now}; {} s are allowed", age.as_secs(), allowed.as_secs())]
    TooOld { age: Duration, allowed: Duration, now: Timestamp },
    #[error("it was created {} s after the time here, which is {now}; {} s are allowed", ahead.as_secs(), allowed.as_secs())]
    FromTheFuture { ahead: Duration, allowed: Duration, now: Timestamp },
    #[error("it expired before the time here, which is {now}")]
    Expired { now: Timestamp },
    #[error("it was created before the time from which this server can tell repeated requests; sign again in {} s", retry_after.as_secs())]
    BelowMark { retry_after: Duration },
}
