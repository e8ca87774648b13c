//! Applications and credentials in a database: today an SQLite file.
//!
//! Reads and changes are in [`applications`] and [`credentials`], the statements of both in [`statements`]. Every change goes
//! through [`change`]. A row becomes a value in [`row`], and is damaged if it cannot. What is true of SQLite alone is in
//! [`sqlite`]: the file, its address, its schema.

pub(crate) mod applications;
mod cache;
mod ceiling;
mod change;
pub(crate) mod credentials;
pub(crate) mod damaged;
mod database;
pub(crate) mod error;
mod key_store;
pub(crate) mod new_credential;
mod row;
pub(crate) mod sqlite;
mod statements;
mod stored_restrictions;

use std::path::{Path, PathBuf};

use self::{
    cache::Cache,
    database::Database,
    error::RegistryError,
    sqlite::{
        address::{Address, IfMissing},
        file::{self, Content, FileError},
    },
};

/// The applications and credentials that a service knows, in an SQLite file.
///
/// Lookups are cached for 5 s: a change takes effect at once in this registry, and within 5 s in other processes that have the
/// same file open.
///
/// For Ed25519 the file holds nothing that could sign. HMAC secrets lie in it unencrypted, and in the files that SQLite keeps
/// beside an open registry; a reader of these files can sign. So a registry with HMAC secrets belongs to its owner alone: if
/// other users can read or write one of its files, opening the registry takes that right from them, and logs a warning with
/// the names of the files. [`Registry::closed_files`] returns the names.
///
/// The address of a registry is `sqlite:FILE`. `sqlite:FILE?mode=rwc` means the same; with `?mode=rw` the file is never made.
/// Any other parameter is refused, `?mode=ro` included.
#[derive(Debug)]
pub struct Registry {
    file: PathBuf,
    history: History,
    closed_files: Vec<PathBuf>,
    database: Database,
    cache: Cache,
}

/// What may have been accepted with a registry before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// Nothing: the registry was made when it was opened.
    New,
    /// Anything: the registry was there, and may be a copy.
    Unknown,
}

impl Registry {
    /// Opens an existing registry, `sqlite:FILE`, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the file is left as it was.
    pub async fn open(url: &str) -> Result<Self, RegistryError> {
        let Address { file, .. } = Address::parse(url)?;
        match Content::of(&file)? {
            Content::Registry => Self::connect(file, History::Unknown).await,
            Content::Empty => Err(FileError::Empty.into()),
        }
    }

    /// Opens a registry, `sqlite:FILE`. If the file is empty or missing, makes the registry, readable by its owner alone. With
    /// `?mode=rw` behind the file this is [`Registry::open`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing file is left as it was.
    pub async fn open_or_create(url: &str) -> Result<Self, RegistryError> {
        let Address { file, if_missing } = Address::parse(url)?;
        if if_missing == IfMissing::Fail {
            return Self::open(url).await;
        }
        file::create(&file)?;
        match Content::of(&file)? {
            Content::Registry => Self::connect(file, History::Unknown).await,
            Content::Empty => Self::connect(file, History::New).await,
        }
    }

    async fn connect(file: PathBuf, history: History) -> Result<Self, RegistryError> {
        let database = Database::open(&file).await?;
        match close_secrets(&file, &database).await {
            Ok(closed_files) => {
                Ok(Self { file, history, closed_files, database, cache: Cache::default() })
            }
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// The file of an address, for messages: the text between `sqlite:` and the parameters.
    pub fn file_of(url: &str) -> Option<&Path> {
        Address::file_of(url)
    }

    /// The file of this registry: its address without `sqlite:` and the parameters.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The files of this registry that other users could read or write until this opening closed them, because HMAC secrets
    /// lie in them.
    ///
    /// A program that has the file open goes on reading it, and a user who has read a secret can sign. Stop the servers, run
    /// `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the file, then revoke the HMAC keys and register new
    /// ones. A registry that was stopped in order has no `FILE-wal`.
    pub fn closed_files(&self) -> &[PathBuf] {
        &self.closed_files
    }

    /// Closes the registry, and folds the write-ahead log into its file, so that the file can be copied alone.
    pub async fn close(self) {
        self.database.close().await;
    }
}

/// Closes the files of a registry with HMAC secrets to other users, and returns the files that were open.
async fn close_secrets(file: &Path, database: &Database) -> Result<Vec<PathBuf>, RegistryError> {
    // Looking at the files first: a registry that nobody else can open need not be searched.
    if file::exposed(file)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = database.connection().await?;
    let has_secrets: bool =
        sqlx::query_scalar(statements::HAS_SECRETS).fetch_one(&mut *connection).await?;
    drop(connection);
    if !has_secrets {
        return Ok(Vec::new());
    }
    let closed = file::close(file)?;
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
