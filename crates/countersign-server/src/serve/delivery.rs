use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use hyper::rt::Executor;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{activity::Activity, pace::Pace};

/// The progress of a peer in taking a response.
#[derive(Debug)]
pub(super) struct Delivery {
    activity: Arc<Activity>,
    state: Mutex<State>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were handed over but not sent.
    waiting: u64,
    pace: Pace,
    /// The waker of a body that waits until all of its bytes are sent.
    waker: Option<Waker>,
}

tokio::task_local! {
    static DELIVERY: Arc<Delivery>;
}

impl Delivery {
    fn new(activity: Arc<Activity>) -> Self {
        Self { activity, state: Mutex::default(), begun: Notify::new() }
    }

    /// Returns the delivery of the current HTTP/2 stream. `None` in HTTP/1.1, where the socket alone shows the progress.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        DELIVERY.try_with(Arc::clone).ok()
    }

    /// Notes that this many bytes were handed over.
    pub(super) fn hand_over(&self, bytes: usize) {
        let mut state = self.state();
        let none_before = state.waiting == 0;
        state.waiting = state.waiting.saturating_add(length(bytes));
        if none_before && bytes > 0 {
            state.pace.wait(Instant::now());
            self.begun.notify_one();
        }
    }

    /// Notes that this many bytes were sent, or never will be.
    pub(super) fn take(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.state();
        let now = Instant::now();
        state.waiting = state.waiting.saturating_sub(length(bytes));
        self.forget_blocked(&mut state.pace);
        state.pace.moved(length(bytes), now);
        if state.waiting > 0 {
            state.pace.wait(now);
        } else if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Ready when all bytes that were handed over are sent.
    pub(super) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.waiting == 0 {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until the peer has taken too few bytes, even though its connection had room.
    async fn too_slow(&self) {
        loop {
            match self.deadline() {
                None => self.begun.notified().await,
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
            }
        }
    }

    /// Returns the time at which the peer is too slow.
    fn deadline(&self) -> Option<Instant> {
        let mut state = self.state();
        self.forget_blocked(&mut state.pace);
        (state.waiting > 0).then(|| state.pace.wait(Instant::now()))
    }

    /// Forgives the time in which the socket was full: this stream may have waited for its turn behind others.
    fn forget_blocked(&self, pace: &mut Pace) {
        pace.forget(self.activity.blocked_until());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Runs the HTTP/2 streams of a connection, and ends streams whose response the peer does not take.
#[derive(Clone, Debug)]
pub(super) struct Streams(Arc<Activity>);

impl Streams {
    pub(super) const fn new(activity: Arc<Activity>) -> Self {
        Self(activity)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let activity = Arc::clone(&self.0);
        let delivery = Arc::new(Delivery::new(Arc::clone(&activity)));
        tokio::spawn(async move {
            let stream = DELIVERY.scope(Arc::clone(&delivery), stream);
            tokio::select! {
                biased;
                () = stream => {}
                // The stream is dropped here, which resets it.
                () = delivery.too_slow() => return,
            }
            // The connection holds the rest of the response, and only its end can release it.
            tokio::select! {
                biased;
                () = poll_fn(|context| delivery.poll_sent(context)) => {}
                () = delivery.too_slow() => activity.cut(),
            }
        });
    }
}
