use std::{sync::Arc, time::Duration};

use countersign::Timestamp;

use super::{
    sync::{AtomicU64, AtomicUsize, Ordering},
    unable::Unable,
};
use crate::{
    error::StoreError,
    nonces::{
        Window,
        ceiling::{Ceiling, Owner},
    },
};

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
    /// How high the ceiling may be, in seconds: an attempt that nobody waited for to the end, since its client went away, may
    /// have raised it unnoticed.
    attempted: AtomicU64,
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
            attempted: AtomicU64::new(reached.unix()),
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
            // Whoever waited for an attempt shares its outcome: one that fails slowly is not made again by each of them.
            Raising::Failed(failure) if self.failures.load(Ordering::Acquire) != failures => {
                return Err(StoreError::because(not_raised, Arc::clone(failure)));
            }
            Raising::Failed(_) | Raising::Possible => {}
        }
        self.attempted.fetch_max(ceiling.unix(), Ordering::AcqRel);
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

    /// Raises the ceiling to where it may be already, for the last time, and answers how high it is. `None` if it had ended
    /// before.
    ///
    /// It goes by no clock: one that leaps here would have nothing accepted after the next start.
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
            // What is saved does not fit then, or only by luck, and the next start is one after a crash.
            Err(_) => Some(reached),
        }
    }
}

/// The first second of which nothing can have been accepted by now, if this clock is right.
pub(super) fn unaccepted(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(Duration::from_secs(1))
}

/// The last second of which anything is accepted now, whatever the policy of the server says: what a start takes for not
/// accepted yet must not have been.
pub(super) fn latest(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew())
}

/// How far the ceiling is raised now, at most.
pub(super) fn farthest(window: Window, now: Timestamp) -> Timestamp {
    now.plus(window.skew()).plus(LEAD)
}
