use countersign::Timestamp;

use super::{Registry, query::Query, row::seconds, shared::History, statements};
use crate::{
    error::StoreError,
    nonces::ceiling::{Ceiling, Owner},
};

impl Ceiling for Registry {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let failed = "the replay ceiling cannot be taken over";
        let unavailable = |error| StoreError::because(failed, error);
        let query = Query::new(statements::TAKE_CEILING_OVER).bind(owner.get());
        let row = self.shared.write(query).await.map_err(unavailable)?;
        let ceiling: Option<i64> = row
            .ok_or(StoreError::new(failed))?
            .get("seconds")
            .map_err(|error| StoreError::because(failed, error))?;
        let ceiling = ceiling.map(u64::try_from).transpose();
        let ceiling = ceiling.map_err(|error| StoreError::because(failed, error))?;
        Ok(match (ceiling, self.shared.history) {
            (Some(ceiling), _) => Some(Timestamp::from_unix(ceiling)),
            (None, History::New) => None,
            // A copy made before the first ceiling looks like an unused registry.
            (None, History::Unknown) => Some(Timestamp::from_unix(0)),
        })
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        let unavailable =
            |error| StoreError::because("the replay ceiling cannot be written", error);
        let query = Query::new(statements::RAISE_CEILING).bind(seconds(to)).bind(owner.get());
        match self.shared.write(query).await.map_err(unavailable)? {
            Some(_) => Ok(()),
            None => Err(StoreError::new("another server has taken over the replay ceiling")),
        }
    }
}
