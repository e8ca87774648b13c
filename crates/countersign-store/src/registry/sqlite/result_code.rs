use std::io;

use super::file::FileError;
use crate::registry::error::RegistryError;

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
