use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign::Timestamp;

use super::{
    kept::Kept,
    span::Resolution,
    table::{Subject, Table},
};
use crate::{
    credential::CredentialId,
    registry::{query::Cell, row::seconds},
    usage::{
        batch::UsageBatch,
        call::{CallCount, RouteLabel},
        event::{EventCount, EventKind},
    },
};

/// The longest text in a row, in bytes. What is counted are labels: longer ones are cut.
const LONGEST: usize = 255;
/// The largest count of a batch. It leaves room for thousands of them in a row.
const LARGEST: i64 = 1 << 50;
/// How far the clock of a server may be ahead of the clock of the one that saves.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The rows of a table: counts by key, in the order of the keys. Servers that add to the same rows do so in the same order, and
/// do not wait for each other in a circle.
pub(super) type Counts = BTreeMap<Vec<Cell>, Vec<i64>>;

/// A batch as rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The rows of each table, in the order of [`Table::ALL`].
    pub(super) tables: Vec<(Table, Counts)>,
    pub(super) events: Events,
    /// How many calls are left out of all tables: they are older than what is kept, or in the future.
    pub(super) left_out: u64,
}

/// Events by credential, kind and detail.
pub(super) type Events = BTreeMap<(i64, EventKind, Arc<str>), EventCount>;

impl Tally {
    pub(super) fn of(batch: &UsageBatch, kept: &Kept, now: Timestamp) -> Self {
        let mut tally = Self::default();
        let until = now.plus(AHEAD);
        for table in Table::ALL {
            let since = kept.since(table.resolution);
            let is_kept = |at: Timestamp| table.resolution.start(at) >= since && at <= until;
            let mut counts = Counts::new();
            let mut add = |at: Timestamp, key: Vec<Cell>, count: Vec<i64>, calls: u64| {
                if is_kept(at) {
                    let start = Cell::Integer(seconds(table.resolution.start(at)));
                    add_to(&mut counts, std::iter::once(start).chain(key).collect(), &count);
                } else if table.resolution == Resolution::Day && table.subject == Subject::Calls {
                    tally.left_out = tally.left_out.saturating_add(calls);
                }
            };
            match table.subject {
                Subject::Calls => batch.calls.iter().for_each(|(key, count)| {
                    let route = match &key.route {
                        RouteLabel::Declared(route) => label(route),
                        RouteLabel::Other => "".into(),
                    };
                    let cells = vec![
                        credential(key.credential),
                        route,
                        label(key.method.as_str()),
                        key.access.as_str().into(),
                        key.outcome.as_str().into(),
                        Cell::Integer(key.status.as_u16().into()),
                    ];
                    add(key.minute, cells, sums(count), count.calls);
                }),
                Subject::Places => batch.places.iter().for_each(|(key, calls)| {
                    let prefix = key.prefix.map(|prefix| prefix.to_string()).unwrap_or_default();
                    let cells = vec![
                        credential(key.credential),
                        key.access.as_str().into(),
                        (*prefix).into(),
                    ];
                    add(key.hour, cells, vec![integer(*calls)], *calls);
                }),
                Subject::Clients => batch.clients.iter().for_each(|(key, calls)| {
                    let cells = vec![
                        credential(key.credential),
                        key.access.as_str().into(),
                        key.platform.as_str().into(),
                        label(key.product.as_deref().unwrap_or_default()),
                    ];
                    add(key.hour, cells, vec![integer(*calls)], *calls);
                }),
            }
            tally.tables.push((table, counts));
        }
        for (key, count) in &batch.events {
            let detail = cut(key.detail.as_deref().unwrap_or_default());
            add_event(&mut tally.events, (key.credential.get(), key.kind, detail), *count);
        }
        tally
    }
}

/// Adds to the counts of a key.
pub(super) fn add_to(counts: &mut Counts, key: Vec<Cell>, added: &[i64]) {
    let sums = counts.entry(key).or_insert_with(|| vec![0; added.len()]);
    for (sum, added) in sums.iter_mut().zip(added) {
        *sum = sum.saturating_add(*added).min(LARGEST);
    }
}

/// Adds to what is known of an event.
pub(super) fn add_event(events: &mut Events, key: (i64, EventKind, Arc<str>), added: EventCount) {
    let event = events.entry(key).or_insert(EventCount { count: 0, verified: 0, ..added });
    event.first = event.first.min(added.first);
    event.last = event.last.max(added.last);
    event.count = event.count.saturating_add(added.count);
    event.verified = event.verified.saturating_add(added.verified);
}

/// The number of a credential in a row.
fn credential(id: Option<CredentialId>) -> Cell {
    Cell::Integer(id.map_or(0, CredentialId::get))
}

fn label(text: &str) -> Cell {
    Cell::Text(cut(text))
}

/// A text that both databases take: not too long for an index, and without the character that PostgreSQL refuses.
fn cut(text: &str) -> Arc<str> {
    let text = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}

pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(LARGEST).min(LARGEST)
}

fn sums(count: &CallCount) -> Vec<i64> {
    let micros = u64::try_from(count.duration.as_micros()).unwrap_or(u64::MAX);
    let sums = [count.calls, count.bytes_in, count.bytes_out, micros];
    sums.iter().chain(count.latencies.counts()).map(|count| integer(*count)).collect()
}
