use std::{sync::Arc, time::Duration};

use countersign::Timestamp;

use super::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::{Ceiling, Owner, StoreError, Window};

/// How far ahead the ceiling is written, so that there is one write every few seconds and not one a request.
const LEAD: Duration = Duration::from_secs(5);

/// How far claims may be accepted: the ceiling, and what a guard knows of it.
pub(super) struct Reach<C> {
    window: Window,
    owner: Owner,
    ceiling: C,
    /// What no claim above may be answered before it is raised, in seconds; a copy of what is in `ceiling`.
    reached: AtomicU64,
    /// Held while the ceiling is raised.
    raising: tokio::sync::Mutex<Raising>,
    /// How often raising failed.
    failures: AtomicUsize,
}

enum Raising {
    Possible,
    /// It failed the last time, for this reason.
    Failed(Arc<StoreError>),
    /// The guard has ended.
    Ended,
}

impl<C: Ceiling> Reach<C> {
    pub(super) fn new(window: Window, owner: Owner, ceiling: C, reached: Timestamp) -> Self {
        Self {
            window,
            owner,
            ceiling,
            reached: AtomicU64::new(reached.unix()),
            raising: tokio::sync::Mutex::new(Raising::Possible),
            failures: AtomicUsize::new(0),
        }
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Makes sure that the ceiling is durably at or above `created` before anything is accepted there.
    pub(super) async fn ensure(
        &self,
        created: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        let ceiling = farthest(self.window, now);
        if created > ceiling {
            return Err(StoreError::new("the claim is for a time that is still to come"));
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut raising = self.raising.lock().await;
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        let not_raised = "the replay ceiling cannot be raised";
        match &*raising {
            Raising::Ended => return Err(StoreError::new("the replay guard has ended")),
            // Whoever waited for an attempt shares its outcome: one that fails slowly is not made again by each of them.
            Raising::Failed(failure) if self.failures.load(Ordering::Acquire) != failures => {
                return Err(StoreError::because(not_raised, Arc::clone(failure)));
            }
            Raising::Failed(_) | Raising::Possible => {}
        }
        match self.ceiling.raise(self.owner, ceiling).await {
            Ok(()) => {
                *raising = Raising::Possible;
                self.reached.store(ceiling.unix(), Ordering::Release);
                Ok(())
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                *raising = Raising::Failed(Arc::clone(&failure));
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(StoreError::because(not_raised, failure))
            }
        }
    }

    /// Never raises the ceiling again, and answers how high it is. `None` if it had ended before.
    pub(super) async fn end(&self) -> Option<Timestamp> {
        let mut raising = self.raising.lock().await;
        if matches!(*raising, Raising::Ended) {
            return None;
        }
        *raising = Raising::Ended;
        Some(Timestamp::from_unix(self.reached.load(Ordering::Acquire)))
    }
}

/// The first second of which nothing can have been accepted by now, if this clock is right.
pub(super) fn unaccepted(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(Duration::from_secs(1))
}

/// How far the ceiling is raised now, at most.
pub(super) fn farthest(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(LEAD)
}
