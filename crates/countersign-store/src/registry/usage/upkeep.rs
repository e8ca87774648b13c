use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign::Timestamp;

use crate::usage::retention::UsageRetention;

/// How long counts are kept, and when it was last looked for older ones.
#[derive(Debug, Default)]
pub(in super::super) struct Upkeep(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    retention: UsageRetention,
    /// When everything that was too old was last gone.
    pruned: Option<Timestamp>,
}

impl Upkeep {
    /// How often to look, in seconds.
    const PACE: u64 = 60 * 60;

    pub(super) fn retention(&self) -> UsageRetention {
        self.lock().retention
    }

    pub(super) fn set_retention(&self, retention: UsageRetention) {
        self.lock().retention = retention;
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let pruned = self.lock().pruned;
        pruned.is_none_or(|pruned| pruned.unix().abs_diff(now.unix()) >= Self::PACE)
    }

    pub(super) fn note_pruned(&self, now: Timestamp) {
        self.lock().pruned = Some(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
