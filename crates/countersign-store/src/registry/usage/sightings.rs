use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use countersign::Timestamp;

use super::{
    bounds::numbered,
    tally::{Counts, Events, add_event, integer},
};
use crate::{
    registry::{error::RegistryError, query::Cell, row::seconds, session::Session},
    usage::{
        call::CallAccess,
        event::{EventCount, EventKind},
    },
};

/// Signed requests from more networks than that in one hour are an event.
const MANY: i64 = 50;

/// What a credential may do for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) kind: EventKind,
    /// The table by day, in which it is looked up.
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// Where the column is in the key of that table.
    pub(super) place: usize,
}

pub(super) const NETWORK: Sighting = Sighting {
    kind: EventKind::FirstNetwork,
    table: "usage_place_day",
    column: "prefix",
    place: 3,
};

pub(super) const PLATFORM: Sighting = Sighting {
    kind: EventKind::FirstPlatform,
    table: "usage_client_day",
    column: "platform",
    place: 3,
};

impl Sighting {
    /// Finds what credentials with a past do for the first time, among the keys that are new by day. Comes before the rows of the
    /// batch are added.
    pub(super) async fn find(
        self,
        new_by_day: &[Vec<Cell>],
        by_hour: &Counts,
        now: Timestamp,
        events: &mut Events,
        session: &mut Session<'_>,
    ) -> Result<(), RegistryError> {
        let new: BTreeSet<_> = new_by_day.iter().filter_map(|key| self.signed(key)).collect();
        let pairs: Vec<_> = new
            .iter()
            .map(|(id, what)| vec![Cell::Integer(*id), Cell::Text(what.clone())])
            .collect();
        let rows = numbered(&pairs.iter().collect::<Vec<_>>());
        let Self { table, column, .. } = self;
        let text = format!(
            "SELECT v.column3 AS number FROM {{rows}}
             WHERE EXISTS (SELECT 1 FROM countersign.{table} t
                           WHERE t.access = 'signed' AND t.credential = v.column1)
             AND NOT EXISTS (SELECT 1 FROM countersign.{table} t
                             WHERE t.access = 'signed' AND t.credential = v.column1 AND t.{column} = v.column2)"
        );
        let found = session.fetch_over(&text, &rows).await?;
        if found.is_empty() {
            return Ok(());
        }
        let counts = self.counts(by_hour, now);
        let new: Vec<_> = new.into_iter().collect();
        for row in found {
            let number = usize::try_from(row.get::<i64>("number")?).unwrap_or(usize::MAX);
            let Some(key) = new.get(number) else { continue };
            let Some(count) = counts.get(key) else { continue };
            add_event(events, (key.0, self.kind, key.1.clone()), *count);
        }
        Ok(())
    }

    /// Returns the credential of a row, and what it did, if that was signed and is told apart.
    fn signed(self, key: &[Cell]) -> Option<(i64, Arc<str>)> {
        let (Cell::Integer(id), Cell::Text(access), Cell::Text(what)) =
            (key.get(1)?, key.get(2)?, key.get(self.place)?)
        else {
            return None;
        };
        let is_signed = **access == *CallAccess::Signed.as_str();
        (is_signed && *id != 0 && !what.is_empty()).then(|| (*id, what.clone()))
    }

    /// How often each credential did what, and when: now, or in an hour before.
    fn counts(self, by_hour: &Counts, now: Timestamp) -> BTreeMap<(i64, Arc<str>), EventCount> {
        let mut counts = Events::new();
        for (key, calls) in by_hour {
            let (Some((id, what)), Some(Cell::Integer(hour))) = (self.signed(key), key.first())
            else {
                continue;
            };
            let hour = Timestamp::from_unix(hour.unsigned_abs());
            let end = Timestamp::from_unix(hour.unix().saturating_add(60 * 60 - 1));
            let at = now.clamp(hour, end);
            let calls = calls.first().copied().unwrap_or_default().unsigned_abs();
            let count = EventCount { first: at, last: at, count: calls, verified: calls };
            add_event(&mut counts, (id, self.kind, what), count);
        }
        counts.into_iter().map(|((id, _, what), count)| ((id, what), count)).collect()
    }
}

/// Adds an event for each hour in which a credential was used from many networks, once. Comes after the rows of the batch were
/// added.
pub(super) async fn many_networks(
    by_hour: &Counts,
    session: &mut Session<'_>,
) -> Result<(), RegistryError> {
    let hours: BTreeSet<_> = by_hour
        .keys()
        .filter_map(|key| match (key.first()?, NETWORK.signed(key)) {
            (hour, Some((id, _))) => Some(vec![hour.clone(), Cell::Integer(id)]),
            _ => None,
        })
        .collect();
    let rows: Vec<_> = hours.into_iter().collect();
    let text = format!(
        "SELECT v.column1 AS hour, v.column2 AS credential FROM {{rows}}
         WHERE (SELECT COUNT(*) FROM countersign.usage_place_hour t
                WHERE t.at = v.column1 AND t.credential = v.column2 AND t.access = 'signed' AND t.prefix <> '') > {MANY}"
    );
    let found = session.fetch_over(&text, &rows).await?;
    // The credentials in their order; each hour of one in a statement of its own, as each changes the same row.
    let mut many = BTreeSet::new();
    for row in found {
        many.insert((row.get::<i64>("credential")?, row.get::<i64>("hour")?));
    }
    for (credential, hour) in many {
        let event = [
            credential.into(),
            EventKind::ManyNetworks.as_str().into(),
            "".into(),
            hour.into(),
            hour.into(),
            1.into(),
            1.into(),
        ];
        session.execute_over(ADD_ONCE, &[event.to_vec()]).await?;
    }
    Ok(())
}

/// Adds an event unless it is known of this time, or a later one.
const ADD_ONCE: &str =
    "INSERT INTO countersign.usage_event (credential, kind, detail, first, last, count, verified)
     SELECT * FROM {rows} WHERE TRUE ON CONFLICT (credential, kind, detail) DO UPDATE
     SET last = excluded.last, count = usage_event.count + 1, verified = usage_event.verified + 1
     WHERE usage_event.last < excluded.last";

/// Adds events.
const ADD: &str =
    "INSERT INTO countersign.usage_event (credential, kind, detail, first, last, count, verified)
     SELECT * FROM {rows} WHERE TRUE ON CONFLICT (credential, kind, detail) DO UPDATE
     SET first = CASE WHEN excluded.first < usage_event.first THEN excluded.first ELSE usage_event.first END,
         last = CASE WHEN excluded.last > usage_event.last THEN excluded.last ELSE usage_event.last END,
         count = usage_event.count + excluded.count,
         verified = usage_event.verified + excluded.verified";

/// Adds events to those that are known.
pub(super) async fn add(events: &Events, session: &mut Session<'_>) -> Result<(), RegistryError> {
    let rows = events.iter().map(|((credential, kind, detail), count)| {
        vec![
            (*credential).into(),
            kind.as_str().into(),
            Cell::Text(detail.clone()),
            seconds(count.first).into(),
            seconds(count.last).into(),
            integer(count.count).into(),
            integer(count.verified).into(),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    // By the texts, as other servers do that may know other kinds.
    rows.sort();
    session.execute_over(ADD, &rows).await?;
    Ok(())
}
