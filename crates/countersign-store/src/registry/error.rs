use std::{convert::Infallible, error::Error, fmt};

use countersign::KeyError;
use sqlx::migrate::MigrateError;

use super::cursor::BadCursor;
#[cfg(feature = "postgres")]
use super::postgres::failure::ServerError;
#[cfg(feature = "sqlite")]
use super::sqlite::file::FileError;
#[cfg(feature = "registry-text")]
use super::text::bad_registry_text::BadRegistryText;
use super::usage::usage_query::BadUsageQuery;
#[cfg(feature = "postgres")]
use crate::postgres_schema::Unprepared;
use crate::{
    credential::{name::BadName, rotation::NotReplaced},
    sealed_secret::NotOpened,
};

/// A kind of entry in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// An application, identified by its name.
    Application,
    /// A credential, identified by its publishable key or its JWK thumbprint.
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

/// The forms of an address.
const FORMS: &str = match (cfg!(feature = "sqlite"), cfg!(feature = "postgres")) {
    (true, true) => "sqlite:FILE or postgres://USER@HOST/DATABASE",
    (true, false) => "sqlite:FILE",
    _ => "postgres://USER@HOST/DATABASE",
};

/// Why an operation on a registry failed. Nothing was changed, unless a function says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The address is not of the form `sqlite:FILE` or `postgres://…`, or of one whose feature is off.
    #[error("the registry's address is not of the form {FORMS}")]
    UnsupportedUrl,
    /// The address of a file ends with `?mode=ro`. SQLite makes files beside a registry even for a reader, so a registry is always
    /// opened for writing.
    #[error("a registry cannot be opened with mode=ro")]
    ReadOnlyMode,
    /// The address has a parameter that is unknown: of a file, other than `?mode=rw` and `?mode=rwc`; of a server, other than those
    /// of libpq that the driver knows.
    #[error("the registry's address has a parameter that is not supported")]
    UnsupportedParameter,
    /// A file has the parameters of the address in its name. It may be the registry: a program took them for the name.
    #[error(
        "a file has the parameters of the registry's address in its name, and may be the registry"
    )]
    NamedByParameters,
    /// An error of the registry's file.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    File(#[from] FileError),
    /// An error of the registry's database server.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A later version of this software has written the database.
    #[error("the registry was written by a newer version of countersign")]
    NewerSchema,
    /// The row of a credential has a value that could not have been registered.
    #[error("credential {id} is damaged: {what}")]
    DamagedCredential {
        /// The credential's number.
        id: i64,
        /// The damaged part.
        what: &'static str,
        /// Why that part is damaged.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The HMAC secret of a credential is sealed with a master key that the registry was not opened with.
    #[error("credential {id} cannot be used")]
    Sealed {
        /// The credential's number.
        id: i64,
        /// The id of the missing master key.
        source: NotOpened,
    },
    /// The registry was opened without a master key, which is needed to seal secrets.
    #[error("no master key is given")]
    NoMasterKey,
    /// The row of an application cannot be read.
    #[error("application {id} is damaged: one of its columns")]
    DamagedApplication {
        /// The application's number.
        id: i64,
        /// The column that cannot be read, and why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The application or key is not registered.
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
    /// A place in a list is not one of that list.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// A query of usage cannot be answered.
    #[error(transparent)]
    Usage(#[from] BadUsageQuery),
    /// The key is revoked, for ever.
    #[error("the key is revoked")]
    Revoked,
    /// The key cannot be replaced by another.
    #[error(transparent)]
    NotReplaced(#[from] NotReplaced),
    /// The key is not a secret of its holder: see
    /// [`VerifyingKey::require_secret`](countersign::VerifyingKey::require_secret).
    #[error("the key cannot be registered")]
    Key(#[source] KeyError),
    /// A text is not a valid name of an application, environment, label, contact, note, reason or actor.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The text of a registry is invalid, or cannot be applied to this registry.
    #[cfg(feature = "registry-text")]
    #[error(transparent)]
    Text(#[from] BadRegistryText),
    /// The registry was changed after a [`Plan`](crate::Plan) was made. Make another.
    #[cfg(feature = "registry-text")]
    #[error("the registry was changed since it was compared with the text")]
    Outdated,
    /// The connection was lost during a change, and whether the change was made cannot be found out.
    #[error("the connection was lost during a change, which may have been made or not")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
    /// Any other error of the database.
    #[error("the registry cannot answer")]
    Database(#[source] Box<dyn Error + Send + Sync>),
}

/// Lets functions take a name as a text or as a parsed name.
impl From<Infallible> for RegistryError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl RegistryError {
    /// Whether the same may succeed a moment later: the server is starting again, or another transaction holds a lock.
    #[cfg(feature = "postgres")]
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Server(ServerError::Unreachable(_) | ServerError::Locked))
    }

    /// Whether the same may succeed a moment later.
    #[cfg(not(feature = "postgres"))]
    pub(super) const fn may_pass(&self) -> bool {
        false
    }
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        #[cfg(feature = "sqlite")]
        let error = match FileError::of(error) {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        #[cfg(feature = "postgres")]
        let error = match ServerError::of(error) {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        Self::Database(error.into())
    }
}

#[cfg(feature = "postgres")]
impl From<Unprepared> for RegistryError {
    fn from(error: Unprepared) -> Self {
        match error {
            Unprepared::NotRead(error) => error.into(),
            Unprepared::NotApplied(error) => match error.into() {
                Self::Server(ServerError::NoPermission(error)) => {
                    ServerError::MayNotPrepare(error).into()
                }
                error => error,
            },
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
