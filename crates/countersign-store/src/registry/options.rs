use std::{fmt, sync::Arc};

use super::{Registry, actor::Actor, error::RegistryError, if_missing::IfMissing};
use crate::{master_key::MasterKeys, system_time::system_time};

/// How to open a [`Registry`].
///
/// ```no_run
/// use countersign_store::{MasterKeySource, MasterKeys, RegistryOptions};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let source: MasterKeySource = "/run/secrets/registry.master".parse()?;
/// let keys = MasterKeys::new(source.read()?);
/// let registry = RegistryOptions::new().master_keys(keys).open("sqlite:registry.db").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct RegistryOptions {
    master_keys: Option<Arc<MasterKeys>>,
    plain_secrets: PlainSecrets,
    actor: Option<Actor>,
}

/// The treatment of plain secrets when a registry is opened with a master key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PlainSecrets {
    /// They are sealed.
    #[default]
    Seal,
    /// They stay as they are.
    Leave,
}

impl RegistryOptions {
    /// Opens a registry without a master key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the keys for sealing and opening HMAC secrets.
    ///
    /// A registry with a master key seals its plain secrets when it is opened, in batches: a program that is stopped while it
    /// seals goes on when it next opens the registry. The audit log has an entry for each secret. In SQLite the database is then
    /// written anew, so that no secret is left in its files; earlier copies keep theirs.
    ///
    /// A credential with a secret of another master key is refused, with an error in the log. All others work.
    pub fn master_keys(mut self, keys: impl Into<Option<MasterKeys>>) -> Self {
        self.master_keys = keys.into().map(Arc::new);
        self
    }

    /// Leaves plain secrets as they are when the registry is opened, and seals only those that are registered from now on.
    ///
    /// For the first roll-out of a master key to several servers: a server without the master key refuses a credential as soon as
    /// another server has sealed its secret. Remove this call once all servers have the master key.
    pub const fn insecure_leave_plain_secrets(mut self) -> Self {
        self.plain_secrets = PlainSecrets::Leave;
        self
    }

    /// Names who makes the changes that are made with this registry, for its audit log: also those that opening it makes, when it
    /// seals plain secrets. Default: the name of the program.
    pub fn acting_as(mut self, actor: impl Into<Option<Actor>>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Opens an existing registry, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the registry is left as it was, but some of its secrets may be sealed.
    pub async fn open(self, url: &str) -> Result<Registry, RegistryError> {
        self.open_as(url, IfMissing::Fail).await
    }

    /// Opens a registry. If it is missing, makes it, as [`Registry::open_or_create`] does.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing registry is left as it was, but some of its secrets may be sealed.
    pub async fn open_or_create(self, url: &str) -> Result<Registry, RegistryError> {
        self.open_as(url, IfMissing::Create).await
    }

    async fn open_as(self, url: &str, if_missing: IfMissing) -> Result<Registry, RegistryError> {
        let registry = Registry::open_as(url, if_missing, self.master_keys).await?;
        let registry = match self.actor {
            Some(actor) => registry.acting_as(actor),
            None => registry,
        };
        match registry.settle_secrets(self.plain_secrets, system_time()).await {
            Ok(()) => Ok(registry),
            Err(error) => {
                registry.close().await;
                Err(error)
            }
        }
    }
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Master keys print their ids.
        f.debug_struct("RegistryOptions")
            .field("master_keys", &self.master_keys)
            .field("plain_secrets", &self.plain_secrets)
            .field("actor", &self.actor)
            .finish()
    }
}
