use std::error::Error;

/// Why a PostgreSQL server did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No connection could be had: the server is down, too busy, or not at this address; or the connection was cut.
    #[error("the database server cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The server refuses this user, or the password.
    #[error("the database server refuses the user or the password")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The database does not exist.
    #[error("the database does not exist")]
    NoDatabase,
    /// The database has no registry.
    #[error("there is no registry in the database")]
    NoRegistry,
    /// This user may not do that.
    #[error("this user of the database lacks a permission")]
    NoPermission(#[source] Box<dyn Error + Send + Sync>),
    /// The server is a replica, or only lets read.
    #[error("the database server is read-only")]
    ReadOnly,
    /// Another transaction held a lock for too long.
    #[error("the registry is locked by another transaction")]
    Locked,
    /// The disk of the server is full.
    #[error("there is no room left on the database server's disk")]
    DiskFull,
    /// A pooler has put two statements of one connection on two connections.
    #[error("a connection pooler in front of the database mixes up prepared statements")]
    Pooler,
}

impl ServerError {
    /// Finds what an error of PostgreSQL means; returns the error if it means nothing in particular.
    pub(crate) fn of(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                return Ok(Self::Unreachable(error.into()));
            }
            _ => {}
        }
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        // Appendix A of PostgreSQL's documentation.
        match &*code {
            "28000" | "28P01" => Ok(Self::Refused(error.into())),
            "3D000" => Ok(Self::NoDatabase),
            "42501" => Ok(Self::NoPermission(error.into())),
            "25006" => Ok(Self::ReadOnly),
            "55P03" | "40P01" => Ok(Self::Locked),
            "53100" => Ok(Self::DiskFull),
            "26000" | "42P05" | "08P01" => Ok(Self::Pooler),
            // Connections are refused or cut: shutting down, starting, too many of them.
            "57P01" | "57P02" | "57P03" | "53300" | "57P05" => Ok(Self::Unreachable(error.into())),
            code if code.starts_with("08") => Ok(Self::Unreachable(error.into())),
            _ => Err(error),
        }
    }
}
