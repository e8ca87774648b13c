use std::error::Error;

use countersign::Timestamp;

use super::{
    bounds::{Admitted, Bounded},
    kept::Kept,
    partitions, sightings,
    span::Resolution,
    table::{Subject, Table},
    tally::{Counts, Events, Tally, add_event},
};
use crate::{
    error::StoreError,
    registry::{
        Registry,
        error::RegistryError,
        query::{Cell, Query},
        row::seconds,
        session::Session,
    },
    usage::{UsageSink, batch::UsageBatch, event::EventKind},
};

/// Notes a batch. Parameters: `server`, `number`, `at`. Changes nothing if it was saved before.
const NOTE_BATCH: &str =
    "INSERT INTO countersign.usage_flush (server, number, at) VALUES ($1, $2, $3)
                          ON CONFLICT DO NOTHING";

/// How many networks of a credential are told apart in an hour, or a day, for each access: whoever knows a publishable key cannot
/// push the networks of the signed requests out.
const NETWORKS: u64 = 1000;
/// How many platforms and products are.
const CLIENTS: u64 = 100;
/// How many details of an event of a credential are.
const DETAILS: u64 = 1000;

/// In PostgreSQL the tables are partitions of days, months and years, which a flush makes an hour ahead. Nothing locks a row of
/// an application or a credential, and nothing is announced.
///
/// Bounded is what is kept apart: for a credential and an access 1,000 networks and 100 platforms and products an hour and a day,
/// and 1,000 details of a kind of event. Further ones are counted together. With the retention, this bounds the room on the disk:
/// calls take a row for each minute, hour and day, and each route, method, access, outcome and status that occurred in it.
impl UsageSink for Registry {
    async fn save(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        let saved = self.save_usage(batch, now).await;
        saved.map_err(|error| StoreError::because("usage cannot be saved", error))?;
        if self.shared.usage.is_due(now)
            && let Err(error) = self.prune_some(now).await
        {
            let error = &error as &dyn Error;
            tracing::warn!(error, "usage that is too old to be kept could not be removed now");
        }
        Ok(())
    }
}

impl Registry {
    async fn save_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), RegistryError> {
        let mut tally = Tally::of(batch, &Kept::by(&self.shared.usage.retention(), now), now);
        let mut transaction = self.shared.database.begin().await?;
        let note = Query::new(NOTE_BATCH)
            .bind(batch.server.cast_signed())
            .bind(batch.number.cast_signed())
            .bind(seconds(now));
        if transaction.session().execute(note).await? == 0 {
            // Dropped, it would be undone as well, but the connection would be closed.
            return Ok(transaction.rollback().await?);
        }
        let added = add(&mut tally, now, &mut transaction.session()).await;
        let others = match added {
            Ok(others) => others,
            Err(error) => {
                drop(transaction.rollback().await);
                return Err(error);
            }
        };
        transaction.commit().await?;
        metrics::counter!("countersign_usage_left_out_total").increment(tally.left_out);
        for (of, calls) in
            [("network", others.networks), ("product", others.products), ("event", others.details)]
        {
            metrics::counter!("countersign_usage_others_total", "of" => of).increment(calls);
        }
        Ok(())
    }
}

/// How much was counted together, since it was beyond a bound.
#[derive(Debug, Default)]
struct Others {
    networks: u64,
    products: u64,
    details: u64,
}

async fn add(
    tally: &mut Tally,
    now: Timestamp,
    session: &mut Session<'_>,
) -> Result<Others, RegistryError> {
    // First, since it waits for whoever is making them: nothing is locked yet.
    partitions::make(tally, now, session).await?;
    let mut others = Others::default();
    let mut events = std::mem::take(&mut tally.events);
    let mut by_hour = Counts::new();
    for (table, counts) in &mut tally.tables {
        let bounded = bounded(*table);
        let admitted = match bounded {
            Some(bounded) => bounded.admit(counts, session).await?,
            None => Admitted::default(),
        };
        match (table.subject, table.resolution) {
            (Subject::Places, Resolution::Day) => {
                let found =
                    sightings::NETWORK.find(&admitted.new, &by_hour, now, &mut events, session);
                found.await?;
            }
            (Subject::Clients, Resolution::Day) => {
                let found =
                    sightings::PLATFORM.find(&admitted.new, &by_hour, now, &mut events, session);
                found.await?;
            }
            _ => {}
        }
        match table.subject {
            Subject::Calls => {}
            Subject::Places => others.networks = others.networks.saturating_add(admitted.others),
            Subject::Clients => others.products = others.products.saturating_add(admitted.others),
        }
        let rows: Vec<_> = counts.iter().map(row).collect();
        session.execute_over(&table.add(), &rows).await?;
        if table.subject == Subject::Places && table.resolution == Resolution::Hour {
            sightings::many_networks(counts, session).await?;
        }
        if table.resolution == Resolution::Hour {
            by_hour = std::mem::take(counts);
        }
    }
    others.details = admit_events(&mut events, session).await?;
    sightings::add(&events, session).await?;
    Ok(others)
}

fn row((key, counts): (&Vec<Cell>, &Vec<i64>)) -> Vec<Cell> {
    key.iter().cloned().chain(counts.iter().map(|count| Cell::Integer(*count))).collect()
}

fn bounded(table: Table) -> Option<Bounded> {
    let most = match table.subject {
        Subject::Calls => return None,
        Subject::Places => NETWORKS,
        Subject::Clients => CLIENTS,
    };
    // The time, the credential and the access.
    Some(Bounded { table: table.name, keys: table.subject.keys(), group: 3, most })
}

/// Puts the events together whose details are beyond the bound, and returns how many they were.
async fn admit_events(
    events: &mut Events,
    session: &mut Session<'_>,
) -> Result<u64, RegistryError> {
    let bounded = Bounded {
        table: "usage_event",
        keys: &["credential", "kind", "detail"],
        group: 2,
        most: DETAILS,
    };
    let key = |(credential, kind, detail): &(i64, EventKind, std::sync::Arc<str>)| {
        vec![(*credential).into(), kind.as_str().into(), Cell::Text(detail.clone())]
    };
    let mut counts: Counts = events
        .iter()
        .map(|(event, count)| (key(event), vec![super::tally::integer(count.count)]))
        .collect();
    let admitted = bounded.admit(&mut counts, session).await?;
    if admitted.others > 0 {
        let all = std::mem::take(events);
        for (mut event, count) in all {
            if !counts.contains_key(&key(&event)) {
                event.2 = "".into();
            }
            add_event(events, event, count);
        }
    }
    Ok(admitted.others)
}

#[cfg(all(test, feature = "sqlite"))]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::usage::{
        call::{CallAccess, CallCount, CallKey, CallOutcome, RouteLabel},
        place::PlaceKey,
    };

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    /// Allows the file so many pages, or as many as it has.
    async fn limit(registry: &Registry, pages: u32) {
        let mut connections = Vec::new();
        // All connections of the pool.
        for _ in 0..4 {
            let mut connection = registry.shared.database.connection().await.unwrap();
            let limit = Query::new(format!("PRAGMA max_page_count = {pages}"));
            connection.session().fetch_all(limit).await.unwrap();
            connections.push(connection);
        }
    }

    #[tokio::test]
    async fn a_batch_that_meets_a_full_disk_leaves_nothing_and_is_saved_later() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        let mut batch = UsageBatch::new(1, 1);
        for number in 0..5000 {
            let route = RouteLabel::Declared(format!("/v1/orders/{number}").into());
            let key = CallKey {
                minute: NOW,
                credential: None,
                route,
                method: http::Method::GET,
                access: CallAccess::Open,
                outcome: CallOutcome::Passed,
                status: http::StatusCode::OK,
            };
            batch.calls.insert(key, CallCount { calls: 1, ..CallCount::default() });
        }
        let key = PlaceKey { hour: NOW, credential: None, prefix: None, access: CallAccess::Open };
        batch.places = HashMap::from([(key, 5000)]);
        limit(&registry, 1).await;
        registry.save(&batch, NOW).await.unwrap_err();
        let count = async || {
            let query = Query::new(
                "SELECT (SELECT COALESCE(SUM(calls), 0) FROM usage_call_minute) + (SELECT COUNT(*) FROM usage_flush)
                 AS count",
            );
            let mut connection = registry.shared.database.connection().await.unwrap();
            let row = connection.session().fetch_one(query).await.unwrap();
            row.get::<i64>("count").unwrap()
        };
        assert_eq!(count().await, 0);
        limit(&registry, u32::MAX).await;
        registry.save(&batch, NOW).await.unwrap();
        assert_eq!(count().await, 5001);
    }
}
