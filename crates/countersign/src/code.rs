use std::{fmt, str::FromStr};

use http::{HeaderMap, StatusCode};

use crate::field_name::REFUSAL;

/// The stable name of a refusal, in `code` and in `type` (`urn:countersign:problem:CODE`) of its problem details.
///
/// ```
/// use countersign::Code;
/// use http::{HeaderMap, HeaderValue};
///
/// let field = HeaderValue::from_static("signature-stale");
/// let headers = HeaderMap::from_iter([(countersign::REFUSAL, field)]); // of a response
/// assert_eq!(Code::of_refusal(&headers), Some(Ok(Code::SignatureStale)));
/// assert_eq!(Code::SignatureStale.status(), 401);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it; docs/troubleshoot/codes.md explains each")]
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
    KeyConflict,
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
    UpgradeUnsupported,
    Overloaded,
    ReplayStoreUnavailable,
    RegistryUnavailable,
    TokenKeysUnavailable,
    Misconfigured,
}

impl Code {
    const ALL: [Self; 34] = [
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
        Self::KeyConflict,
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
        Self::UpgradeUnsupported,
        Self::Overloaded,
        Self::ReplayStoreUnavailable,
        Self::RegistryUnavailable,
        Self::TokenKeysUnavailable,
        Self::Misconfigured,
    ];

    /// The code in the field `Countersign-Refusal` of a response, whatever its status and content are.
    ///
    /// `None` if the response does not have the field on one line, as a Token (RFC 9651 §3.3.4): it is no refusal, or
    /// comes from an older server. Parameters after the Token are ignored.
    ///
    /// The inner error is for a code of a later version: the response is a refusal, and its status tells of which kind.
    pub fn of_refusal(headers: &HeaderMap) -> Option<Result<Self, UnknownCode>> {
        let mut lines = headers.get_all(REFUSAL).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let token = line.to_str().ok()?.split(';').next()?.trim_matches(' ');
        let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'*';
        let later = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        let is_token = token.bytes().next().is_some_and(first) && token.bytes().all(later);
        is_token.then(|| token.parse())
    }

    /// All codes of this version.
    pub const fn all() -> &'static [Self] {
        &Self::ALL
    }

    /// The name, as in `signature-replayed`.
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
            Self::KeyConflict => "key-conflict",
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
            Self::UpgradeUnsupported => "upgrade-unsupported",
            Self::Overloaded => "overloaded",
            Self::ReplayStoreUnavailable => "replay-store-unavailable",
            Self::RegistryUnavailable => "registry-unavailable",
            Self::TokenKeysUnavailable => "token-keys-unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// The status of the refusal.
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
            Self::KeyConflict => StatusCode::CONFLICT,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::UpgradeUnsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Overloaded
            | Self::ReplayStoreUnavailable
            | Self::RegistryUnavailable
            | Self::TokenKeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The meaning in a few words, the same for every request.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SignatureRequired => "A signature is required",
            Self::SignatureMalformed => "The signature fields are malformed",
            Self::SignaturePolicy => "The signature covers too little",
            Self::SignatureStale => "The signature is outside its time window",
            Self::SignatureReplayed => "The signature was used before",
            Self::SignatureInvalid => "The signature is invalid",
            Self::DigestMismatch => "The content is not the signed content",
            Self::DigestUnsupported => "The digest algorithm is not supported",
            Self::KeyRequired => "A publishable key is required",
            Self::KeyUnknown => "The publishable key is not accepted",
            Self::KeyRevoked => "The key was revoked",
            Self::KeyExpired => "The key has expired",
            Self::KeyQuarantined => "The key is quarantined",
            Self::KeyForbidden => "The key may not do this",
            Self::KeyConflict => "The key cannot be replaced by this one",
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
            Self::HeaderTooLarge => "The header fields are too large",
            Self::RateLimited => "Too many requests",
            Self::UpgradeUnsupported => "The connection cannot be upgraded",
            Self::Overloaded => "The service is overloaded",
            Self::ReplayStoreUnavailable
            | Self::RegistryUnavailable
            | Self::TokenKeysUnavailable => "The service cannot verify requests now",
            Self::Misconfigured => "The service is misconfigured",
        }
    }

    /// The remedy for the caller.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::SignatureRequired => {
                "sign the request as Accept-Signature says, with a private key"
            }
            Self::SignatureMalformed => "compare the signature fields with RFC 9421 section 4",
            Self::SignaturePolicy => {
                "cover the components that Accept-Signature lists, and send created, nonce, keyid and tag"
            }
            Self::SignatureStale => {
                "sign again: after Retry-After if there is one, or else with the clock set by the Date of this response"
            }
            Self::SignatureReplayed => "sign every attempt anew, with a nonce of its own",
            Self::SignatureInvalid => {
                "check that keyid is the publishable key (pk_…) or JWK thumbprint of a key that is registered here, and that nothing changes \
                 the request on its way"
            }
            Self::DigestMismatch => {
                "send the bytes from which Content-Digest was computed, unchanged"
            }
            Self::DigestUnsupported => "send Content-Digest with sha-256 or sha-512",
            Self::KeyRequired => "send the publishable key in X-Api-Key",
            Self::KeyUnknown => {
                "check the publishable key, or ask the operator of this service: its log has the reason"
            }
            Self::KeyRevoked | Self::KeyExpired => "use another key",
            Self::KeyQuarantined | Self::KeyForbidden | Self::KeyConflict => {
                "ask the operator of this service"
            }
            Self::TokenRequired => {
                "send an access token as Authorization: Bearer, and cover that field"
            }
            Self::TokenInvalid => "get a new access token for this service, and sign again",
            Self::TokenForbidden => "get an access token with the scope that is missing",
            Self::AmbiguousCredential => "send one credential",
            Self::Misdirected => {
                "call the service by the host name that its operator gives for it, or have the operator add this one"
            }
            Self::BadTarget => {
                "send a path without dot segments, empty segments and encoded slashes, and no bare ?"
            }
            Self::BadRequest => "send a well-formed request with one Host",
            Self::MethodNotAllowed => "use one of the methods in Allow",
            Self::RequestTimeout => "send the content faster",
            Self::ContentTooLarge => "send less content",
            Self::UriTooLong => "send a shorter target",
            Self::HeaderTooLarge => "send smaller signature fields",
            Self::UpgradeUnsupported => {
                "send plain HTTP requests; ask the operator for a WebSocket address, if there is one"
            }
            Self::RateLimited
            | Self::Overloaded
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_response_names_one_code() {
        type Row = (&'static [&'static str], Option<Result<Code, UnknownCode>>);
        let stale = Some(Ok(Code::SignatureStale));
        let unknown = Some(Err(UnknownCode));
        let table: [Row; 13] = [
            (&["signature-stale"], stale),
            (&["signature-stale;since=5"], stale),
            (&["signature-stale ; since=\"a;b\""], stale),
            (&["unheard-of"], unknown),
            (&["Signature-Stale"], unknown),
            (&["\"signature-stale\""], None),
            (&["signature-stale, signature-invalid"], None),
            (&["signature-stale", "signature-stale"], None),
            (&["signature stale"], None),
            (&["?1"], None),
            (&["5"], None),
            (&[""], None),
            (&[], None),
        ];
        for (lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(REFUSAL, HeaderValue::from_static(line));
            }
            assert_eq!(Code::of_refusal(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn codes_print_as_they_are_read() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
        assert_eq!("Signature-Replayed".parse::<Code>(), Err(UnknownCode));
    }
}
