use countersign::Code;
use countersign_store::Scope;

/// Why an access token is missing or refused. The messages are for the caller, and never have values of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadToken {
    #[error("this request needs an access token, in one covered Authorization field")]
    Missing,
    #[error("the access token is not a signed JWT of at most 8 KiB")]
    Malformed,
    #[error("the access token has a typ other than at+jwt")]
    Type,
    #[error("the access token names a key that its issuer has not published")]
    UnknownKey,
    #[error("the access token names an algorithm other than its key's")]
    Algorithm,
    #[error("the signature of the access token is invalid")]
    Signature,
    #[error("the access token has no usable claim {0}")]
    Claim(&'static str),
    #[error("the access token is from another issuer")]
    Issuer,
    #[error("the access token is for another audience")]
    Audience,
    #[error("the access token has expired")]
    Expired,
    #[error("the access token is not valid yet")]
    NotYetValid,
    #[error("the access token is bound, and not to the thumbprint of a key")]
    OtherBinding,
    #[error("the access token is bound to a key other than the key that signed this request")]
    OtherKey,
    #[error("the access token is not bound to a key")]
    Unbound,
    #[error("the claims of the access token do not have the form that this service reads")]
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "the extractor finds it out"))]
    OtherClaims,
    #[error("the access token lacks the scope {0}")]
    MissingScope(Scope),
    #[error("the keys of the issuer of access tokens are not available")]
    KeysUnavailable,
}

impl BadToken {
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Missing => Code::TokenRequired,
            Self::Malformed
            | Self::Type
            | Self::UnknownKey
            | Self::Algorithm
            | Self::Signature
            | Self::Claim(_)
            | Self::Issuer
            | Self::Audience
            | Self::Expired
            | Self::NotYetValid
            // RFC 8705 §3 and RFC 9449 §7.1 use this error for tokens that are bound to another key.
            | Self::OtherBinding
            | Self::OtherKey
            | Self::Unbound
            | Self::OtherClaims => Code::TokenInvalid,
            Self::MissingScope(_) => Code::TokenForbidden,
            Self::KeysUnavailable => Code::TokenKeysUnavailable,
        }
    }

    /// Returns the challenge for `WWW-Authenticate` (RFC 6750 §3).
    pub(crate) fn challenge(&self) -> Option<String> {
        let error = match (self.code(), self) {
            (Code::TokenRequired, _) => String::new(),
            (_, Self::MissingScope(scope)) => {
                format!(", error=\"insufficient_scope\", scope=\"{scope}\"")
            }
            (Code::TokenInvalid, _) => {
                format!(", error=\"invalid_token\", error_description=\"{self}\"")
            }
            _ => return None,
        };
        Some(format!("Bearer realm=\"countersign\"{error}"))
    }
}
