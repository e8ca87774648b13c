use countersign::{ProvenKey, Timestamp};

use crate::{
    credential::{restrictions::Restrictions, scope::Scopes},
    limits::own_limits::OwnLimits,
};

/// A credential to register with [`Registry::add_credential`](super::Registry::add_credential).
///
/// ```
/// use countersign::{PrivateKey, ProvenKey};
/// use countersign_store::{NewCredential, Restriction, RestrictionKind, Restrictions, Scope};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proof = ProvenKey::proof(&PrivateKey::ed25519(&[7; 32]))?; // the content of the `.pub` file
/// let key = ProvenKey::from_proof(&proof)?;
/// let office = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"])?;
/// let new = NewCredential::new("shop", "laptop", &key)
///     .scopes([Scope::from_static("orders:write")].into())
///     .restrictions(Restrictions::default().with(office));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NewCredential<'a> {
    pub(super) application: &'a str,
    pub(super) label: &'a str,
    pub(super) key: &'a ProvenKey,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) scopes: Scopes,
    pub(super) restrictions: Restrictions,
    pub(super) limits: OwnLimits,
}

impl<'a> NewCredential<'a> {
    /// Takes a key for the application with this name, and a [`Label`](crate::Label). The registry parses both texts.
    pub fn new(application: &'a str, label: &'a str, key: &'a ProvenKey) -> Self {
        Self {
            application,
            label,
            key,
            expires_at: None,
            scopes: Scopes::default(),
            restrictions: Restrictions::default(),
            limits: OwnLimits::default(),
        }
    }

    /// Sets when the credential expires. Default: `None`, never.
    pub const fn expires_at(mut self, time: Option<Timestamp>) -> Self {
        self.expires_at = time;
        self
    }

    /// Sets the scopes, for routes that require scopes. Default: none.
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Restricts where the credential may be used. Default: everywhere.
    pub fn restrictions(mut self, restrictions: Restrictions) -> Self {
        self.restrictions = restrictions;
        self
    }

    /// Sets limits of its own, which hold in place of the server's. Default: none.
    pub fn limits(mut self, limits: OwnLimits) -> Self {
        self.limits = limits;
        self
    }
}
