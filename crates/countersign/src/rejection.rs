use std::{fmt, str::FromStr, time::Duration};

use http::StatusCode;

use crate::{
    BadBase, BadDigest, BadSignature, BadTarget, DigestMismatch, Misdirected, Timestamp,
    component::BadComponent,
};

/// The stable name of a refusal, in `code` and in `type` (`urn:countersign:problem:CODE`) of its problem details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it; docs/protocol.md explains each")]
#[non_exhaustive]
pub enum Code {
    SignatureRequired,
    SignatureMalformed,
    SignaturePolicy,
    SignatureStale,
    SignatureReplayed,
    SignatureInvalid,
    DigestMismatch,
    DigestUnsupported,
    KeyRequired,
    KeyUnknown,
    KeyRevoked,
    KeyExpired,
    KeyQuarantined,
    KeyForbidden,
    TokenRequired,
    TokenInvalid,
    TokenForbidden,
    AmbiguousCredential,
    Misdirected,
    BadTarget,
    BadRequest,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    UriTooLong,
    HeaderTooLarge,
    RateLimited,
    ReplayStoreUnavailable,
    RegistryUnavailable,
    TokenKeysUnavailable,
    Misconfigured,
}

impl Code {
    const ALL: [Self; 31] = [
        Self::SignatureRequired,
        Self::SignatureMalformed,
        Self::SignaturePolicy,
        Self::SignatureStale,
        Self::SignatureReplayed,
        Self::SignatureInvalid,
        Self::DigestMismatch,
        Self::DigestUnsupported,
        Self::KeyRequired,
        Self::KeyUnknown,
        Self::KeyRevoked,
        Self::KeyExpired,
        Self::KeyQuarantined,
        Self::KeyForbidden,
        Self::TokenRequired,
        Self::TokenInvalid,
        Self::TokenForbidden,
        Self::AmbiguousCredential,
        Self::Misdirected,
        Self::BadTarget,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ContentTooLarge,
        Self::UriTooLong,
        Self::HeaderTooLarge,
        Self::RateLimited,
        Self::ReplayStoreUnavailable,
        Self::RegistryUnavailable,
        Self::TokenKeysUnavailable,
        Self::Misconfigured,
    ];

    /// The name, such as `signature-replayed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignatureRequired => "signature-required",
            Self::SignatureMalformed => "signature-malformed",
            Self::SignaturePolicy => "signature-policy",
            Self::SignatureStale => "signature-stale",
            Self::SignatureReplayed => "signature-replayed",
            Self::SignatureInvalid => "signature-invalid",
            Self::DigestMismatch => "digest-mismatch",
            Self::DigestUnsupported => "digest-unsupported",
            Self::KeyRequired => "key-required",
            Self::KeyUnknown => "key-unknown",
            Self::KeyRevoked => "key-revoked",
            Self::KeyExpired => "key-expired",
            Self::KeyQuarantined => "key-quarantined",
            Self::KeyForbidden => "key-forbidden",
            Self::TokenRequired => "token-required",
            Self::TokenInvalid => "token-invalid",
            Self::TokenForbidden => "token-forbidden",
            Self::AmbiguousCredential => "ambiguous-credential",
            Self::Misdirected => "misdirected",
            Self::BadTarget => "bad-target",
            Self::BadRequest => "bad-request",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::RequestTimeout => "request-timeout",
            Self::ContentTooLarge => "content-too-large",
            Self::UriTooLong => "uri-too-long",
            Self::HeaderTooLarge => "header-too-large",
            Self::RateLimited => "rate-limited",
            Self::ReplayStoreUnavailable => "replay-store-unavailable",
            Self::RegistryUnavailable => "registry-unavailable",
            Self::TokenKeysUnavailable => "token-keys-unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::SignatureRequired
            | Self::SignaturePolicy
            | Self::SignatureStale
            | Self::SignatureReplayed
            | Self::SignatureInvalid
            | Self::KeyRequired
            | Self::KeyUnknown
            | Self::KeyRevoked
            | Self::KeyExpired
            | Self::KeyQuarantined
            | Self::TokenRequired
            | Self::TokenInvalid => StatusCode::UNAUTHORIZED,
            Self::SignatureMalformed
            | Self::DigestMismatch
            | Self::DigestUnsupported
            | Self::AmbiguousCredential
            | Self::BadTarget
            | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::KeyForbidden | Self::TokenForbidden => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::ReplayStoreUnavailable
            | Self::RegistryUnavailable
            | Self::TokenKeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Code {
    /// What it means, in a few words that are the same for every request.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SignatureRequired => "A signature is required",
            Self::SignatureMalformed => "The signature fields are malformed",
            Self::SignaturePolicy => "The signature does not cover what it has to",
            Self::SignatureStale => "The signature is outside its time",
            Self::SignatureReplayed => "The signature was used before",
            Self::SignatureInvalid => "The signature does not hold",
            Self::DigestMismatch => "The content is not what was signed",
            Self::DigestUnsupported => "The digest algorithm is not supported",
            Self::KeyRequired => "A publishable key is required",
            Self::KeyUnknown => "The publishable key is unknown",
            Self::KeyRevoked => "The key was revoked",
            Self::KeyExpired => "The key has expired",
            Self::KeyQuarantined => "The key is quarantined",
            Self::KeyForbidden => "The key may not do this",
            Self::TokenRequired => "An access token is required",
            Self::TokenInvalid => "The access token is not accepted",
            Self::TokenForbidden => "The access token does not allow this",
            Self::AmbiguousCredential => "The request carries two credentials",
            Self::Misdirected => "The request is for another server",
            Self::BadTarget => "The target is refused",
            Self::BadRequest => "The request is malformed",
            Self::MethodNotAllowed => "The method is not allowed",
            Self::RequestTimeout => "The content did not arrive in time",
            Self::ContentTooLarge => "The content is too large",
            Self::UriTooLong => "The target is too long",
            Self::HeaderTooLarge => "The signature fields are too large",
            Self::RateLimited => "Too many requests",
            Self::ReplayStoreUnavailable
            | Self::RegistryUnavailable
            | Self::TokenKeysUnavailable => "The service cannot verify requests now",
            Self::Misconfigured => "The service is misconfigured",
        }
    }

    /// What the caller can do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::SignatureRequired => {
                "sign the request as Accept-Signature says, with a private key"
            }
            Self::SignatureMalformed => "compare the signature fields with RFC 9421 section 4",
            Self::SignaturePolicy => {
                "cover what Accept-Signature lists, and send created, nonce, keyid and tag"
            }
            Self::SignatureStale => {
                "sign again: after Retry-After if there is one, or else with the clock set by the Date of this answer"
            }
            Self::SignatureReplayed => "sign every attempt anew, with a nonce of its own",
            Self::SignatureInvalid => {
                "check that the key is registered here, and that nothing changes the request on its way"
            }
            Self::DigestMismatch => "send the very bytes that Content-Digest was made of",
            Self::DigestUnsupported => "send Content-Digest with sha-256 or sha-512",
            Self::KeyRequired => "send the publishable key in X-Api-Key",
            Self::KeyUnknown => "check the publishable key, and that it is registered here",
            Self::KeyRevoked | Self::KeyExpired => "use another key",
            Self::KeyQuarantined | Self::KeyForbidden => "ask the operator of this service",
            Self::TokenRequired => {
                "send an access token as Authorization: Bearer, and cover that field"
            }
            Self::TokenInvalid => "get a new access token for this service, and sign again",
            Self::TokenForbidden => "get an access token with the scope that is missing",
            Self::AmbiguousCredential => "send one credential",
            Self::Misdirected => "send the request to the host that it names",
            Self::BadTarget => {
                "send a path without dot segments, empty segments and encoded slashes, and no bare ?"
            }
            Self::BadRequest => "send a well-formed request with one Host",
            Self::MethodNotAllowed => "use one of the methods in Allow",
            Self::RequestTimeout => "send the content faster",
            Self::ContentTooLarge => "send less content",
            Self::UriTooLong => "send a shorter target",
            Self::HeaderTooLarge => "send smaller signature fields",
            Self::RateLimited
            | Self::ReplayStoreUnavailable
            | Self::RegistryUnavailable
            | Self::TokenKeysUnavailable => "try again, signed anew, after the time in Retry-After",
            Self::Misconfigured => "ask the operator of this service to read its log",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is the code of no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown refusal code")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

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
            Self::Misdirected(Misdirected::NotOurs) => Code::Misdirected,
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
    #[error("they are longer than what they could have to say")]
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
    #[error("a signature parameter is unknown")]
    UnknownParameter,
    #[error("the signature parameter {0} has the wrong type")]
    ParameterType(&'static str),
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
    #[error("the signature base cannot be made")]
    Base(#[from] BadBase),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_they_are_read() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
        assert_eq!("Signature-Replayed".parse::<Code>(), Err(UnknownCode));
    }
}
