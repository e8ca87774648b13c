use std::time::Duration;

use crate::{
    Algorithm, BadBase, BadDigest, BadSignature, BadTarget, Code, DigestMismatch, Misdirected,
    Timestamp, component::BadComponent,
};

/// Why a request was refused. Its message is for the caller too: it tells the form of what they sent, and nothing about
/// a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Rejection {
    #[error("the request names no origin that is served here")]
    Misdirected(#[from] Misdirected),
    #[error("the request's target is refused")]
    Target(#[from] BadTarget),
    #[error("the request carries no signature with this service's tag")]
    Required,
    #[error("the signature fields are malformed")]
    Malformed(#[from] Malformed),
    #[error("the signature does not meet this service's policy")]
    Policy(#[from] Unmet),
    #[error("the signature is outside its time")]
    Stale(#[from] Stale),
    #[error("the digest of the content cannot be checked")]
    Digest(#[from] BadDigest),
    #[error("the signature does not match the request, or its key is not known here")]
    Invalid,
    #[error("this signature was used before")]
    Replayed,
    #[error("this credential has signed more requests than it may within their lifetime")]
    ShareUsedUp { retry_after: Duration },
    #[error("the content is not what was signed")]
    DigestMismatch,
}

impl Rejection {
    /// The code it is answered with.
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

    /// What the caller can do about it: the hint of its code, or a closer one. RFC 9421 allows some of what a policy
    /// refuses, and then the RFC alone is no help.
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

/// What is wrong with the form of the signature fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Malformed {
    #[error("a signature field is not a structured-field dictionary in printable ASCII")]
    NotADictionary,
    #[error("a signature label or digest algorithm occurs twice")]
    DuplicateKey,
    #[error("they are longer than 8 KiB together")]
    TooLong,
    #[error("there are more than 8 signature labels")]
    TooManyMembers,
    #[error("Signature-Input and Signature do not have the same labels")]
    UnpairedLabel,
    #[error("a member of Signature-Input is not an inner list")]
    NotAnInnerList,
    #[error("a member of Signature is not a byte sequence")]
    NotAByteSequence,
    #[error("a covered component is none that RFC 9421 allows")]
    Component(#[from] BadComponent),
    #[error("more than 32 components are covered")]
    TooManyComponents,
    #[error("a component is covered twice")]
    DuplicateComponent,
    #[error("a signature parameter occurs twice")]
    DuplicateParameter,
    #[error("there are more than 32 signature parameters")]
    TooManyParameters,
    #[error("the signature parameter {0} is none of created, expires, nonce, alg, keyid and tag")]
    UnknownParameter(Box<str>),
    #[error("the signature parameter {0} has the wrong type")]
    ParameterType(&'static str),
    #[error("the signature parameter alg is no algorithm of RFC 9421 section 3.3{}", meant(*.0))]
    Algorithm(Option<Algorithm>),
    #[error("the signature parameter nonce is not 16 to 64 characters of base64 or base64url")]
    Nonce,
    #[error("the signature parameter keyid is not 8 to 96 characters of A-Z a-z 0-9 _ -")]
    KeyId,
    #[error("the signature parameter expires is not later than created")]
    ExpiresBeforeCreated,
    #[error("the signature fields are not in canonical form (RFC 9651 section 4.1)")]
    NotCanonical,
    #[error("more than one signature has this service's tag")]
    SeveralSignatures,
    #[error("no signature has the label that was asked for, or there are several and none was")]
    NoSuchLabel,
    #[error("a covered component is bound to another message or to trailers")]
    OutsideTheHead,
    #[error("a covered component has the parameter sf or bs, which no service here asks for")]
    Reformed,
    #[error(
        "a covered component is a member (key) of a field other than Signature and Signature-Input, which this service does not read"
    )]
    Member,
    #[error("the signature base cannot be made")]
    Base(#[from] BadBase),
}

impl Malformed {
    const fn hint(&self) -> &'static str {
        match self {
            Self::KeyId => {
                "name the key as this service does: by its publishable key (pk_…) or its JWK thumbprint; RFC 9421 leaves the form of a keyid \
                 to the service"
            }
            Self::UnknownParameter(_) => {
                "leave the parameter out; this service takes none beyond those of RFC 9421 section 2.3"
            }
            Self::Nonce => {
                "send a nonce of 16 to 64 characters of base64 or base64url, as 16 random bytes give; RFC 9421 leaves its form to the service"
            }
            Self::Algorithm(_) => {
                "name the algorithm as RFC 9421 does: ed25519 or hmac-sha256; or leave alg out, since the key decides"
            }
            Self::Reformed | Self::Member => {
                "cover the field as it is, without sf, bs and key; RFC 9421 allows them and this service does not read them"
            }
            Self::OutsideTheHead => {
                "cover header fields of the request itself, without req and tr; RFC 9421 allows them and this service does not read them"
            }
            Self::TooManyComponents | Self::TooManyParameters | Self::TooManyMembers => {
                "sign less: RFC 9421 sets no such limit, and this service does"
            }
            Self::SeveralSignatures => {
                "sign once under this service's tag; signatures for others have tags of their own"
            }
            Self::NotCanonical => {
                "write the signature fields as RFC 9651 section 4.1 serialises them: one space between components, none around ; and ="
            }
            Self::ExpiresBeforeCreated => "send expires later than created, or leave it out",
            Self::Base(BadBase::Repeated(_)) => "send the field on one line, or do not cover it",
            Self::Base(BadBase::Repetitive(_)) => {
                "cover the target once: @path and @query, and @target-uri where it is asked for"
            }
            Self::TooLong => Code::HeaderTooLarge.hint(),
            _ => Code::SignatureMalformed.hint(),
        }
    }
}

/// What a foreign name of an algorithm stands for.
fn meant(algorithm: Option<Algorithm>) -> String {
    algorithm.map_or_else(String::new, |algorithm| {
        format!("; it is the name that JOSE has for {algorithm}")
    })
}

/// What the policy asks for and the signature does not have.
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
