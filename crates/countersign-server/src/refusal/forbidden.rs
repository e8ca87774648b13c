use countersign_store::{RestrictionKind, Scope};

/// Why a credential lacks the authority for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forbidden {
    Restricted(RestrictionKind),
    MissingScope(Scope),
}
