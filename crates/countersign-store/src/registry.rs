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
pub(crate) mod credential_settings;
pub(crate) mod credentials;
pub(crate) mod damaged;
mod database;
pub(crate) mod error;
mod key_store;
mod last_use;
pub(crate) mod new_credential;
pub(crate) mod page;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod quarantine;
mod query;
pub(crate) mod rotation;
mod row;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statements;
mod stored_limits;
mod stored_restrictions;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "sqlite")]
use self::sqlite::file::FileError;
use self::{
    actor::Actor,
    cache::Cache,
    database::Database,
    error::RegistryError,
    last_use::LastUses,
    query::{Query, Row},
};

/// The applications and credentials of a service, in an SQLite file or in PostgreSQL.
///
/// The address of a registry is `sqlite:FILE` or, with the feature `postgres`, `postgres://USER@HOST/DATABASE`, with the
/// parameters of libpq that the driver knows, such as `?sslmode=verify-full`. A registry behaves the same in both. In PostgreSQL
/// its tables are in a schema of their own, `countersign`, in a database that other programs can use as well.
///
/// Lookups are cached for 5 s: a change takes effect at once in this registry, and within 5 s in other processes that have
/// the same registry open.
///
/// For Ed25519 a registry holds only public keys. HMAC secrets lie in it unencrypted, and in the files that SQLite keeps beside
/// an open registry; a reader of these files can sign. So only its owner may open a registry with HMAC secrets. If other
/// users can read or write one of its files, opening the registry takes that right from them, and logs a warning with the
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
    /// Opens an existing registry, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the registry is left as it was.
    pub async fn open(url: &str) -> Result<Self, RegistryError> {
        Self::open_as(url, IfMissing::Fail).await
    }

    /// Opens a registry. If it is missing, makes it: a file that its owner alone can read, or a schema in the database. With
    /// `?mode=rw` behind a file this is [`Registry::open`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing registry is left as it was.
    pub async fn open_or_create(url: &str) -> Result<Self, RegistryError> {
        Self::open_as(url, IfMissing::Create).await
    }

    async fn open_as(url: &str, if_missing: IfMissing) -> Result<Self, RegistryError> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            return Self::open_server(url, if_missing).await;
        }
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Self::open_file(url, if_missing).await;
        }
        let _ = (url, if_missing);
        Err(RegistryError::UnsupportedUrl)
    }

    #[cfg(feature = "postgres")]
    async fn open_server(url: &str, if_missing: IfMissing) -> Result<Self, RegistryError> {
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
            database: Database::Postgres(pool),
            cache: Cache::default(),
            last_uses: LastUses::default(),
        }))
    }

    #[cfg(feature = "sqlite")]
    async fn open_file(url: &str, if_missing: IfMissing) -> Result<Self, RegistryError> {
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
                database,
                cache: Cache::default(),
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
        self.shared.database.close().await;
    }
}

impl Shared {
    /// Runs a statement in a transaction of its own, and returns its first row.
    async fn write(&self, query: Query) -> Result<Option<Row>, RegistryError> {
        let mut connection = self.database.connection().await?;
        let row = connection.session().fetch_optional(query).await?;
        connection.finish().await?;
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
