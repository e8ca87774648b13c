use std::{io, time::Duration};

/// The longest wait for a connection.
pub(crate) const FOR_CONNECTION: Duration = Duration::from_secs(4);

/// The longest wait for the reply to a statement. A server whose machine is gone sends none, and the system notices that only
/// after a quarter of an hour.
pub(crate) const FOR_REPLY: Duration = Duration::from_secs(10);

/// Waits for a reply. Without one, the connection is to be closed: the reply could come later.
///
/// # Errors
///
/// [`sqlx::Error::Io`] of the kind `TimedOut` if there is none in time.
pub(crate) async fn for_reply<T>(
    reply: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no reply in 10 s"));
    tokio::time::timeout(FOR_REPLY, reply).await.map_err(late)?
}
