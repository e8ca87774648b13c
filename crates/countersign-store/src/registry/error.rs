use std::{error::Error, io, path::PathBuf};

use countersign::KeyError;
use sqlx::migrate::MigrateError;

/// Why a registry cannot do what it was asked to. Nothing was changed, unless a function says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Not `sqlite:FILE`.
    #[error("the registry's address is not of the form sqlite:FILE")]
    UnsupportedUrl,
    /// The address ends with `?mode=ro`. SQLite makes files beside a registry also for a reader, so a registry is never opened
    /// without writing.
    #[error("a registry cannot be opened with mode=ro")]
    ReadOnlyMode,
    /// The address has a parameter other than `?mode=rw` and `?mode=rwc`.
    #[error("the registry's address has a parameter that is not supported")]
    UnsupportedParameter,
    /// A file has the parameters of the address in its name. It may be the registry.
    #[error(
        "a file has the parameters of the registry's address in its name, and may be the registry"
    )]
    NamedByParameters,
    /// There is no such file.
    #[error("there is no registry file")]
    Missing,
    /// The file is empty: it never was a registry, or is only just being made one.
    #[error("the registry file is empty")]
    Empty,
    /// An SQLite database that is no registry.
    #[error("the file is a database of another program")]
    Foreign,
    /// Other users can read or write the registry, and it holds HMAC secrets or is about to.
    #[error("the registry is readable by other users, and HMAC secrets lie in it as they are")]
    Exposed {
        /// The files that others can open: the registry's own, and those that SQLite keeps beside it.
        files: Vec<PathBuf>,
    },
    /// The file cannot be opened or made: a folder that is not there, or no permission.
    #[error("the registry file cannot be opened")]
    CannotOpen(#[source] io::Error),
    /// Another process holds the database.
    #[error("the registry is locked by another process")]
    Locked,
    /// The file, its folder or its file system cannot be written.
    #[error("the registry is read-only")]
    ReadOnly,
    /// The disk is full.
    #[error("there is no room left on the registry's disk")]
    DiskFull,
    /// A later version of this software has written the database.
    #[error("the registry was written by a newer version of countersign")]
    NewerSchema,
    /// Not an SQLite database, or a damaged one.
    #[error("the registry file is damaged, or no SQLite database")]
    Damaged,
    /// A row that the checks at its registration would not have let in.
    #[error("credential {id} is damaged: {what}")]
    DamagedRow {
        /// The credential's number.
        id: i64,
        /// What is wrong with it.
        what: &'static str,
        /// What its key or its restrictions are refused for.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// An application whose row cannot be read.
    #[error("application {id} is damaged: one of its columns")]
    DamagedApplication {
        /// The application's number.
        id: i64,
        /// The column that cannot be read, and why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no such application or key.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The application or key is there already.
    #[error("{0} is already registered")]
    Exists(&'static str),
    /// The application has credentials that are not revoked.
    #[error("the application has keys that are not revoked")]
    InUse,
    /// The key is no secret of its holder: see [`VerifyingKey::require_secret`](countersign::VerifyingKey::require_secret).
    #[error("the key cannot be registered")]
    Key(#[source] KeyError),
    /// A name, environment or label that is not of the allowed form.
    #[error("{0}")]
    BadName(&'static str),
    /// Anything else that the database says.
    #[error("the registry cannot answer")]
    Database(#[source] Box<dyn Error + Send + Sync>),
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(database) => {
                database.code().and_then(|code| code.parse::<u32>().ok())
            }
            _ => None,
        };
        // SQLite's extended result codes carry the primary one in their low byte.
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Locked,
            Some(8) => Self::ReadOnly,
            Some(11 | 26) => Self::Damaged,
            Some(13) => Self::DiskFull,
            Some(14) => Self::CannotOpen(io::Error::other(error)),
            _ => Self::Database(error.into()),
        }
    }
}

impl From<MigrateError> for RegistryError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => Self::NewerSchema,
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Database(error.into()),
        }
    }
}
