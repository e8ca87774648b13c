//! Applications and credentials in a database: an SQLite file, or PostgreSQL.
//!
//! Reads and changes are in [`applications`] and [`credentials`], the statements of both in [`statements`]. They are written
//! once, and [`query`] runs them on either database. Every change goes through [`change`]. A row becomes a value in [`row`], and
//! is damaged if it cannot. What is true of one database alone is in [`sqlite`] and [`postgres`]: the address, the connections,
//! the meaning of errors, the schema (of PostgreSQL beside this room, for the nonces have tables there as well).

pub(crate) mod actor;
pub(crate) mod applications;
pub(crate) mod audit;
mod cache;
mod ceiling;
mod change;
mod contact;
pub(crate) mod credential_settings;
pub(crate) mod credentials;
pub(crate) mod damaged;
mod database;
pub(crate) mod error;
mod flights;
mod held_keys;
mod key_store;
mod last_use;
pub(crate) mod new_credential;
pub(crate) mod options;
pub(crate) mod page;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod quarantine;
mod query;
mod readers;
pub(crate) mod rotation;
mod row;
pub(crate) mod sealing;
pub(crate) mod secrets;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statements;
mod stored_limits;
mod stored_restrictions;
#[cfg(feature = "registry-text")]
pub(crate) mod text;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

#[cfg(feature = "sqlite")]
use self::sqlite::file::FileError;
use self::{
    actor::Actor,
    cache::Cache,
    change::LastChange,
    database::Database,
    error::RegistryError,
    flights::Flights,
    last_use::LastUses,
    options::RegistryOptions,
    query::{Query, Row},
    readers::Readers,
    secrets::Unopened,
    watch::Watch,
};
use crate::master_key::MasterKeys;

/// The applications and credentials of a service, in an SQLite file or in PostgreSQL.
///
/// The address of a registry is `sqlite:FILE` or, with the feature `postgres`, `postgres://USER@HOST/DATABASE`, with the
/// parameters of libpq that the driver knows, such as `?sslmode=verify-full`. A registry behaves the same in both. In PostgreSQL
/// its tables are in a schema of their own, `countersign`, in a database that other programs can use as well.
///
/// A change takes effect at once in this registry, and within 1 s in other processes that have the same registry open. Keys that
/// were looked up are kept in memory, and the first lookup starts a task that follows the changes of others: by a look at the
/// number of the last change every 0.2 s in a file and every 0.5 s on a server, and there also by its notices. Rows that are
/// edited by hand, past the registry, take effect within 60 s.
///
/// While the database cannot be reached, keys that are known are found for as long as [`Registry::stale_for`] says; after that,
/// and for other keys, [`KeyStore::find`](crate::KeyStore::find) fails. The log has a line at the beginning and one at the end of
/// an outage, and the metric `countersign_registry_contact_age_seconds` tells how long it lasts.
///
/// For Ed25519 a registry holds only public keys. HMAC secrets are sealed with the master key of
/// [`RegistryOptions::master_keys`]. Without a master key they lie in the registry as they are, and opening it logs a warning:
/// a reader of the database can sign. Only the owner may then open the file of a registry, and the files that SQLite keeps beside
/// it. If other users can read or write one of them, opening the registry takes that right from them, and logs a warning with the
/// names of the files. [`Registry::closed_files`] returns the names.
///
/// `sqlite:FILE?mode=rwc` means the same as `sqlite:FILE`; with `?mode=rw` the file is never made. Any other parameter is
/// refused, `?mode=ro` included.
///
/// A registry is cheap to clone: clones share connections and cache.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    actor: Actor,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.shared.name)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

/// What the clones of a registry share.
struct Shared {
    /// The address without password and parameters.
    name: String,
    file: Option<PathBuf>,
    closed_files: Vec<PathBuf>,
    history: History,
    database: Database,
    cache: Cache,
    /// The lookups of keys that are not in the cache.
    readers: Readers,
    flights: Flights,
    /// Tells the cache of changes that others make.
    watch: Watch,
    master_keys: Option<Arc<MasterKeys>>,
    unopened: Unopened,
    /// The number of secrets that were sealed when this registry was opened.
    sealed_now: OnceLock<u64>,
    last_uses: LastUses,
}

/// Whether requests may have been accepted with this registry before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// No requests: the registry was created when it was opened.
    New,
    /// Any requests: the registry existed, and may be a copy.
    Unknown,
}

/// Whether a registry that is missing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Create,
    Fail,
}

impl Registry {
    /// Opens an existing registry without a master key, and brings its schema up to date. [`RegistryOptions`] opens it with one.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the registry is left as it was.
    pub async fn open(url: &str) -> Result<Self, RegistryError> {
        RegistryOptions::new().open(url).await
    }

    /// Opens a registry. If it is missing, makes it: a file that its owner alone can read, or a schema in the database. With
    /// `?mode=rw` behind a file this is [`Registry::open`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing registry is left as it was.
    pub async fn open_or_create(url: &str) -> Result<Self, RegistryError> {
        RegistryOptions::new().open_or_create(url).await
    }

    async fn open_as(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        let registry = Self::open_any(url, if_missing, master_keys).await?;
        // Others may change anything from here on that is looked up.
        let last = LastChange::current(&registry.shared).await?;
        registry.shared.watch.set_last(last);
        Ok(registry)
    }

    async fn open_any(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            return Self::open_server(url, if_missing, master_keys).await;
        }
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Self::open_file(url, if_missing, master_keys).await;
        }
        let _ = (url, if_missing, master_keys);
        Err(RegistryError::UnsupportedUrl)
    }

    #[cfg(feature = "postgres")]
    async fn open_server(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        use self::postgres::{address::Address, pool::Pool};
        use crate::postgres_schema::Made;

        let address = Address::parse(url)?;
        let (pool, made) = Pool::open(&address, if_missing).await?;
        let history = match made {
            Made::Now => History::New,
            Made::Before => History::Unknown,
        };
        Ok(Self::of(Shared {
            name: address.name,
            file: None,
            closed_files: Vec::new(),
            history,
            readers: Readers::of(&Database::Postgres(pool.clone())),
            database: Database::Postgres(pool),
            cache: Cache::default(),
            flights: Flights::default(),
            watch: Watch::default(),
            master_keys,
            unopened: Unopened::default(),
            sealed_now: OnceLock::new(),
            last_uses: LastUses::default(),
        }))
    }

    #[cfg(feature = "sqlite")]
    async fn open_file(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        use self::sqlite::{
            address::{self, Address},
            file::{self, FileKind},
            pool::Pool,
        };

        let Address { file, if_missing: of_address } = Address::parse(url)?;
        let may_create =
            if_missing == IfMissing::Create && of_address == address::IfMissing::MayCreate;
        if may_create {
            file::create(&file)?;
        }
        let history = match FileKind::of(&file)? {
            FileKind::Registry => History::Unknown,
            FileKind::Empty if may_create => History::New,
            FileKind::Empty => return Err(FileError::Empty.into()),
        };
        let database = Database::Sqlite(Pool::open(&file).await?);
        match close_secrets(&file, &database).await {
            Ok(closed_files) => Ok(Self::of(Shared {
                name: format!("sqlite:{}", file.display()),
                file: Some(file),
                closed_files,
                history,
                readers: Readers::of(&database),
                database,
                cache: Cache::default(),
                flights: Flights::default(),
                watch: Watch::default(),
                master_keys,
                unopened: Unopened::default(),
                sealed_now: OnceLock::new(),
                last_uses: LastUses::default(),
            })),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    fn of(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), actor: Actor::program() }
    }

    /// Names who makes the changes that are made with this registry, for its audit log. Default: the name of the program.
    pub fn acting_as(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Sets how long keys are found that were looked up before, when the database cannot be reached: the longest time in which
    /// this server may not know of a revocation. Default: 10 s. With zero nothing is kept in memory, and every lookup asks the
    /// database.
    ///
    /// The setting is shared with clones of this registry.
    pub fn stale_for(self, stale_for: Duration) -> Self {
        self.shared.cache.contact().set_stale_for(stale_for);
        self
    }

    /// Returns the name of a registry, for messages: its address without the password and the parameters. `None` if the address
    /// is not one of a registry.
    pub fn name_of(url: &str) -> Option<String> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            return postgres::address::Address::parse(url).ok().map(|address| address.name);
        }
        #[cfg(feature = "sqlite")]
        if let Some(file) = Self::file_of(url) {
            return Some(format!("sqlite:{}", file.display()));
        }
        let _ = url;
        None
    }

    /// Returns an address without its password, for messages that repeat it. `None` if the address is not one of a registry.
    pub fn without_password(url: &str) -> Option<String> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            let address = postgres::address::Address::parse(url).ok();
            return address.map(|address| address.without_password);
        }
        Self::file_of(url).map(|_| url.to_owned())
    }

    /// Returns the file of an address, for messages: the text between `sqlite:` and the parameters.
    pub fn file_of(url: &str) -> Option<&Path> {
        #[cfg(feature = "sqlite")]
        return sqlite::address::Address::file_of(url);
        #[cfg(not(feature = "sqlite"))]
        {
            let _ = url;
            None
        }
    }

    /// Returns the name of this registry, for messages: its address without the password and the parameters.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the file of this registry; `None` if it is in PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        self.shared.file.as_deref()
    }

    /// Returns the files of this registry that other users could read or write before it was opened. They held HMAC secrets,
    /// so opening closed them to other users.
    ///
    /// A program with an open file goes on reading it, and a user who has read a secret can sign. Stop the servers, run
    /// `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the file, then revoke the HMAC keys and register
    /// new ones. A registry that was closed in order has no `FILE-wal`.
    pub fn closed_files(&self) -> &[PathBuf] {
        &self.shared.closed_files
    }

    /// Saves which keys were used, and closes the connections of the registry, also for its clones. SQLite then folds the write-ahead log into the file, so that
    /// the file can be copied alone.
    pub async fn close(self) {
        if let Err(error) = self.shared.save_last_uses().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "which keys were used in the last 30 s could not be saved");
        }
        self.shared.watch.end().await;
        self.shared.readers.close().await;
        self.shared.database.close().await;
    }
}

impl Shared {
    /// Runs a statement in a transaction of its own, and returns its first row.
    async fn write(&self, query: Query) -> Result<Option<Row>, RegistryError> {
        let mut transaction = self.database.begin().await?;
        let row = transaction.session().fetch_optional(query).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Refuses a file that other users can open, before a secret is written to it.
    fn require_closed(&self) -> Result<(), RegistryError> {
        #[cfg(feature = "sqlite")]
        if let Some(file) = &self.file {
            let files = sqlite::file::exposed(file)?;
            if !files.is_empty() {
                return Err(FileError::Exposed { files }.into());
            }
        }
        Ok(())
    }
}

/// Closes the files of a registry with HMAC secrets to other users, and returns the files that were open.
#[cfg(feature = "sqlite")]
async fn close_secrets(file: &Path, database: &Database) -> Result<Vec<PathBuf>, RegistryError> {
    // Looking at the files first: a registry that nobody else can open need not be searched.
    if sqlite::file::exposed(file)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = database.connection().await?;
    let row = connection.session().fetch_one(Query::new(statements::HAS_SECRETS)).await?;
    drop(connection);
    if !row.get::<bool>("has_secrets")? {
        return Ok(Vec::new());
    }
    let closed = sqlite::file::close(file)?;
    tracing::warn!(
        registry = ?file,
        files = ?closed,
        "other users could read the registry and the HMAC secrets in it; these files are closed to them now, but a program that \
         has the file open goes on reading it, and a user who has read a secret can sign: stop the servers, run \
         `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the registry's FILE, then revoke the HMAC keys and \
         register new ones"
    );
    Ok(closed)
}
