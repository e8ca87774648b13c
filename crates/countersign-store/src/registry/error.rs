use std::{convert::Infallible, error::Error, fmt, io};

use countersign::KeyError;
use sqlx::migrate::MigrateError;

use super::sqlite::file::FileError;
use crate::credential::name::BadName;

/// What is looked for in a registry, or added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// An application, by its name.
    Application,
    /// A credential, by its publishable key or its JWK thumbprint.
    Credential,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Credential => "key",
        })
    }
}

/// Why an operation on a registry failed. Nothing was changed, unless a function says otherwise.
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
    /// What is wrong with the registry's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A later version of this software has written the database.
    #[error("the registry was written by a newer version of countersign")]
    NewerSchema,
    /// A credential whose row has a value that could not have been registered.
    #[error("credential {id} is damaged: {what}")]
    DamagedRow {
        /// The credential's number.
        id: i64,
        /// The damaged part.
        what: &'static str,
        /// Why that part is damaged.
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
    /// No such application or key is registered.
    #[error("there is no such {0}")]
    NotFound(Subject),
    /// An application of this name, or this key, is registered already.
    #[error("{} is already registered", match .0 {
        Subject::Application => "an application with this name",
        Subject::Credential => "this key",
    })]
    Exists(Subject),
    /// The application has credentials that are not revoked.
    #[error("the application has keys that are not revoked")]
    InUse,
    /// The key is no secret of its holder: see [`VerifyingKey::require_secret`](countersign::VerifyingKey::require_secret).
    #[error("the key cannot be registered")]
    Key(#[source] KeyError),
    /// A text that is no name of an application, no environment or no label.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// Any other error of the database.
    #[error("the registry cannot answer")]
    Database(#[source] Box<dyn Error + Send + Sync>),
}

/// For functions that take a name as a text or as a name.
impl From<Infallible> for RegistryError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
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
            Some(5 | 6) => FileError::Locked.into(),
            Some(8) => FileError::ReadOnly.into(),
            Some(11 | 26) => FileError::Damaged.into(),
            Some(13) => FileError::DiskFull.into(),
            Some(14) => FileError::CannotOpen(io::Error::other(error)).into(),
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
