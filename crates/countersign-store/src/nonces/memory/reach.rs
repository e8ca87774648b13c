use std::{sync::Arc, time::Duration};

use countersign::{Timestamp, Window};

use super::{
    sync::{AtomicU64, AtomicUsize, Ordering},
    unable::Unable,
};
use crate::{
    error::StoreError,
    nonces::ceiling::{Ceiling, Owner},
};

/// How far ahead the ceiling is raised: one write then covers the requests of a few seconds.
const LEAD: Duration = Duration::from_secs(5);

/// The latest `created` for which claims may be accepted: the ceiling, and the guard's knowledge of it.
pub(super) struct Reach<C> {
    window: Window,
    owner: Owner,
    ceiling: C,
    /// Cached copy of the ceiling, in seconds. Raise the ceiling before accepting any later `created`.
    reached: AtomicU64,
    /// Held while the ceiling is raised.
    raising: tokio::sync::Mutex<Raising>,
    /// The highest ceiling attempted, in seconds. If a client went away before its attempt ended, the attempt may have raised
    /// the ceiling unnoticed.
    attempted: AtomicU64,
    /// The number of failed attempts.
    failures: AtomicUsize,
}

enum Raising {
    Possible,
    /// The last attempt failed, for this reason.
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
            attempted: AtomicU64::new(reached.unix()),
            failures: AtomicUsize::new(0),
        }
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Raises the ceiling durably to `created` or above, unless it is there. Claims at `created` can then be accepted.
    pub(super) async fn ensure(
        &self,
        created: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        if created > latest(self.window, now) {
            return Err(Unable::Ahead.into());
        }
        let ceiling = farthest(self.window, now);
        let failures = self.failures.load(Ordering::Acquire);
        let mut raising = self.raising.lock().await;
        if created.unix() <= self.reached.load(Ordering::Acquire) {
            return Ok(());
        }
        let not_raised = "the replay ceiling cannot be raised";
        match &*raising {
            Raising::Ended => return Err(Unable::Ended.into()),
            // Claims waiting for an attempt share its failure, and do not each repeat a slow failure.
            Raising::Failed(failure) if self.failures.load(Ordering::Acquire) != failures => {
                return Err(StoreError::because(not_raised, Arc::clone(failure)));
            }
            Raising::Failed(_) | Raising::Possible => {}
        }
        self.attempted.fetch_max(ceiling.unix(), Ordering::AcqRel);
        // In a box: it is some KiB, for which every claim would keep room, and a claim seldom comes here.
        match Box::pin(self.ceiling.raise(self.owner, ceiling)).await {
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

    /// Raises the ceiling for the last time, to the highest value attempted, and returns the ceiling. `None` if the guard had
    /// ended before.
    ///
    /// Uses no clock: a clock that leaps here would make the next start refuse every claim.
    pub(super) async fn end(&self) -> Option<Timestamp> {
        let mut raising = self.raising.lock().await;
        if matches!(*raising, Raising::Ended) {
            return None;
        }
        *raising = Raising::Ended;
        let reached = Timestamp::from_unix(self.reached.load(Ordering::Acquire));
        let attempted = Timestamp::from_unix(self.attempted.load(Ordering::Acquire));
        if attempted <= reached {
            return Some(reached);
        }
        match self.ceiling.raise(self.owner, attempted).await {
            Ok(()) => Some(attempted),
            // The snapshot then fits the ceiling only by luck, and the next start is as after a crash.
            Err(_) => Some(reached),
        }
    }
}

/// Returns the first second without any accepted signature yet, if this clock is right.
pub(super) fn unaccepted(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(Duration::from_secs(1))
}

/// Returns the last second of signatures accepted now, whatever the server's policy says. A start relies on it: later seconds
/// count as not accepted yet.
pub(super) fn latest(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew())
}

/// Returns how high the ceiling may be raised now.
pub(super) fn farthest(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(LEAD)
}
