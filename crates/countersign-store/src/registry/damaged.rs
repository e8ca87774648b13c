use std::{error::Error, fmt, sync::Arc};

use countersign::{KeyId, PublishableKey};

use super::{error::RegistryError, query::Row};
use crate::credential::{CredentialId, State, application::Application};

/// A credential that cannot be used, with the columns that can still be read: its row in the registry is damaged, or its secret is
/// sealed with a master key that is not given. No server accepts it.
#[derive(Debug)]
#[non_exhaustive]
pub struct DamagedCredential {
    /// Its number.
    pub id: CredentialId,
    /// Its publishable key or, if the key is damaged, its JWK thumbprint. `Registry::revoke` takes either.
    pub key: Option<KeyId>,
    /// Its application, unless the application itself is damaged.
    pub application: Option<Arc<Application>>,
    /// Its label, unchecked: it may hold invisible characters.
    pub label: Option<String>,
    /// Its state.
    pub state: Option<State>,
    /// The reason: a [`RegistryError::DamagedCredential`] or [`RegistryError::Sealed`].
    pub error: RegistryError,
}

impl fmt::Display for DamagedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for DamagedCredential {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// An application whose row in the registry is damaged, with the columns that can still be read. No server accepts its
/// credentials.
#[derive(Debug)]
#[non_exhaustive]
pub struct DamagedApplication {
    /// Its number.
    pub id: i64,
    /// Its name, unchecked: it may hold invisible characters.
    pub name: Option<String>,
    /// Its environment, unchecked as well.
    pub environment: Option<String>,
    /// The damage: a [`RegistryError::DamagedApplication`].
    pub error: RegistryError,
}

impl fmt::Display for DamagedApplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for DamagedApplication {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl DamagedApplication {
    pub(super) fn of(row: &Row, error: RegistryError) -> Box<Self> {
        let text = |column| row.get::<String>(column).ok();
        Box::new(Self {
            id: row.get("id").unwrap_or_default(),
            name: text("name"),
            environment: text("environment"),
            error,
        })
    }
}

impl DamagedCredential {
    pub(super) fn of(row: &Row, error: RegistryError) -> Box<Self> {
        let text = |column| row.get::<String>(column).ok();
        // A weak key is still readable, and identifies its row.
        let publishable = || text("publishable_key")?.parse::<PublishableKey>().ok();
        let thumbprint = || match text("thumbprint")?.parse().ok()? {
            thumbprint @ KeyId::Thumbprint(_) => Some(thumbprint),
            KeyId::Publishable(_) => None,
        };
        Box::new(Self {
            id: CredentialId::new(row.get("id").unwrap_or_default()),
            key: publishable().map(KeyId::Publishable).or_else(thumbprint),
            application: Application::read_of_credential(row).ok().map(Arc::new),
            label: text("label"),
            state: text("state").and_then(|state| state.parse().ok()),
            error,
        })
    }

    /// Whether its row is whole, and only the master key is missing that opens its secret.
    pub const fn is_sealed(&self) -> bool {
        matches!(self.error, RegistryError::Sealed { .. })
    }
}
