use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use super::{
    database::{Database, OwnConnection, Source},
    error::RegistryError,
    query::{Query, Row},
};

/// How many lookups run at the same time. Each takes tens of microseconds in a file, and a round trip on a server.
const MOST: u32 = 6;

/// The connections on which keys are looked up.
///
/// The pool of the driver asks the database once more before each use or after it, to see whether the connection still works.
/// Here a lookup is one statement and nothing else; if it fails on a connection that lay idle, it is made on a new one.
#[derive(Debug)]
pub(super) struct Readers {
    source: Source,
    idle: Mutex<Vec<OwnConnection>>,
    permits: Semaphore,
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
        let idle = self.lock().pop();
        if let Some(mut connection) = idle {
            if let Ok(row) = connection.fetch_optional(query()).await {
                self.lock().push(connection);
                return Ok(row);
            }
            // After a restart of the server all connections are cut.
            drop(mem::take(&mut *self.lock()));
        }
        let mut connection = self.source.connect().await?;
        let row = connection.fetch_optional(query()).await?;
        self.lock().push(connection);
        Ok(row)
    }

    /// Closes the connections, once the lookups that are under way have ended.
    pub(super) async fn close(&self) {
        let permits = self.permits.acquire_many(MOST).await;
        self.permits.close();
        drop(permits);
        let idle = mem::take(&mut *self.lock());
        for connection in idle {
            connection.close().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OwnConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
