use std::time::Duration;

use countersign::{Code, Timestamp};
use sqlx::postgres::PgDatabaseError;

use crate::error::StoreError;

/// Why a transaction has not claimed its nonce. Nothing of it will be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotClaimed {
    /// The nonce was used before: this request has been carried out.
    #[error("the nonce was used before")]
    Replayed,
    /// Signed before the low-water mark: whether this request has been carried out is forgotten. Signing anew after
    /// `retry_after` works.
    #[error("the request was signed before the low-water mark")]
    TooOld {
        /// When a new signature will be above the mark.
        retry_after: Duration,
    },
    /// Another transaction got in the way, which happens in `REPEATABLE READ` and `SERIALIZABLE`, and in deadlocks. The same
    /// request can be tried again in a new transaction.
    #[error("another transaction got in the way")]
    Conflict(#[source] StoreError),
    /// The database cannot answer.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl NotClaimed {
    /// What a refused caller is told: `signature-replayed`, `signature-stale`, or that the store cannot answer.
    pub const fn code(&self) -> Code {
        match self {
            Self::Replayed => Code::SignatureReplayed,
            Self::TooOld { .. } => Code::SignatureStale,
            Self::Conflict(_) | Self::Unavailable(_) => Code::ReplayStoreUnavailable,
        }
    }

    pub(super) fn of(error: sqlx::Error, now: Timestamp) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("NC001") => Self::Replayed,
            Some("NC002") => Self::TooOld { retry_after: until_mark(&error, now) },
            // serialization_failure, deadlock_detected
            Some("40001" | "40P01") => {
                Self::Conflict(StoreError::because("the nonce cannot be claimed now", error))
            }
            _ => StoreError::because("the nonce cannot be claimed", error).into(),
        }
    }
}

/// The function that claims says where the mark is.
fn until_mark(error: &sqlx::Error, now: Timestamp) -> Duration {
    let mark = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(|error| error.detail()?.parse().ok())
        .map(Timestamp::from_unix);
    let second = Duration::from_secs(1);
    mark.and_then(|mark| mark.since(now)).map_or(second, |wait| wait.max(second))
}
