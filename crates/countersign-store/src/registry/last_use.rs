//! When each key was last used: noted in memory, and saved from time to time.

use std::{
    collections::HashMap,
    error::Error,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use countersign::Timestamp;

use super::{Registry, Shared, error::RegistryError, query::Query, row::seconds, statements};
use crate::credential::CredentialId;

const SHARDS: usize = 64;
/// How often uses are saved.
const PACE: Duration = Duration::from_secs(30);
/// The longest statement, in rows.
const ROWS: usize = 1000;
/// The row that says since when uses are recorded: the first use of all.
pub(super) const SINCE: CredentialId = CredentialId::new(0);

/// The uses of keys since they were last saved.
///
/// A use is noted once a minute for each key; the others in that minute change nothing.
#[derive(Debug)]
pub(super) struct LastUses {
    shards: Box<[Mutex<HashMap<CredentialId, Noted>>]>,
    /// Whether a task saves them.
    has_task: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    at: Timestamp,
    is_saved: bool,
}

impl Default for LastUses {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, has_task: AtomicBool::new(false) }
    }
}

impl LastUses {
    fn note(&self, id: CredentialId, now: Timestamp) {
        let shard = usize::try_from(id.get().unsigned_abs()).unwrap_or(0).checked_rem(SHARDS);
        let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = Noted { at: now, is_saved: false };
        let known = shard.entry(id).or_insert(noted);
        if minute(known.at) < minute(now) {
            *known = noted;
        }
    }

    /// Returns the uses that were not saved, in the order of their keys, and counts them as saved.
    fn take(&self) -> Vec<(CredentialId, Timestamp)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // Saved before, and not used since.
            shard.retain(|_, noted| !noted.is_saved);
            for (id, noted) in shard.iter_mut() {
                noted.is_saved = true;
                taken.push((*id, noted.at));
            }
        }
        taken.sort_unstable();
        taken
    }

    /// Notes uses again that could not be saved.
    fn give_back(&self, uses: &[(CredentialId, Timestamp)]) {
        for (id, at) in uses {
            let shard = usize::try_from(id.get().unsigned_abs()).unwrap_or(0).checked_rem(SHARDS);
            let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else { continue };
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = shard.entry(*id).or_insert(Noted { at: *at, is_saved: false });
            known.is_saved = false;
        }
    }
}

fn minute(time: Timestamp) -> u64 {
    time.unix().checked_div(60).unwrap_or(0)
}

impl Registry {
    /// Saves which keys were used, now. A registry does so every 30 s, and when it is closed.
    ///
    /// # Errors
    ///
    /// An error of the database; the uses are then saved later.
    pub async fn save_last_uses(&self) -> Result<(), RegistryError> {
        self.shared.save_last_uses().await
    }

    /// Notes that a key was used.
    pub(super) fn note_use(&self, id: CredentialId, now: Timestamp) {
        let uses = &self.shared.last_uses;
        uses.note(id, now);
        if !uses.has_task.load(Ordering::Relaxed) {
            save_from_time_to_time(&self.shared, PACE);
        }
    }
}

impl Shared {
    pub(super) async fn save_last_uses(&self) -> Result<(), RegistryError> {
        let uses = self.last_uses.take();
        let mut left = uses.as_slice();
        while let Some((rows, rest)) = left.split_at_checked(left.len().min(ROWS)) {
            if rows.is_empty() {
                break;
            }
            if let Err(error) = self.write(save(rows)).await {
                self.last_uses.give_back(left);
                return Err(error);
            }
            left = rest;
        }
        Ok(())
    }
}

/// Saves uses in one statement.
fn save(uses: &[(CredentialId, Timestamp)]) -> Query {
    let first = uses.iter().map(|(_, at)| *at).min().unwrap_or(Timestamp::from_unix(0));
    // In the order of their keys, so that no two servers wait for each other.
    let all = || std::iter::once((SINCE, first)).chain(uses.iter().copied());
    let mut text = statements::SAVE_LAST_USES_HEAD.to_owned();
    for row in 0..uses.len().saturating_add(1) {
        let separator = if row == 0 { "" } else { ", " };
        let (id, at) =
            (row.saturating_mul(2).saturating_add(1), row.saturating_mul(2).saturating_add(2));
        // Writing to a text cannot fail.
        write!(text, "{separator}(${id}, ${at})").unwrap_or_default();
    }
    text.push_str(statements::SAVE_LAST_USES_TAIL);
    all().fold(Query::new(text), |query, (id, at)| query.bind(id.get()).bind(seconds(at)))
}

/// Starts the task that saves uses, unless there is one. It ends with the registry, or with the runtime.
fn save_from_time_to_time(shared: &Arc<Shared>, pace: Duration) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if shared.last_uses.has_task.swap(true, Ordering::AcqRel) {
        return;
    }
    let task = Task(Arc::downgrade(shared));
    runtime.spawn(async move {
        let mut failed = false;
        loop {
            tokio::time::sleep(pace).await;
            let Some(shared) = task.0.upgrade() else { return };
            let saved = shared.save_last_uses().await;
            if let Err(error) = saved.as_ref().map_err(|error| error as &dyn Error)
                && !failed
            {
                tracing::warn!(
                    error,
                    "which keys were used cannot be saved now, and is saved later"
                );
            }
            failed = saved.is_err();
        }
    });
}

/// A task that saves uses. When it ends, another can begin.
struct Task(Weak<Shared>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.last_uses.has_task.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_040);

    fn id(number: i64) -> CredentialId {
        CredentialId::new(number)
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let uses = LastUses::default();
        assert_eq!(uses.take(), []);
        for at in [NOW, later(1), later(59)] {
            uses.note(id(1), at);
        }
        uses.note(id(65), later(2));
        assert_eq!(uses.take(), [(id(1), NOW), (id(65), later(2))]);
        uses.note(id(1), later(59));
        uses.note(id(65), NOW.minus(Duration::from_secs(600)));
        assert_eq!(uses.take(), [], "saved in this minute, or later");
        uses.note(id(1), later(60));
        assert_eq!(uses.take(), [(id(1), later(60))]);
    }

    #[test]
    fn what_could_not_be_saved_is_saved_later() {
        let uses = LastUses::default();
        for number in 1..=3 {
            uses.note(id(number), NOW);
        }
        let taken = uses.take();
        uses.note(id(3), later(60));
        uses.give_back(&taken);
        assert_eq!(uses.take(), [(id(1), NOW), (id(2), NOW), (id(3), later(60))]);
        assert_eq!(uses.take(), []);
        assert!(uses.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_saves_uses_until_the_registry_is_gone() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        let shared = &registry.shared;
        save_from_time_to_time(shared, Duration::from_millis(1));
        shared.last_uses.note(id(1), NOW);
        let saved = async || {
            let mut connection = shared.database.connection().await.unwrap();
            let query =
                Query::new("SELECT seconds FROM countersign.last_use WHERE credential_id = 1");
            let row = connection.session().fetch_optional(query).await.unwrap();
            row.map(|row| row.get::<i64>("seconds").unwrap())
        };
        let deadline = std::time::Instant::now().checked_add(Duration::from_secs(60)).unwrap();
        while saved().await.is_none() {
            assert!(std::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        assert_eq!(saved().await, Some(seconds(NOW)));
        let gone = Arc::downgrade(shared);
        drop(registry);
        while gone.strong_count() > 0 {
            assert!(std::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    }
}
