//! Usage in the database of a registry.
//!
//! A batch is added to all [`table`]s in one transaction: [`tally`] makes rows of it, [`bounds`] keeps their number bounded,
//! [`sightings`] finds what a credential does for the first time, and [`saving`] has the order of it all. So there is no later
//! step from minutes to hours and days, which could lose or double what comes late. [`counts`] and [`events`] read.

mod bounds;
pub(crate) mod counts;
pub(crate) mod event_feed;
pub(crate) mod event_watch;
pub(crate) mod events;
mod kept;
mod partitions;
pub(crate) mod pruning;
pub(crate) mod response;
mod saving;
mod selection;
mod sightings;
mod span;
mod table;
mod tally;
pub(super) mod upkeep;
pub(crate) mod usage_query;
