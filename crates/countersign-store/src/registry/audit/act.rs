use std::{fmt, str::FromStr};

use countersign::{KeyId, Timestamp};
use serde_json::Value;

use crate::credential::application::ApplicationName;

/// What was done to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// An application was added.
    AddApplication,
    /// The contact, notes or environment of an application were changed.
    ChangeApplication,
    /// An application was removed.
    RemoveApplication,
    /// A key was registered.
    AddKey,
    /// The label, scopes, restrictions, limits or expiry of a key were changed.
    ChangeKey,
    /// A key was replaced by another.
    RotateKey,
    /// A key was limited to reads.
    QuarantineKey,
    /// A key was made active again after a quarantine.
    ReleaseKey,
    /// A key was revoked.
    RevokeKey,
    /// An HMAC secret was encrypted with another master key, or for the first time.
    RewrapKey,
}

impl Action {
    /// All kinds of changes.
    pub const ALL: [Self; 10] = [
        Self::AddApplication,
        Self::ChangeApplication,
        Self::RemoveApplication,
        Self::AddKey,
        Self::ChangeKey,
        Self::RotateKey,
        Self::QuarantineKey,
        Self::ReleaseKey,
        Self::RevokeKey,
        Self::RewrapKey,
    ];

    /// Returns the name, like `key.revoke`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddApplication => "app.add",
            Self::ChangeApplication => "app.change",
            Self::RemoveApplication => "app.remove",
            Self::AddKey => "key.add",
            Self::ChangeKey => "key.change",
            Self::RotateKey => "key.rotate",
            Self::QuarantineKey => "key.quarantine",
            Self::ReleaseKey => "key.release",
            Self::RevokeKey => "key.revoke",
            Self::RewrapKey => "key.rewrap",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a kind of change is app.add, app.change, app.remove, key.add, key.change, key.rotate, key.quarantine, key.release, key.revoke \
     or key.rewrap"
)]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// What a change did, before it has a number.
#[derive(Debug)]
pub(in super::super) struct Act {
    pub(in super::super) at: Timestamp,
    pub(in super::super) action: Action,
    pub(in super::super) subject: ActSubject,
    /// What was changed, before and after. Never a secret.
    pub(in super::super) before: Option<Value>,
    pub(in super::super) after: Option<Value>,
}

/// Whom a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ActSubject {
    /// The application; `None` if its row is damaged.
    pub(in super::super) application: Option<ApplicationName>,
    /// The key, unless it is the application that was changed. A thumbprint, if the publishable key is damaged.
    pub(in super::super) key: Option<KeyId>,
}

impl ActSubject {
    /// Everything.
    pub(in super::super) const fn any() -> Self {
        Self { application: None, key: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_changes_print_as_they_are_read_and_the_error_names_them_all() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
            assert!(UnknownAction.to_string().contains(action.as_str()), "{action}");
        }
        assert_eq!("key".parse::<Action>(), Err(UnknownAction));
    }
}
