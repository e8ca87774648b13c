use std::io;

use sqlx::sqlite::SqliteError;

use super::file::FileError;

impl FileError {
    /// Finds what an error of SQLite means; returns the error if it means nothing in particular.
    pub(crate) fn of(error: sqlx::Error) -> Result<Self, sqlx::Error> {
        let sqlite =
            error.as_database_error().and_then(|error| error.try_downcast_ref::<SqliteError>());
        let code =
            sqlite.and_then(|error| sqlx::error::DatabaseError::code(error)?.parse::<u32>().ok());
        // SQLite's extended result codes carry the primary one in their low byte.
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Ok(Self::Locked),
            Some(8) => Ok(Self::ReadOnly),
            Some(11 | 26) => Ok(Self::Damaged),
            Some(13) => Ok(Self::DiskFull),
            Some(14) => Ok(Self::CannotOpen(io::Error::other(error))),
            _ => Err(error),
        }
    }
}
