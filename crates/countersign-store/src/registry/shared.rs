use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

#[cfg(feature = "sqlite")]
use super::sqlite::file::{self, FileError};
use super::{
    cache::Cache,
    database::Database,
    early_check::EarlyCheck,
    error::RegistryError,
    flights::Flights,
    last_use::LastUses,
    query::{Query, Row},
    readers::Readers,
    unopened::Unopened,
    usage::upkeep::Upkeep,
    watch::Watch,
};
use crate::master_key::MasterKeys;

/// What the clones of a registry share.
pub(super) struct Shared {
    /// The address without password and parameters.
    pub(super) name: String,
    pub(super) file: Option<PathBuf>,
    pub(super) closed_files: Vec<PathBuf>,
    pub(super) history: History,
    pub(super) database: Database,
    pub(super) cache: Cache,
    /// The lookups of keys that are not in the cache.
    pub(super) readers: Readers,
    pub(super) early_check: EarlyCheck,
    pub(super) flights: Flights,
    /// Tells the cache of changes that others make.
    pub(super) watch: Watch,
    pub(super) master_keys: Option<Arc<MasterKeys>>,
    pub(super) unopened: Unopened,
    /// The number of secrets that were sealed when this registry was opened.
    pub(super) sealed_now: OnceLock<u64>,
    pub(super) last_uses: LastUses,
    pub(super) usage: Upkeep,
}

/// Whether requests may have been accepted with this registry before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// No requests: the registry was created when it was opened.
    New,
    /// Any requests: the registry existed, and may be a copy.
    Unknown,
}

impl Shared {
    /// Makes it without a file and without master keys.
    pub(super) fn new(name: String, history: History, database: Database) -> Self {
        Self {
            name,
            file: None,
            closed_files: Vec::new(),
            history,
            readers: Readers::of(&database),
            database,
            cache: Cache::default(),
            early_check: EarlyCheck::default(),
            flights: Flights::default(),
            watch: Watch::default(),
            master_keys: None,
            unopened: Unopened::default(),
            sealed_now: OnceLock::new(),
            last_uses: LastUses::default(),
            usage: Upkeep::default(),
        }
    }

    pub(super) fn master_keys(&self) -> Option<&MasterKeys> {
        self.master_keys.as_deref()
    }

    /// Runs a statement in a transaction of its own, and returns its first row.
    pub(super) async fn write(&self, query: Query) -> Result<Option<Row>, RegistryError> {
        let mut transaction = self.database.begin().await?;
        let row = transaction.session().fetch_optional(query).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Refuses a file that other users can open, before a secret is written to it.
    pub(super) fn require_closed(&self) -> Result<(), RegistryError> {
        #[cfg(feature = "sqlite")]
        if let Some(file) = &self.file {
            let files = file::exposed(file)?;
            if !files.is_empty() {
                return Err(FileError::Exposed { files }.into());
            }
        }
        Ok(())
    }
}
