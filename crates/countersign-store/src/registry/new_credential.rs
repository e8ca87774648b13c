use countersign::{ProvenKey, Timestamp};

use crate::credential::{restrictions::Restrictions, scope::Scopes};

/// What is registered with [`Registry::add_credential`](super::Registry::add_credential).
#[derive(Clone, Debug)]
pub struct NewCredential<'a> {
    pub(super) application: &'a str,
    pub(super) label: &'a str,
    pub(super) key: &'a ProvenKey,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) scopes: Scopes,
    pub(super) restrictions: Restrictions,
}

impl<'a> NewCredential<'a> {
    /// A key of an application, and what people call it: up to 64 printable characters.
    pub fn new(application: &'a str, label: &'a str, key: &'a ProvenKey) -> Self {
        Self {
            application,
            label,
            key,
            expires_at: None,
            scopes: Scopes::default(),
            restrictions: Restrictions::default(),
        }
    }

    /// From when on it is no longer good. Default: `None`, never.
    pub const fn expires_at(mut self, time: Option<Timestamp>) -> Self {
        self.expires_at = time;
        self
    }

    /// What it may do, where routes ask for scopes. Default: nothing.
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Where it may be used from. Default: everywhere.
    pub fn restrictions(mut self, restrictions: Restrictions) -> Self {
        self.restrictions = restrictions;
        self
    }
}
