use std::sync::{
    Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};
use std::{collections::HashMap, sync::Arc};

use countersign::{PublishableKey, Timestamp};
use countersign_store::{CallAccess, CredentialId, EventKind};

use super::{
    agent::Agents,
    bounds,
    classifier::Classifier,
    counted::{Counted, Event},
    tables::Tables,
};
use crate::BoxFuture;

/// What calls are counted in, and what is known of the programs that made them.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) tables: Tables,
    pub(super) agents: Agents,
    classifier: Classifier,
    unresolved: Mutex<Vec<(PublishableKey, Counted)>>,
    finders: Mutex<Vec<Weak<dyn FindCredential>>>,
    unresolved_overflow: AtomicU64,
}

/// Finds the credential of a key, away from the way of a request.
pub(crate) trait FindCredential: Send + Sync {
    /// Finds the credential of a publishable key; `None` also if the store fails.
    fn find(
        self: Arc<Self>,
        key: PublishableKey,
        now: Timestamp,
    ) -> BoxFuture<Option<CredentialId>>;
}

impl std::fmt::Debug for dyn FindCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FindCredential")
    }
}

impl Recorder {
    pub(super) fn find_by(&self, finder: Weak<dyn FindCredential>) {
        self.finders.lock().unwrap_or_else(PoisonError::into_inner).push(finder);
    }

    /// Counts a call that was refused for its missing signature, and named a key that was not looked up: a look-up on the way of the
    /// request would tell by its time whether the key exists. The next flush looks it up.
    pub(super) fn count_named(&self, key: PublishableKey, counted: Counted) {
        let mut unresolved = self.unresolved.lock().unwrap_or_else(PoisonError::into_inner);
        if unresolved.len() < bounds::UNRESOLVED {
            unresolved.push((key, counted));
            return;
        }
        drop(unresolved);
        self.unresolved_overflow.fetch_add(1, Ordering::Relaxed);
        self.tables.count(counted);
    }

    /// Looks the named keys up, and counts their calls.
    pub(super) async fn resolve(&self) {
        let mut found: HashMap<PublishableKey, Option<CredentialId>> = {
            let unresolved = self.unresolved.lock().unwrap_or_else(PoisonError::into_inner);
            unresolved.iter().map(|(key, _)| (*key, None)).collect()
        };
        if found.is_empty() {
            return;
        }
        let finders: Vec<_> = {
            let mut finders = self.finders.lock().unwrap_or_else(PoisonError::into_inner);
            finders.retain(|finder| finder.strong_count() > 0);
            finders.iter().filter_map(Weak::upgrade).collect()
        };
        let now = self.tables.newest();
        let finding = async {
            for (key, credential) in &mut found {
                for finder in &finders {
                    *credential = credential.or(Arc::clone(finder).find(*key, now).await);
                }
            }
        };
        // Those that are not found in time count as unknown.
        drop(tokio::time::timeout(bounds::RESOLVE_TIMEOUT, finding).await);
        let resolved: Vec<_> = {
            let mut unresolved = self.unresolved.lock().unwrap_or_else(PoisonError::into_inner);
            unresolved.extract_if(.., |(key, _)| found.contains_key(key)).collect()
        };
        for (key, counted) in resolved {
            self.tables.count(match found.get(&key).copied().flatten() {
                Some(credential) => Counted {
                    credential: Some(credential),
                    access: CallAccess::Publishable,
                    event: Some(Event { kind: EventKind::PublishableWrite, restriction: None }),
                    ..counted
                },
                None => counted,
            });
        }
    }

    /// Reads the texts of new programs.
    pub(super) fn classify(&self) {
        self.agents.classify(&self.classifier);
    }

    /// How many counts went into a row for all others, and how many were dropped, since the last time.
    pub(super) fn take_lost(&self) -> (u64, u64) {
        let (overflow, dropped) = self.tables.take_lost();
        let unresolved = self.unresolved_overflow.swap(0, Ordering::Relaxed);
        (overflow.saturating_add(unresolved), dropped)
    }
}
