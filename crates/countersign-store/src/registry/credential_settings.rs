use countersign::Timestamp;

use crate::{
    credential::{Credential, label::Label, restrictions::Restrictions, scope::Scopes},
    limits::own_limits::OwnLimits,
};

/// What can be changed of a credential with
/// [`Registry::change_credential`](super::Registry::change_credential).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialSettings {
    /// Its name for people.
    pub label: Label,
    /// When it expires; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Its scopes, for routes that require scopes.
    pub scopes: Scopes,
    /// The restrictions on where it may be used.
    pub restrictions: Restrictions,
    /// Limits of its own, which hold in place of the server's.
    pub limits: OwnLimits,
}

impl CredentialSettings {
    pub(super) fn of(credential: &Credential) -> Self {
        Self {
            label: credential.label.clone(),
            expires_at: credential.expires_at,
            scopes: credential.scopes.clone(),
            restrictions: credential.restrictions.clone(),
            limits: credential.limits.clone(),
        }
    }
}
