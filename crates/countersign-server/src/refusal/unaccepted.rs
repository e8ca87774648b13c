use std::fmt;

use countersign_store::{CredentialId, RestrictionKind, Scope};

/// Why a publishable key without a signature opens nothing.
///
/// Anyone can have a publishable key, so the caller gets the same response for all of these reasons: it tells nobody whether
/// a key exists, what state it is in, or where it may be used from. The operator's log and metrics have the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unaccepted {
    pub(crate) cause: Cause,
    /// The credential; `None` if the key is not known.
    pub(crate) credential: Option<CredentialId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Unknown,
    Revoked,
    Expired,
    Restricted(RestrictionKind),
    MissingScope(Scope),
}

impl Cause {
    /// A label for metrics: of a bounded number.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Restricted(kind) => kind.as_str(),
            Self::MissingScope(_) => "scope",
        }
    }
}

/// For the operator: what is wrong, and the command that changes it.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no credential has this key"),
            Self::Revoked => f.write_str("its credential was revoked"),
            Self::Expired => f.write_str("its credential has expired"),
            Self::Restricted(kind) => write!(
                f,
                "its {kind} restriction does not hold: `countersign key restrict` changes what it allows"
            ),
            Self::MissingScope(scope) => write!(
                f,
                "its credential lacks the scope {scope}: `countersign key scope --add {scope}` adds it"
            ),
        }
    }
}
