use countersign_store::{Registry, RegistryError, Usage, UsageQuery};

use super::{filter::FilterArgs, range::Range};
use crate::progress::waiting;

/// What every query of a command has in common.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) range: Range,
    pub(super) filter: FilterArgs,
}

impl Question {
    pub(super) const fn new(range: Range, filter: FilterArgs) -> Self {
        Self { range, filter }
    }

    /// A query for the calls of the range that match the filters.
    pub(super) fn query(&self) -> UsageQuery {
        self.filter.apply(UsageQuery::new(self.range.from, self.range.to))
    }

    /// Asks, and shows on a terminal what is counted if that takes a while.
    pub(super) async fn ask(
        &self,
        registry: &Registry,
        what: &str,
        query: UsageQuery,
    ) -> Result<Usage, RegistryError> {
        waiting(&format!("counting {what}"), registry.usage(&query, self.range.now)).await
    }
}
