use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// What goes on at a connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    open_requests: AtomicUsize,
    had_a_request: AtomicBool,
    /// When the last request ended, in milliseconds since the connection was opened.
    ended: AtomicU64,
    /// Until when the socket took nothing, likewise; [`STILL`] while it takes nothing, 0 if it always did.
    blocked_until: AtomicU64,
    cut: Notify,
}

const STILL: u64 = u64::MAX;

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            open_requests: AtomicUsize::new(0),
            had_a_request: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            blocked_until: AtomicU64::new(0),
            cut: Notify::new(),
        })
    }

    /// Done when no request was asked until `first`, or later than that none was open for `quiet`.
    ///
    /// Nothing else that the peer sends counts: it may be a request head that never ends, or PING frames.
    pub(super) async fn idle(&self, first: Instant, quiet: Duration) {
        sleep_until(first).await;
        if self.had_a_request.load(Ordering::Acquire) {
            self.quiet(quiet).await;
        }
    }

    /// Done when there was a request, and none was open for so long.
    pub(super) async fn quiet(&self, quiet: Duration) {
        loop {
            let waited = self.waited();
            if waited >= quiet {
                return;
            }
            sleep(quiet.saturating_sub(waited)).await;
        }
    }

    /// How long ago the last request ended, if none is open.
    fn waited(&self) -> Duration {
        let open = self.open_requests.load(Ordering::Acquire) > 0;
        if open || !self.had_a_request.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let ended = Duration::from_millis(self.ended.load(Ordering::Acquire));
        self.opened.elapsed().saturating_sub(ended)
    }

    /// So long after the connection was opened.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.opened.checked_add(time).unwrap_or(self.opened)
    }

    /// Begins a request, which is open until this is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.had_a_request.store(true, Ordering::Release);
        self.open_requests.fetch_add(1, Ordering::AcqRel);
        OpenRequest(Arc::clone(self))
    }

    /// Notes that the socket takes nothing.
    pub(super) fn block(&self) {
        self.blocked_until.store(STILL, Ordering::Release);
    }

    /// Notes that the socket takes something again.
    pub(super) fn unblock(&self) {
        self.blocked_until.store(self.age(), Ordering::Release);
    }

    /// Until when the socket took nothing at all.
    pub(super) fn blocked_until(&self) -> Instant {
        match self.blocked_until.load(Ordering::Acquire) {
            STILL => Instant::now(),
            age => self.after(Duration::from_millis(age)),
        }
    }

    /// Has the connection cut off.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Done when the connection is to be cut off.
    pub(super) async fn to_be_cut(&self) {
        self.cut.notified().await;
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(STILL)
    }
}

/// A request that is not answered to the end.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.ended.store(self.0.age(), Ordering::Release);
        self.0.open_requests.fetch_sub(1, Ordering::AcqRel);
    }
}
