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
    /// Bytes that were handed over and are not sent.
    waiting: u64,
    pace: Pace,
    /// The waker of the body that waits until all of it is sent.
    waker: Option<Waker>,
}

tokio::task_local! {
    static DELIVERY: Arc<Delivery>;
}

impl Delivery {
    fn new(activity: Arc<Activity>) -> Self {
        Self { activity, state: Mutex::default(), begun: Notify::new() }
    }

    /// That of the HTTP/2 stream that this is called in. HTTP/1.1 has no streams, and the socket says it all there.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        DELIVERY.try_with(Arc::clone).ok()
    }

    /// So much was handed over.
    pub(super) fn hand_over(&self, bytes: usize) {
        let mut state = self.state();
        let none_before = state.waiting == 0;
        state.waiting = state.waiting.saturating_add(length(bytes));
        if none_before && bytes > 0 {
            state.pace.wait(Instant::now());
            self.begun.notify_one();
        }
    }

    /// So much of it is sent, or never will be.
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

    /// Ready when all that was handed over is sent.
    pub(super) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.waiting == 0 {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Done when the peer has taken too little, though its connection had room.
    async fn too_slow(&self) {
        loop {
            match self.deadline() {
                None => self.begun.notified().await,
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
            }
        }
    }

    /// Until when the peer is waited for.
    fn deadline(&self) -> Option<Instant> {
        let mut state = self.state();
        self.forget_blocked(&mut state.pace);
        (state.waiting > 0).then(|| state.pace.wait(Instant::now()))
    }

    /// While the socket is full, this may wait for its turn behind others.
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
                // Dropped, it is reset.
                () = delivery.too_slow() => return,
            }
            // What is left of its answer is in the hands of the connection, which alone can let go of it.
            tokio::select! {
                biased;
                () = poll_fn(|context| delivery.poll_sent(context)) => {}
                () = delivery.too_slow() => activity.cut(),
            }
        });
    }
}
