use std::error::Error;

use sqlx::postgres::PgDatabaseError;

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
    /// The tables of the registry are missing or of an earlier version, and this user may not make them.
    #[error("this user of the database may not make or update the tables of the registry")]
    MayNotPrepare(#[source] Box<dyn Error + Send + Sync>),
    /// The server is a replica, or only lets read.
    #[error("the database server is read-only")]
    ReadOnly,
    /// Another transaction held a lock for too long.
    #[error("the registry is locked by another transaction")]
    Locked,
    /// The server cancelled the statement, which took longer than it is allowed to.
    #[error("the database server cancelled the statement")]
    Cancelled(#[source] Box<dyn Error + Send + Sync>),
    /// The disk of the server is full.
    #[error("there is no room left on the database server's disk")]
    DiskFull,
    /// The server found damage in its own files.
    #[error("the database is damaged")]
    Damaged(#[source] Box<dyn Error + Send + Sync>),
    /// A pooler has put two statements of one connection on two connections.
    #[error("a connection pooler in front of the database mixes up prepared statements")]
    Pooler,
}

impl ServerError {
    /// Finds what an error of PostgreSQL means; returns the error if it means nothing in particular.
    pub(crate) fn of(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        if is_connection_lost(&error) {
            return Ok(Self::Unreachable(error.into()));
        }
        match &error {
            sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                return Ok(Self::Unreachable(error.into()));
            }
            _ => {}
        }
        // Appendix A of PostgreSQL's documentation.
        match code(&error) {
            "28000" | "28P01" => Ok(Self::Refused(error.into())),
            "3D000" | "57P04" => Ok(Self::NoDatabase),
            // Somebody has dropped the schema or a table.
            "3F000" | "42P01" => Ok(Self::NoRegistry),
            "42501" => Ok(Self::NoPermission(error.into())),
            "25006" => Ok(Self::ReadOnly),
            "55P03" | "40P01" => Ok(Self::Locked),
            "57014" => Ok(Self::Cancelled(error.into())),
            "53100" => Ok(Self::DiskFull),
            "XX001" | "XX002" => Ok(Self::Damaged(error.into())),
            "26000" | "42P05" => Ok(Self::Pooler),
            "08P01" if are_parameters_of_another(&error) => Ok(Self::Pooler),
            // PgBouncer gives this code to all that it says itself.
            "08P01" if names_no_database(message(&error)) => Ok(Self::NoDatabase),
            "08P01" | "53300" => Ok(Self::Unreachable(error.into())),
            _ => Err(error),
        }
    }
}

/// Whether a connection is lost. What was asked may have been done or not.
pub(crate) fn is_connection_lost(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::Io(_)) {
        return true;
    }
    match code(error) {
        "08P01" => message(error).starts_with("server conn crashed"),
        // The server stops, starts, or ends connections that do nothing.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => true,
        code => code.starts_with("08"),
    }
}

/// Whether a statement got the parameters of another one: both had no name, and a pooler put them on one connection.
fn are_parameters_of_another(error: &sqlx::Error) -> bool {
    // PostgreSQL translates its messages, but not the names of its functions.
    let database = error.as_database_error();
    let server = database.and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    server.and_then(PgDatabaseError::routine) == Some("exec_bind_message")
}

fn names_no_database(message: &str) -> bool {
    message.starts_with("no such database")
        || (message.starts_with("database ") && message.ends_with(" does not exist"))
}

fn code(error: &sqlx::Error) -> &str {
    let database = error.as_database_error();
    database
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map_or("", PgDatabaseError::code)
}

fn message(error: &sqlx::Error) -> &str {
    error.as_database_error().map_or("", sqlx::error::DatabaseError::message)
}
