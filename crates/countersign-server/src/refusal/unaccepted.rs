use std::fmt;

use countersign_store::CredentialId;

use super::forbidden::Forbidden;

/// Why a publishable key without a signature is not accepted.
///
/// Anyone can have a publishable key, so the caller gets the same response for every cause. It never reveals whether a key
/// exists, its state, or the places that it may be used from. The operator's log and metrics have the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unaccepted {
    pub(crate) cause: Cause,
    /// The credential; `None` if the key is unknown.
    pub(crate) credential: Option<CredentialId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Unknown,
    Revoked,
    Expired,
    Forbidden(Forbidden),
}

impl Cause {
    /// Returns the label for metrics. The number of labels is bounded.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Forbidden(Forbidden::Restricted(kind)) => kind.as_str(),
            Self::Forbidden(Forbidden::MissingScope(_)) => "scope",
        }
    }
}

/// Writes the cause and the command that changes it, for the operator.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no credential has this key"),
            Self::Revoked => f.write_str("its credential was revoked"),
            Self::Expired => f.write_str("its credential has expired"),
            Self::Forbidden(Forbidden::Restricted(kind)) => write!(
                f,
                "its {kind} restriction does not allow the request; `countersign key restrict` changes it"
            ),
            Self::Forbidden(Forbidden::MissingScope(scope)) => write!(
                f,
                "its credential lacks the scope {scope}: `countersign key scope --add {scope}` adds it"
            ),
        }
    }
}
