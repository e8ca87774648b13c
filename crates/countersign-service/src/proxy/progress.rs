use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How far a request has been sent to its upstream. Shared by the body and by those who wait for the response.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// When the upstream last took a piece, in milliseconds after `begun`; `WITH_CLIENT` while the next piece is the client's to send.
    moved: AtomicU64,
    ended: AtomicBool,
    failed: AtomicBool,
    abandoned: AtomicBool,
}

const WITH_CLIENT: u64 = u64::MAX;

impl Progress {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    /// The progress of a request without content.
    pub(super) fn ended() -> Self {
        let progress = Self::begin();
        progress.ended.store(true, Ordering::Release);
        progress
    }

    pub(super) fn moved(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(WITH_CLIENT - 1);
        self.moved.store(since, Ordering::Relaxed);
    }

    pub(super) fn wait_for_client(&self) {
        self.moved.store(WITH_CLIENT, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.moved();
        self.ended.store(true, Ordering::Release);
    }

    /// The content of the request broke, on the side of the client.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// The verdict on the rest of the content no longer matters.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether all of the request was handed to the connection.
    pub(super) fn is_sent(&self) -> bool {
        self.is_ended() && !self.is_failed()
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Returns the rest of this time, in which the upstream has to take a piece or to respond.
    pub(super) fn left(&self, longest: Duration) -> Duration {
        let now = Instant::now();
        let since = match self.moved.load(Ordering::Relaxed) {
            WITH_CLIENT => now,
            moved => self.begun.checked_add(Duration::from_millis(moved)).unwrap_or(now),
        };
        longest.saturating_sub(now.saturating_duration_since(since))
    }
}
