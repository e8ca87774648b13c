use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// What goes on at a connection: requests that are not answered yet, and when something was last sent.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    open_requests: AtomicUsize,
    had_a_request: AtomicBool,
    /// Milliseconds since it was opened.
    last_sent: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            open_requests: AtomicUsize::new(0),
            had_a_request: AtomicBool::new(false),
            last_sent: AtomicU64::new(0),
        })
    }

    /// Notes that something was sent.
    pub(super) fn sent(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_sent.store(since, Ordering::Release);
    }

    /// Done when no request was asked within `first`, or none is open and nothing was sent for `quiet`.
    ///
    /// What the peer sends does not count: it may be a request head that never ends.
    pub(super) async fn idle(&self, first: Duration, quiet: Duration) {
        tokio::time::sleep(first).await;
        if !self.had_a_request.load(Ordering::Acquire) {
            return;
        }
        loop {
            let waited = self.waited();
            if waited >= quiet {
                return;
            }
            let rest = quiet.saturating_sub(waited);
            sleep_until(Instant::now().checked_add(rest).unwrap_or(self.opened)).await;
        }
    }

    /// How long nobody waits for an answer, and nothing was sent.
    pub(super) fn waited(&self) -> Duration {
        if self.open_requests.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let sent = Duration::from_millis(self.last_sent.load(Ordering::Acquire));
        self.opened.elapsed().saturating_sub(sent)
    }

    /// Begins a request, which is open until this is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.had_a_request.store(true, Ordering::Release);
        self.open_requests.fetch_add(1, Ordering::AcqRel);
        OpenRequest(Arc::clone(self))
    }
}

/// A request that is not answered to the end.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // The last of its answer may still be on its way out, so that its end counts as something sent.
        self.0.sent();
        self.0.open_requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl OpenRequest {
    /// The content of the answer, with whose end the request ends.
    pub(super) fn until_end_of(self, body: Body) -> OpenBody {
        OpenBody { body, _open: self }
    }
}

/// The content of an answer.
#[derive(Debug)]
pub(super) struct OpenBody {
    body: Body,
    _open: OpenRequest,
}

impl HttpBody for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
