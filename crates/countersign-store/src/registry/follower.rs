use std::{
    error::Error,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use countersign::Timestamp;
use tokio::{task::JoinSet, time::timeout};

use super::{
    audit::{act::ActSubject, hash::AuditHash},
    database::{OwnConnection, Source},
    error::RegistryError,
    last_change::LastChange,
    query::{Query, Row},
    shared::Shared,
    statements,
    watch::Signal,
};
#[cfg(feature = "postgres")]
use super::{postgres::notices, query::Prepared};
use crate::system_time::system_time;

/// The longest time that a poll takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most changes to apply one by one. After more changes, every cache entry is read anew.
const MOST: i64 = 1000;

impl Shared {
    /// Starts to follow the changes of other processes, at the first call.
    pub(super) fn follow(self: &Arc<Self>) {
        self.watch.start(|| Follower::of(self).follow());
    }
}

/// Follows the changes of a registry.
struct Follower {
    shared: Weak<Shared>,
    signal: Arc<Signal>,
    source: Source,
    connection: Option<OwnConnection>,
    /// The version of the file at the time of `last`.
    version: Option<i64>,
    /// The last change known here.
    last: Option<LastChange>,
    outage: Option<Outage>,
}

/// A time without contact to the database.
#[derive(Clone, Copy, Debug)]
struct Outage {
    last_contact: Timestamp,
}

/// The changes of other processes.
#[derive(Debug, PartialEq, Eq)]
enum Changes {
    /// The subject of each change; empty without changes.
    Of(Vec<ActSubject>),
    /// Unknown changes: any subject can have changed.
    Any,
}

impl Follower {
    fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            signal: shared.watch.signal(),
            source: shared.database.source(),
            connection: None,
            version: None,
            last: shared.watch.last(),
            outage: None,
        }
    }

    async fn follow(mut self) {
        // Ends with this function.
        let mut notices = self.listen();
        while !self.signal.is_ending() {
            let began = Instant::now();
            let polled = self.poll_twice().await;
            // Held for a moment only: the task does not keep the registry open.
            let Some(shared) = self.shared.upgrade() else { break };
            match polled {
                Ok(changes) => self.apply(&changes, &shared, began),
                Err(error) => self.tell_failure(&error, &shared),
            }
            drop(shared);
            // After this time, or when there is a notice.
            self.signal.wait(self.source.poll_interval()).await;
        }
        notices.shutdown().await;
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// Begins to listen for notices of changes. Only PostgreSQL sends notices.
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut, reason = "only servers send notices"))]
    fn listen(&self) -> JoinSet<()> {
        let mut notices = JoinSet::new();
        #[cfg(feature = "postgres")]
        if let Source::Postgres(pool) = &self.source
            // A pooler lends the connection to other clients, which would then get the notice.
            && pool.prepared() == Prepared::Kept
        {
            notices.spawn(notices::listen(pool.clone(), Arc::clone(&self.signal)));
        }
        notices
    }

    /// Polls; if that fails on a connection that worked before, polls once more on a new one.
    async fn poll_twice(&mut self) -> Result<Changes, RegistryError> {
        let is_new = self.connection.is_none();
        match timeout(PATIENCE, self.poll()).await {
            Ok(Err(_)) if !is_new => {}
            Ok(polled) => return polled,
            Err(_) => {
                self.connection = None;
                return Err(sqlx::Error::PoolTimedOut.into());
            }
        }
        let polled = timeout(PATIENCE, self.poll()).await;
        polled.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
    }

    async fn poll(&mut self) -> Result<Changes, RegistryError> {
        self.source.require_in_place()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                // Versions of a file are comparable on one connection only.
                self.version = None;
                self.source.connect().await?
            }
        };
        let version = connection.version().await?;
        if version.is_some() && version == self.version && self.last.is_some() {
            self.connection = Some(connection);
            return Ok(Changes::Of(Vec::new()));
        }
        let row = connection.fetch_optional(Query::new(statements::LAST_CHANGE)).await?;
        let last = LastChange::read(&row.ok_or(sqlx::Error::RowNotFound)?)?;
        let (last, changes) = match self.last {
            Some(known) if known == last => (known, Changes::Of(Vec::new())),
            Some(known) => {
                let query = Query::new(statements::CHANGES)
                    .bind(known.number.saturating_sub(1))
                    .bind(MOST.saturating_add(1));
                let rows = connection.fetch_all(query).await?;
                changes_between(known, last, &rows)
            }
            None => (last, Changes::Any),
        };
        (self.version, self.last) = (version, Some(last));
        self.connection = Some(connection);
        Ok(changes)
    }
}

impl Follower {
    /// Applies changes to the cache, and confirms the cache.
    fn apply(&mut self, changes: &Changes, shared: &Shared, began: Instant) {
        match changes {
            Changes::Of(subjects) => {
                subjects.iter().for_each(|subject| shared.cache.remove(subject));
            }
            Changes::Any => shared.cache.remove(&ActSubject::any()),
        }
        if let Some(last) = self.last {
            shared.watch.set_last(last);
        }
        shared.cache.contact().confirm(began);
        count_poll("done", Duration::ZERO);
        let Some(Outage { last_contact }) = self.outage.take() else { return };
        tracing::info!(
            registry = shared.name,
            last_contact = last_contact.unix(),
            seconds = system_time().since(last_contact).unwrap_or_default().as_secs(),
            "the registry is reached again, and changes that were made meanwhile take effect"
        );
    }

    fn tell_failure(&mut self, error: &RegistryError, shared: &Shared) {
        let contact = shared.cache.contact();
        let age = contact.age(Instant::now());
        count_poll("failed", age);
        if self.outage.is_some() {
            return;
        }
        let last_contact = system_time().minus(age);
        self.outage = Some(Outage { last_contact });
        tracing::error!(
            registry = shared.name,
            error = error as &dyn Error,
            last_contact = last_contact.unix(),
            stale_for = contact.stale_for().as_secs(),
            "the registry cannot be reached: keys that are known are accepted until `stale_for` seconds after `last_contact`, in \
             seconds since 1970, and then every request with a key is refused with 503; see whether its database runs, and whether \
             this server reaches it: `countersign app list` with the same address tells"
        );
    }
}

fn count_poll(outcome: &'static str, age: Duration) {
    metrics::counter!("countersign_registry_polls_total", "outcome" => outcome).increment(1);
    metrics::gauge!("countersign_registry_contact_age_seconds").set(age.as_secs_f64());
}

/// Returns the changes after a known change, and the last change.
///
/// The rows have to include the known change: a database that was set back, by a backup or a failover, may have other changes
/// under the same numbers.
fn changes_between(known: LastChange, last: LastChange, rows: &[Row]) -> (LastChange, Changes) {
    let entries = rows.iter().map(Entry::read).collect::<Option<Vec<_>>>();
    let listed = entries.and_then(|entries| Entry::after(known, last, entries));
    listed.map_or((last, Changes::Any), |(last, subjects)| (last, Changes::Of(subjects)))
}

/// The parts of an audit entry that a follower needs.
#[derive(Clone, Debug)]
struct Entry {
    change: LastChange,
    subject: ActSubject,
}

impl Entry {
    /// `None` if the entry was not written by a registry.
    fn read(row: &Row) -> Option<Self> {
        let application: Option<String> = row.get("application").ok()?;
        let key: Option<String> = row.get("key_id").ok()?;
        let subject = ActSubject {
            application: application.map(|name| name.parse()).transpose().ok()?,
            key: key.map(|id| id.parse()).transpose().ok()?,
        };
        Some(Self { change: LastChange::read(row).ok()?, subject })
    }

    /// Returns the last change, and the subjects of all changes after the known change; `None` if a change is missing or differs.
    fn after(
        known: LastChange,
        last: LastChange,
        entries: Vec<Self>,
    ) -> Option<(LastChange, Vec<ActSubject>)> {
        let mut entries = entries.into_iter();
        if known.hash != AuditHash::START {
            entries.next().filter(|entry| entry.change == known)?;
        }
        let (mut reached, mut subjects) = (known, Vec::new());
        for Self { change, subject } in entries {
            if change.number != reached.number.checked_add(1)? {
                return None;
            }
            reached = change;
            subjects.push(subject);
        }
        // The number of a change becomes visible together with its entry.
        (reached.number >= last.number && reached != known).then_some((reached, subjects))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: i64, byte: u8) -> LastChange {
        LastChange { number, hash: AuditHash::from_stored(&[byte; 32]).unwrap() }
    }

    fn entry(number: i64, byte: u8) -> Entry {
        let application = Some(format!("app{number}").parse().unwrap());
        Entry { change: change(number, byte), subject: ActSubject { application, key: None } }
    }

    #[test]
    fn changes_are_known_one_by_one_only_if_none_is_missing_and_none_is_another() {
        // The known change, the last one, the entries from the known one on, and the numbers of the changes.
        type Row = (LastChange, LastChange, Vec<Entry>, Option<Vec<i64>>);
        let table: Vec<(&str, Row)> = vec![
            ("the first", (change(0, 0), change(1, 1), vec![entry(1, 1)], Some(vec![1]))),
            (
                "two more",
                (
                    change(1, 1),
                    change(3, 3),
                    vec![entry(1, 1), entry(2, 2), entry(3, 3)],
                    Some(vec![2, 3]),
                ),
            ),
            (
                "one came in between",
                (
                    change(1, 1),
                    change(2, 2),
                    vec![entry(1, 1), entry(2, 2), entry(3, 3)],
                    Some(vec![2, 3]),
                ),
            ),
            ("a gap", (change(1, 1), change(3, 3), vec![entry(1, 1), entry(3, 3)], None)),
            ("not to the end", (change(1, 1), change(3, 3), vec![entry(1, 1), entry(2, 2)], None)),
            (
                "the known one is another",
                (change(1, 1), change(2, 2), vec![entry(1, 9), entry(2, 2)], None),
            ),
            ("the known one is gone", (change(1, 1), change(2, 2), vec![entry(2, 2)], None)),
            ("the last one is another", (change(1, 1), change(1, 9), vec![entry(1, 9)], None)),
            ("the last one differs alone", (change(1, 1), change(1, 9), vec![entry(1, 1)], None)),
            ("set back", (change(5, 5), change(2, 2), vec![], None)),
            ("set back to the start", (change(5, 5), change(0, 0), vec![], None)),
            ("nothing", (change(0, 0), change(1, 1), vec![], None)),
        ];
        for (name, (known, last, entries, expected)) in table {
            let after = Entry::after(known, last, entries);
            let expected = expected.map(|numbers| {
                numbers.into_iter().map(|number| format!("app{number}")).collect::<Vec<_>>()
            });
            let found = after.map(|(reached, subjects)| {
                assert!(reached.number >= last.number, "{name}");
                let names = subjects.into_iter().map(|subject| subject.application.unwrap());
                names.map(|name| name.to_string()).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{name}");
        }
    }
}
