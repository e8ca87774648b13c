use std::{borrow::Cow, time::Duration};

use countersign::{
    BadDigest, BadPresented, Code, PublishableKey, Rejection, SignedTrailer, Unserved, with_reasons,
};
use countersign_store::{CredentialId, OverLimit};
use http::StatusCode;

#[cfg(feature = "axum")]
use super::unchanged::Unchanged;
use super::{forbidden::Forbidden, unaccepted::Unaccepted, unsignable::Unsignable};
#[cfg(feature = "oauth")]
use crate::oauth::bad_token::BadToken;
use crate::{content::memory::Full, ingress::proxies::BadForwarded};

/// The operator's fix for an unknown client address.
pub(crate) const NO_ADDRESS: &str = "a limit by client address or a list of proxies is set, and no address is known: serve with \
     `countersign_server::serve`; with another server add a layer around the verifier that puts the peer's address as a \
     `countersign_store::ClientAddress` into the request's extensions; in a test put one there by hand";

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected(Rejection),
    /// The proxies' fields cannot be used.
    Forwarded(BadForwarded),
    /// The server does not serve this method or HTTP version.
    Unserved(Unserved),
    /// The request target and the header fields together are too large.
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
    /// A publishable key that is not accepted here. The caller does not learn the cause.
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
    /// The known caller lacks the authority for this request.
    Forbidden(Forbidden),
    /// The known caller's own key is not changed as it asks.
    #[cfg(feature = "axum")]
    Unchanged(Unchanged),
    ContentTooLarge {
        limit: u64,
    },
    ContentTimeout,
    /// The content of other requests takes all of the memory, or the application's share is used up.
    Overloaded,
    ContentBroken,
    SignedTrailer,
    /// A handler responded with success before it had read the signed content to its end. A mistake of the service.
    ContentUnread,
    /// The response cannot be signed. A mistake of the service; the request may have taken effect.
    Unsignable(Unsignable),
    /// The known caller is over a limit.
    RateLimited(OverLimit),
    TooManyFailures(OverLimit),
    RegistryUnavailable,
    ReplayStoreUnavailable,
    /// No client address is known, but a limit by client address or a list of proxies is set. A mistake of the service.
    NoClientAddress,
    /// The route is not behind the verifier's layer. A mistake of the service.
    NoLayer,
    /// The signature is valid, and the access token is refused.
    #[cfg(feature = "oauth")]
    Token(BadToken),
    /// The route is not behind the layer for access tokens. A mistake of the service.
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
    /// The rebuilt signature base of an invalid signature, if the operator allows the refusal to show it.
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

#[cfg(feature = "axum")]
impl From<Unchanged> for Reason {
    fn from(unchanged: Unchanged) -> Self {
        Self::Unchanged(unchanged)
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
            Self::Forbidden(_) => Code::KeyForbidden,
            #[cfg(feature = "axum")]
            Self::Unchanged(unchanged) => unchanged.code(),
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

    /// Returns whether the caller is to blame.
    ///
    /// The caller is to blame for forged, guessed and malformed requests, which a correct client never sends, for valid
    /// signatures of dead keys, and for repeated signatures. Every cause for not accepting a publishable key counts alike:
    /// otherwise the limit would reveal the cause.
    ///
    /// Nobody is to blame if an honest client can learn from the refusal (coverage, time), if the credential has the authority
    /// for other requests, or if the service is at fault. Refusals before the check of failures cost no more than that check.
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::Rejected(rejection) => match rejection {
                Rejection::Malformed(_)
                | Rejection::Digest(BadDigest::Malformed)
                | Rejection::Invalid
                | Rejection::Replayed => Blame::Caller,
                // New kinds of rejection blame nobody until they are listed above.
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
            | Self::Forbidden(_)
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
            #[cfg(feature = "axum")]
            Self::Unchanged(_) => Blame::Nobody,
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

    /// Returns the fault in the request: its form, never a value, and never a fact about a key whose possession the caller has
    /// not proven.
    pub(crate) fn detail(&self) -> String {
        let text = match self {
            Self::Rejected(rejection) => return with_reasons(rejection),
            Self::Unserved(unserved) => return unserved.to_string(),
            Self::SignedTrailer => return SignedTrailer.to_string(),
            Self::Presented(presented) => return presented.to_string(),
            Self::Forwarded(forwarded) => return forwarded.to_string(),
            #[cfg(feature = "axum")]
            Self::Unchanged(unchanged) => return unchanged.detail().into_owned(),
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
            Self::Upgrade => {
                "this server upgrades no connection, neither to WebSocket nor to another protocol"
            }
            Self::Forbidden(Forbidden::Restricted(kind)) => {
                return format!("the key may not be used from there: its {kind} restriction");
            }
            Self::Forbidden(Forbidden::MissingScope(scope)) => {
                return format!("the key lacks the scope {scope}");
            }
            Self::RateLimited(OverLimit { left, .. }) => {
                return format!("this is more than the quota {} allows", left.name());
            }
            Self::RegisteredPrivateKey(_) => {
                "the request carries a private key, which others can have read on the way"
            }
            Self::UnknownPrivateKey => {
                "the request has text that looks like a private key; no credential has this key"
            }
            Self::RevokedPrivateKey => "the request carries a private key, which was revoked",
            Self::ApparentPrivateKey => "the request has text that looks like a private key",
            Self::SignatureRequired => "this request needs a signature",
            Self::KeyRequired => "this request needs a publishable key or a signature",
            Self::Unaccepted(_) => {
                "the publishable key is not known here, or may not be used for this request"
            }
            Self::Revoked => "the key was revoked",
            Self::Expired => "the key has expired",
            Self::Quarantined => "the key is quarantined: it reads, and does not write",
            Self::ContentTimeout => "the content did not arrive in time",
            Self::Overloaded => "the server has no memory for more content now",
            Self::ContentBroken => "the content broke off or is malformed",
            Self::ContentUnread => "the content was not read to its end, so it is not verified",
            Self::Unsignable(_) => {
                "the response cannot be signed; the request may have been carried out"
            }
            Self::TooManyFailures(_) => {
                "too many requests from this address were forged, guessed, malformed or repeated, or had a key that is not accepted"
            }
            Self::RegistryUnavailable => "the key registry failed",
            Self::ReplayStoreUnavailable => "the replay guard failed",
            Self::NoClientAddress => NO_ADDRESS,
            Self::NoLayer => "this route is not behind the verifier",
            #[cfg(all(feature = "oauth", feature = "axum"))]
            Self::NoTokenLayer => "this route is not behind the layer that checks access tokens",
        };
        text.to_owned()
    }

    /// Returns the caller's fix.
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
                "nothing in your request is wrong: ask the operator of this service to read its log, which names the fields that its proxy must send"
            }
            Self::Unserved(Unserved::Version) => {
                "use HTTP/1.1 or HTTP/2; if you do, ask the operator of this service to read its log, which names the setting that its proxy needs"
            }
            #[cfg(feature = "serve")]
            Self::HeadTooLarge { .. } => "send fewer or smaller header fields, or a shorter target",
            Self::Rejected(rejection) => rejection.hint(),
            #[cfg(feature = "axum")]
            Self::Unchanged(unchanged) => return unchanged.hint(),
            reason => reason.code().hint(),
        };
        hint.into()
    }

    /// Returns the text for the operator's log. It may have facts about a key; [`detail`](Self::detail) never has.
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
