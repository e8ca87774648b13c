use std::time::Duration;

use countersign::{Code, Timestamp};
use sqlx::postgres::PgDatabaseError;

use crate::error::StoreError;

/// Why a transaction has not claimed its nonce. None of the transaction's writes will be committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotClaimed {
    /// The nonce was used before: this request has been carried out.
    #[error("the nonce was used before")]
    Replayed,
    /// The request was signed before the low-water mark, so the database no longer knows whether it has been carried out. A new
    /// signature after `retry_after` works.
    #[error("the request was signed before the low-water mark")]
    TooOld {
        /// The time until a new signature is above the mark.
        retry_after: Duration,
    },
    /// Another transaction got in the way, which happens in `REPEATABLE READ` and `SERIALIZABLE`, and in deadlocks. Try the
    /// same request again in a new transaction.
    #[error("another transaction got in the way")]
    Conflict(#[source] StoreError),
    /// The database cannot claim the nonce.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl NotClaimed {
    /// Returns the code for the refused caller: `signature-replayed`, `signature-stale` or `replay-store-unavailable`.
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

/// Returns the time until the low-water mark, at least 1 s. The SQL function that claims gives the mark in the error's detail.
fn until_mark(error: &sqlx::Error, now: Timestamp) -> Duration {
    let mark = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(|error| error.detail()?.parse().ok())
        .map(Timestamp::from_unix);
    let second = Duration::from_secs(1);
    mark.and_then(|mark| mark.since(now)).map_or(second, |wait| wait.max(second))
}
