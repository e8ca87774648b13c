use std::{
    error::Error,
    fmt::Write,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use countersign::Timestamp;

use super::SINCE;
use crate::{
    credential::CredentialId,
    registry::{
        Registry, error::RegistryError, query::Query, row::seconds, shared::Shared, statements,
    },
};

/// How often uses are saved.
const PACE: Duration = Duration::from_secs(30);
/// The longest statement, in rows.
const ROWS: usize = 1000;
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
    pub(in super::super) fn note_use(&self, id: CredentialId, now: Timestamp) {
        let uses = &self.shared.last_uses;
        uses.note(id, now);
        if !uses.has_task.load(Ordering::Relaxed) {
            save_from_time_to_time(&self.shared, PACE);
        }
    }
}

impl Shared {
    pub(in super::super) async fn save_last_uses(&self) -> Result<(), RegistryError> {
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

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_040);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_saves_uses_until_the_registry_is_gone() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open_or_create(&url).await.unwrap();
        let shared = &registry.shared;
        save_from_time_to_time(shared, Duration::from_millis(1));
        shared.last_uses.note(CredentialId::new(1), NOW);
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
