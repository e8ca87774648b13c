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

/// The requests and the writes of a connection, for its timeouts.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    open_requests: AtomicUsize,
    had_a_request: AtomicBool,
    /// The end of the last request, in milliseconds since the connection was opened.
    ended: AtomicU64,
    /// The last time at which the socket was full, in the same unit. [`STILL`] while it is full, 0 if it never was.
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

    /// Waits until the connection is idle: it has had no request by `first`, or after `first` no request was open for `quiet`.
    ///
    /// Other bytes from the peer do not count: they may be a request head that never ends, or PING frames.
    pub(super) async fn idle(&self, first: Instant, quiet: Duration) {
        sleep_until(first).await;
        if self.had_a_request.load(Ordering::Acquire) {
            self.quiet(quiet).await;
        }
    }

    /// Waits until the connection has had a request, and no request was open for this long.
    pub(super) async fn quiet(&self, quiet: Duration) {
        loop {
            let waited = self.waited();
            if waited >= quiet {
                return;
            }
            sleep(quiet.saturating_sub(waited)).await;
        }
    }

    /// Returns how long ago the last request ended. Zero while a request is open, and before the first request.
    fn waited(&self) -> Duration {
        let open = self.open_requests.load(Ordering::Acquire) > 0;
        if open || !self.had_a_request.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let ended = Duration::from_millis(self.ended.load(Ordering::Acquire));
        self.opened.elapsed().saturating_sub(ended)
    }

    /// Returns the time this long after the connection was opened.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.opened.checked_add(time).unwrap_or(self.opened)
    }

    /// Begins a request. It is open until the returned value is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.had_a_request.store(true, Ordering::Release);
        self.open_requests.fetch_add(1, Ordering::AcqRel);
        OpenRequest(Arc::clone(self))
    }

    /// Notes that the socket is full.
    pub(super) fn block(&self) {
        self.blocked_until.store(STILL, Ordering::Release);
    }

    /// Notes that the socket has room again.
    pub(super) fn unblock(&self) {
        self.blocked_until.store(self.age(), Ordering::Release);
    }

    /// Returns the last time at which the socket was full.
    pub(super) fn blocked_until(&self) -> Instant {
        match self.blocked_until.load(Ordering::Acquire) {
            STILL => Instant::now(),
            age => self.after(Duration::from_millis(age)),
        }
    }

    /// Requests that the connection is cut off.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Waits until a cut of the connection is requested.
    pub(super) async fn to_be_cut(&self) {
        self.cut.notified().await;
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(STILL)
    }
}

/// A request whose response is not complete.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.ended.store(self.0.age(), Ordering::Release);
        self.0.open_requests.fetch_sub(1, Ordering::AcqRel);
    }
}
