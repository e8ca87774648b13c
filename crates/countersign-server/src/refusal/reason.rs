use std::{borrow::Cow, time::Duration};

use countersign::{
    BadDigest, BadPresented, Code, PublishableKey, Rejection, SignedTrailer, Unserved,
};
use countersign_store::{CredentialId, OverLimit, RestrictionKind, Scope};
use http::StatusCode;

use super::unaccepted::Unaccepted;
use super::unsignable::Unsignable;
#[cfg(feature = "oauth")]
use crate::oauth::bad_token::BadToken;
use crate::{content::memory::Full, ingress::proxies::BadForwarded};

/// What to add if no client address is known.
pub(crate) const NO_ADDRESS: &str = "a limit by client address or a list of proxies is set, and no address is known: serve with \
     `countersign_server::serve`; with another server add a layer around the verifier that puts the peer's address as a \
     `countersign_store::ClientAddress` into the request's extensions; in a test put one there by hand";

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected(Rejection),
    /// The proxies' fields cannot be used.
    Forwarded(BadForwarded),
    /// A method or a version that is not served.
    Unserved(Unserved),
    /// Target and fields together.
    #[cfg(feature = "serve")]
    HeadTooLarge {
        limit: usize,
    },
    #[cfg(feature = "serve")]
    TargetTooLong {
        limit: usize,
    },
    /// The request asks for another protocol on the same connection.
    #[cfg(feature = "serve")]
    Upgrade,
    SignatureRequired,
    KeyRequired,
    /// A publishable key that opens nothing here. The caller does not learn why.
    Unaccepted(Unaccepted),
    Presented(BadPresented),
    /// The private key of a registered credential was sent.
    RegisteredPrivateKey(SentKey),
    /// The private key of a revoked credential was sent. The caller has it, and may know.
    RevokedPrivateKey,
    /// What looks like a private key was sent, and no credential has it.
    UnknownPrivateKey,
    /// What looks like a private key was sent, damaged or in a form that cannot be looked up.
    ApparentPrivateKey,
    Revoked,
    Expired,
    Quarantined,
    /// A restriction of the known caller does not hold.
    Restricted(RestrictionKind),
    /// The known caller lacks a scope.
    MissingScope(Scope),
    ContentTooLarge {
        limit: u64,
    },
    ContentTimeout,
    /// The content of other requests takes all the memory, or the application's share is used up.
    Overloaded,
    ContentBroken,
    SignedTrailer,
    /// A handler responded with success before it had read the signed content to its end: a mistake of the service.
    ContentUnread,
    /// The response cannot be signed: a mistake of the service. The request may have been carried out.
    Unsignable(Unsignable),
    /// The known caller is over a limit.
    RateLimited(OverLimit),
    TooManyFailures(OverLimit),
    RegistryUnavailable,
    ReplayStoreUnavailable,
    /// A limit by client address or a list of proxies is set, and no address is known: a mistake of the service.
    NoClientAddress,
    /// The route is not behind the layer: a mistake of the service.
    NoLayer,
    /// The signature is valid, and the access token is refused.
    #[cfg(feature = "oauth")]
    Token(BadToken),
    /// The route is not behind the layer for access tokens: a mistake of the service.
    #[cfg(all(feature = "oauth", feature = "axum"))]
    NoTokenLayer,
}

/// A registered credential whose private key was sent in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentKey {
    pub(crate) key: PublishableKey,
    pub(crate) credential: CredentialId,
}

/// A reason, and the signature base that explains it.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// The rebuilt base of an invalid signature, if the operator wants it shown.
    pub(crate) signature_base: Option<Box<str>>,
}

impl<R: Into<Reason>> From<R> for Refused {
    fn from(reason: R) -> Self {
        Self { reason: reason.into(), signature_base: None }
    }
}

/// Whether a refusal is a failure of the caller, which is charged to the client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Caller,
    Nobody,
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Unserved> for Reason {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl From<BadPresented> for Reason {
    fn from(presented: BadPresented) -> Self {
        match presented {
            // Whether it is registered has to be looked up.
            BadPresented::PrivateKey(_) => Self::ApparentPrivateKey,
            presented => Self::Presented(presented),
        }
    }
}

impl From<Unsignable> for Reason {
    fn from(unsignable: Unsignable) -> Self {
        Self::Unsignable(unsignable)
    }
}

impl From<Full> for Reason {
    fn from(Full: Full) -> Self {
        Self::Overloaded
    }
}

impl From<BadForwarded> for Reason {
    fn from(forwarded: BadForwarded) -> Self {
        Self::Forwarded(forwarded)
    }
}

#[cfg(feature = "oauth")]
impl From<BadToken> for Reason {
    fn from(token: BadToken) -> Self {
        Self::Token(token)
    }
}

impl Reason {
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::Forwarded(forwarded) => forwarded.code(),
            Self::Unserved(unserved) => unserved.code(),
            Self::ContentBroken => Code::BadRequest,
            Self::SignedTrailer => SignedTrailer.code(),
            Self::SignatureRequired
            | Self::RegisteredPrivateKey(_)
            | Self::RevokedPrivateKey
            | Self::UnknownPrivateKey
            | Self::ApparentPrivateKey => Code::SignatureRequired,
            Self::Presented(presented) => presented.code(),
            Self::KeyRequired => Code::KeyRequired,
            Self::Unaccepted(_) => Code::KeyUnknown,
            Self::Revoked => Code::KeyRevoked,
            Self::Expired => Code::KeyExpired,
            Self::Quarantined => Code::KeyQuarantined,
            Self::Restricted(_) | Self::MissingScope(_) => Code::KeyForbidden,
            Self::ContentTooLarge { .. } => Code::ContentTooLarge,
            Self::ContentTimeout => Code::RequestTimeout,
            Self::Overloaded => Code::Overloaded,
            #[cfg(feature = "serve")]
            Self::HeadTooLarge { .. } => Code::HeaderTooLarge,
            #[cfg(feature = "serve")]
            Self::TargetTooLong { .. } => Code::UriTooLong,
            #[cfg(feature = "serve")]
            Self::Upgrade => Code::UpgradeUnsupported,
            Self::RateLimited(_) | Self::TooManyFailures(_) => Code::RateLimited,
            Self::RegistryUnavailable => Code::RegistryUnavailable,
            Self::ReplayStoreUnavailable => Code::ReplayStoreUnavailable,
            Self::NoClientAddress | Self::NoLayer | Self::ContentUnread | Self::Unsignable(_) => {
                Code::Misconfigured
            }
            #[cfg(feature = "oauth")]
            Self::Token(token) => token.code(),
            #[cfg(all(feature = "oauth", feature = "axum"))]
            Self::NoTokenLayer => Code::Misconfigured,
        }
    }

    /// The caller is to blame for forged, guessed and malformed requests, which a correct client never sends, and for valid signatures
    /// of dead keys and repeated ones. All reasons for which a publishable key opens nothing count alike: the limit would otherwise tell
    /// them apart.
    ///
    /// Nobody is to blame where an honest client learns how to do better (what to cover, what time it is), where the credential has the
    /// authority for other requests, and for faults of the service. Refusals before the look at failures cost no more than that look.
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::Rejected(rejection) => match rejection {
                Rejection::Malformed(_)
                | Rejection::Digest(BadDigest::Malformed)
                | Rejection::Invalid
                | Rejection::Replayed => Blame::Caller,
                // Of what a later version adds nobody is blamed before somebody thought about it.
                _ => Blame::Nobody,
            },
            Self::Presented(BadPresented::NotAKey | BadPresented::Ambiguous)
            | Self::RevokedPrivateKey
            | Self::UnknownPrivateKey
            | Self::ApparentPrivateKey
            | Self::Unaccepted(_)
            | Self::Revoked
            | Self::Expired => Blame::Caller,
            Self::Presented(_)
            | Self::RegisteredPrivateKey(_)
            | Self::Forwarded(_)
            | Self::Unserved(_)
            | Self::SignatureRequired
            | Self::KeyRequired
            | Self::Quarantined
            | Self::Restricted(_)
            | Self::MissingScope(_)
            | Self::ContentTooLarge { .. }
            | Self::ContentTimeout
            | Self::Overloaded
            | Self::ContentBroken
            | Self::SignedTrailer
            | Self::ContentUnread
            | Self::Unsignable(_)
            | Self::RateLimited(_)
            | Self::TooManyFailures(_)
            | Self::RegistryUnavailable
            | Self::ReplayStoreUnavailable
            | Self::NoClientAddress
            | Self::NoLayer => Blame::Nobody,
            #[cfg(feature = "serve")]
            Self::HeadTooLarge { .. } | Self::TargetTooLong { .. } | Self::Upgrade => Blame::Nobody,
            #[cfg(feature = "oauth")]
            Self::Token(_) => Blame::Nobody,
            #[cfg(all(feature = "oauth", feature = "axum"))]
            Self::NoTokenLayer => Blame::Nobody,
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Unserved(unserved) => unserved.status(),
            reason => reason.code().status(),
        }
    }

    /// What is wrong with the request: its form, never a value, and never a fact about a key whose possession the caller has not
    /// proven.
    pub(crate) fn detail(&self) -> String {
        let text = match self {
            Self::Rejected(rejection) => return with_source(rejection),
            Self::Unserved(unserved) => return unserved.to_string(),
            Self::SignedTrailer => return SignedTrailer.to_string(),
            Self::Presented(presented) => return presented.to_string(),
            Self::Forwarded(forwarded) => return forwarded.to_string(),
            #[cfg(feature = "oauth")]
            Self::Token(token) => return token.to_string(),
            Self::ContentTooLarge { limit } => {
                return format!("the content is larger than {limit} bytes");
            }
            #[cfg(feature = "serve")]
            Self::HeadTooLarge { limit } => {
                return format!(
                    "the target and the header fields have more than {limit} bytes together"
                );
            }
            #[cfg(feature = "serve")]
            Self::TargetTooLong { limit } => {
                return format!("the target has more than {limit} bytes");
            }
            #[cfg(feature = "serve")]
            Self::Upgrade => "this server upgrades no connection, to WebSocket or anything else",
            Self::Restricted(kind) => {
                return format!("the key may not be used from there: its {kind} restriction");
            }
            Self::MissingScope(scope) => return format!("the key lacks the scope {scope}"),
            Self::RateLimited(OverLimit { left, .. }) => {
                return format!("this is more than the quota {} allows", left.name());
            }
            Self::RegisteredPrivateKey(_) => {
                "the request carries a private key, which others can have read on the way"
            }
            Self::UnknownPrivateKey => {
                "the request carries what looks like a private key; no credential here has it"
            }
            Self::RevokedPrivateKey => "the request carries a private key, which was revoked",
            Self::ApparentPrivateKey => "the request carries what looks like a private key",
            Self::SignatureRequired => "this request has to be signed",
            Self::KeyRequired => "this request has to carry a publishable key, or to be signed",
            Self::Unaccepted(_) => {
                "the publishable key is not known here, or may not be used for this request"
            }
            Self::Revoked => "the key was revoked",
            Self::Expired => "the key has expired",
            Self::Quarantined => "the key is quarantined: it reads, and does not write",
            Self::ContentTimeout => "the content did not arrive in time",
            Self::Overloaded => "the server has no memory for more content now",
            Self::ContentBroken => "the content broke off or is malformed",
            Self::ContentUnread => {
                "the content was not read to its end, and nobody has verified it"
            }
            Self::Unsignable(_) => {
                "the answer cannot be signed; what was asked for may have been done"
            }
            Self::TooManyFailures(_) => {
                "too many requests from this address were forged, guessed, malformed or repeated, or had a key that is good for nothing"
            }
            Self::RegistryUnavailable => "the key registry cannot be asked",
            Self::ReplayStoreUnavailable => "the replay guard cannot be asked",
            Self::NoClientAddress => NO_ADDRESS,
            Self::NoLayer => "this route is not behind the verifier",
            #[cfg(all(feature = "oauth", feature = "axum"))]
            Self::NoTokenLayer => "this route is not behind the layer that looks at access tokens",
        };
        text.to_owned()
    }

    /// What the caller can do about it.
    pub(crate) fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::RegisteredPrivateKey(SentKey { key, .. }) => {
                return format!(
                    "have this key revoked, by `countersign key revoke {key}`; then sign requests with a new key, and never send the key itself"
                )
                .into();
            }
            Self::RevokedPrivateKey => {
                "register a new key, sign requests with it, and never send the key itself"
            }
            Self::UnknownPrivateKey | Self::ApparentPrivateKey => {
                "sign requests with a private key, and never send it; if this one is registered anywhere, have it revoked there"
            }
            Self::Forwarded(_) => {
                "nothing in your request is wrong: ask the operator of this service to look into its log, which says what its proxy has to send"
            }
            Self::Unserved(Unserved::Version) => {
                "use HTTP/1.1 or HTTP/2; if you do, ask the operator of this service to look into its log, which says what its proxy has to be told"
            }
            #[cfg(feature = "serve")]
            Self::HeadTooLarge { .. } => "send fewer or smaller header fields, or a shorter target",
            Self::Rejected(rejection) => rejection.hint(),
            reason => reason.code().hint(),
        };
        hint.into()
    }

    /// The text for the operator's log. It may have facts about a key, which [`detail`](Self::detail) never has.
    pub(crate) fn for_log(&self) -> String {
        match self {
            Self::Unaccepted(Unaccepted { cause, .. }) => cause.to_string(),
            reason => reason.detail(),
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after(),
            Self::RateLimited(excess) | Self::TooManyFailures(excess) => Some(excess.retry_after),
            Self::Overloaded => Some(Duration::from_secs(1)),
            Self::RegistryUnavailable | Self::ReplayStoreUnavailable => {
                Some(Duration::from_secs(5))
            }
            #[cfg(feature = "oauth")]
            Self::Token(BadToken::KeysUnavailable) => Some(Duration::from_secs(10)),
            _ => None,
        }
    }

    pub(crate) const fn excess(&self) -> Option<&OverLimit> {
        match self {
            Self::RateLimited(excess) | Self::TooManyFailures(excess) => Some(excess),
            _ => None,
        }
    }
}

/// The whole chain of reasons, since a problem has no `source()`.
fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
