use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    database::{Database, OwnConnection, Source},
    error::RegistryError,
    query::{Query, Row},
};

/// How many lookups run at the same time. Each takes tens of microseconds in a file, and a round trip on a server.
const MOST: u32 = 6;

/// How long a connection may lie idle. Firewalls forget connections after some minutes, and then it hangs.
const IDLE: Duration = Duration::from_secs(180);

/// How long a lookup waits for a connection that lay idle, before it is made on a new one.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connections on which keys are looked up.
///
/// The pool of the driver asks the database once more before each use and after it, to see whether the connection still works.
/// Here a lookup is one statement and nothing else; if it fails on a connection that lay idle, it is made on a new one.
#[derive(Debug)]
pub(super) struct Readers {
    source: Source,
    /// The connection that was used last is the last.
    idle: Mutex<Vec<Idle>>,
    permits: Semaphore,
}

#[derive(Debug)]
struct Idle {
    connection: OwnConnection,
    since: Instant,
}

impl Readers {
    pub(super) fn of(database: &Database) -> Self {
        Self {
            source: database.source(),
            idle: Mutex::default(),
            permits: Semaphore::new(usize::try_from(MOST).unwrap_or(1)),
        }
    }

    /// Runs a statement that only reads, and returns its first row.
    pub(super) async fn fetch_optional(
        &self,
        query: impl Fn() -> Query,
    ) -> Result<Option<Row>, RegistryError> {
        let _permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        self.source.require_in_place()?;
        if let Some(mut connection) = self.take() {
            let fetched = timeout(PATIENCE, connection.fetch_optional(query())).await;
            if let Ok(Ok(row)) = fetched {
                self.put_back(connection);
                return Ok(row);
            }
            // After a restart of the server all connections are cut.
            drop(mem::take(&mut *self.lock()));
        }
        let mut connection = self.source.connect().await?;
        let row = connection.fetch_optional(query()).await?;
        self.put_back(connection);
        Ok(row)
    }

    fn take(&self) -> Option<OwnConnection> {
        let mut idle = self.lock();
        idle.pop_if(|idle| idle.since.elapsed() < IDLE).map(|idle| idle.connection)
    }

    fn put_back(&self, connection: OwnConnection) {
        let mut idle = self.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        idle.push(Idle { connection, since: Instant::now() });
    }

    /// Closes the connections, once the lookups that are under way have ended.
    pub(super) async fn close(&self) {
        let permits = self.permits.acquire_many(MOST).await;
        self.permits.close();
        drop(permits);
        let idle = mem::take(&mut *self.lock());
        for Idle { connection, .. } in idle {
            connection.close().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
