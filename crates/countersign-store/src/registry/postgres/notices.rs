use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::pool::Pool;
use crate::registry::watch::Signal;

/// How long to wait before listening is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Has the changes looked at whenever there is a notice, until the pool is closed. Where no notices are to be had, and while the
/// connection is lost, changes are seen a moment later by the poll.
pub(crate) async fn listen(pool: Pool, signal: Arc<Signal>) {
    loop {
        match pass_on(&pool, &signal).await {
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::debug!(%error, "no notices of changes are received"),
        }
        sleep(PAUSE).await;
    }
}

async fn pass_on(pool: &Pool, signal: &Signal) -> Result<Infallible, sqlx::Error> {
    let mut listener = pool.listen().await?;
    loop {
        // Without a notice the connection was lost, and a notice may have been.
        let _notice = listener.try_recv().await?;
        signal.hurry();
    }
}
