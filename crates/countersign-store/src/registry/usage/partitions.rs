use std::{collections::BTreeSet, time::Duration};

use countersign::Timestamp;

use super::{table::Table, tally::Tally};
use crate::registry::{error::RegistryError, query::Cell, row::seconds, session::Session};

/// How long ahead partitions are made, so that no flush waits for the one that makes them.
const AHEAD: Duration = Duration::from_secs(60 * 60);

/// Makes the partitions that the rows of a batch and those of the next hour need. There are none in SQLite.
pub(super) async fn make(
    tally: &Tally,
    now: Timestamp,
    session: &mut Session<'_>,
) -> Result<(), RegistryError> {
    if !session.has_partitions() {
        return Ok(());
    }
    let mut needed = BTreeSet::new();
    for (at, (table, counts)) in (0_i64..).zip(&tally.tables) {
        let ahead = seconds(table.resolution.start(now.plus(AHEAD)));
        needed.insert((at, table.name, ahead));
        needed.extend(counts.keys().filter_map(|key| match key.first() {
            Some(Cell::Integer(start)) => Some((at, table.name, *start)),
            _ => None,
        }));
    }
    // In the order in which the tables are written.
    let rows: Vec<_> =
        needed.into_iter().map(|(_, name, at)| vec![name.into(), at.into()]).collect();
    let text = "SELECT countersign.make_usage_partition(v.column1, v.column2) AS made FROM {rows}";
    session.fetch_over(text, &rows).await?;
    Ok(())
}

/// Drops the partitions of a table that hold nothing of a time or later, and returns how many there were.
pub(super) async fn drop_before(
    table: Table,
    before: Timestamp,
    session: &mut Session<'_>,
) -> Result<u64, RegistryError> {
    let rows = [vec![table.name.into(), seconds(before).into()]];
    let text =
        "SELECT countersign.drop_usage_partitions(v.column1, v.column2) AS dropped FROM {rows}";
    let mut dropped = 0_u64;
    for row in session.fetch_over(text, &rows).await? {
        dropped = dropped.saturating_add(row.get::<i64>("dropped")?.unsigned_abs());
    }
    Ok(dropped)
}
