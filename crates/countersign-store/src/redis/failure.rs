use std::{sync::Arc, time::Duration};

use redis::{RedisError, Value};

use crate::error::StoreError;

/// Why Redis gave no usable reply. The message is for the server's logs and holds no password.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Redis(#[from] Arc<RedisError>),
    #[error("no reply came within {0:?}; the command may have been executed")]
    TimedOut(Duration),
    #[error("it cannot be reached")]
    NotConnected(#[source] Arc<Self>),
    #[error("a connection to it is still being made")]
    Connecting,
    #[error("it is a replica, and not the primary")]
    Replica,
    #[error(
        "its maxmemory-policy is `{0}`, by which it may forget nonces: write `maxmemory-policy noeviction` into \
         redis.conf, or run `CONFIG SET maxmemory-policy noeviction`"
    )]
    Evicts(String),
    #[error(
        "it has evicted keys, and nonces may be among them; their signatures are refused from now on"
    )]
    Evicted,
    #[error(
        "its clock says {theirs} and the server's {ours}, in seconds since 1970, which is more apart than {allowed:?}: \
         nothing is accepted until both are right"
    )]
    Clock { ours: u64, theirs: u64, allowed: Duration },
    #[error(
        "`{0}` is not a mark of this program: stop the servers, delete it, and start them after `max_age` and twice the skew"
    )]
    NotAMark(String),
    #[error("the signature is from the future")]
    Ahead,
    #[error("{got} replicas have the claim, and {wanted} are required")]
    Replicas { wanted: u32, got: i64 },
    #[error("its mark changed again and again")]
    Unsettled,
    #[error("the system has no randomness")]
    NoRandomness,
    #[error("its reply cannot be read: {0}")]
    Unreadable(&'static str),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(Arc::new(error))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::because("Redis cannot vouch for the request", failure)
    }
}

/// Reads a text from a reply of Redis.
pub(super) fn text(value: &Value) -> Result<&str, Failure> {
    match value {
        Value::BulkString(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| Failure::Unreadable("it is not a text"))
        }
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        _ => Err(Failure::Unreadable("it is not a text")),
    }
}

/// Reads a number from a reply of Redis.
pub(super) fn number<T: TryFrom<i64>>(value: Option<&Value>) -> Result<T, Failure> {
    match value {
        Some(&Value::Int(number)) => {
            T::try_from(number).map_err(|_| Failure::Unreadable("a number is out of range"))
        }
        _ => Err(Failure::Unreadable("it is not a number")),
    }
}
