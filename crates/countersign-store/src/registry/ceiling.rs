use countersign::Timestamp;

use super::{History, Registry, row::seconds, statements};
use crate::{
    error::StoreError,
    nonces::ceiling::{Ceiling, Owner},
};

impl Ceiling for Registry {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let failed = "the replay ceiling cannot be taken over";
        let unavailable = |error| StoreError::because(failed, error);
        let mut connection = self.pool.connection().await.map_err(unavailable)?;
        let ceiling: Vec<Option<i64>> = sqlx::query_scalar(statements::TAKE_CEILING_OVER)
            .bind(owner.get())
            // Fetches to the end: SQLite commits a statement only when its last row was fetched.
            .fetch_all(&mut *connection)
            .await
            .map_err(unavailable)?;
        let ceiling = ceiling.into_iter().flatten().next().map(u64::try_from).transpose();
        let ceiling = ceiling.map_err(|error| StoreError::because(failed, error))?;
        Ok(match (ceiling, self.history) {
            (Some(ceiling), _) => Some(Timestamp::from_unix(ceiling)),
            (None, History::New) => None,
            // A copy made before the first ceiling looks like an unused registry.
            (None, History::Unknown) => Some(Timestamp::from_unix(0)),
        })
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        let unavailable =
            |error| StoreError::because("the replay ceiling cannot be written", error);
        let mut connection = self.pool.connection().await.map_err(unavailable)?;
        let raised = sqlx::query(statements::RAISE_CEILING)
            .bind(seconds(to))
            .bind(owner.get())
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        if raised.rows_affected() == 0 {
            return Err(StoreError::new("another server has taken over the replay ceiling"));
        }
        Ok(())
    }
}
