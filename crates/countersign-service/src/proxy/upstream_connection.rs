use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use super::{progress::Progress, sent_body::SentBody};
use crate::BoxError;

/// A connection to an upstream.
///
/// The task that sends a request and reads its response moves the connection. A task for each connection would have to be woken for
/// the request and for the response, often on another processor.
pub(super) struct UpstreamConnection {
    sender: SendRequest<SentBody>,
    mover: Mover,
    /// Rings no later than an upstream is too slow. It stays set over many requests: most are served long before it rings.
    alarm: Option<Pin<Box<Sleep>>>,
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// What moves a connection.
enum Mover {
    /// The task that has the connection.
    Holder(Connection),
    /// A task of its own, which is told when the connection is dropped here.
    Task { _held: oneshot::Sender<()> },
    /// The connection has ended.
    Ended,
}

/// The result of sending a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<SentBody>>>;

impl UpstreamConnection {
    /// Begins HTTP/1.1.
    pub(super) async fn begin(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, BoxError> {
        // With another limit than its own, which is 100 header fields, hyper makes room for them in the heap for each response.
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, mover: Mover::Holder(Box::pin(connection)), alarm: None })
    }

    /// Whether the connection can take another request: it is open, has sent all of its last request and has read the response, as far
    /// as the system has told. A connection whose upstream responded early takes none.
    pub(super) fn is_idle(&mut self) -> bool {
        self.mover.step(&mut Context::from_waker(Waker::noop()));
        matches!(self.mover, Mover::Holder(_)) && self.sender.is_ready()
    }

    /// Closes the connection after everything that is still to be sent.
    pub(super) fn close(mut self, progress: &Arc<Progress>, longest: Duration) {
        self.mover.leave_to_task(progress, longest);
    }

    /// Sends a request, and waits for the head of the response. `None` if the upstream neither takes a piece nor responds for this
    /// time.
    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
        progress: &Arc<Progress>,
        longest: Duration,
    ) -> Option<Sent> {
        let Self { sender, mover, alarm } = self;
        let mut response = pin!(sender.try_send_request(request));
        let sent = poll_fn(|context| {
            match mover.poll(context, |context| response.as_mut().poll(context)) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => poll_stalled(alarm, progress, longest, context).map(|()| None),
            }
        });
        let sent = sent.await;
        if matches!(sent, Some(Ok(_))) && !progress.is_ended() {
            // The upstream has responded early. The rest of the request does not wait for those who read the response.
            mover.leave_to_task(progress, longest);
        }
        sent
    }

    /// Reads on in the content of a response.
    pub(super) fn poll_frame(
        &mut self,
        content: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.mover.poll(context, |context| Pin::new(&mut *content).poll_frame(context))
    }
}

impl Mover {
    /// Polls what the connection makes ready.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if matches!(self, Self::Task { .. }) {
            return poll(context);
        }
        // What the connection makes ready here is seen here, and needs no waker: a task that wakes itself is polled once more. So the
        // connection gets the waker of the task only if there is something to wait for.
        let mut unwoken = Context::from_waker(Waker::noop());
        if let Poll::Ready(ready) = poll(&mut unwoken) {
            return Poll::Ready(ready);
        }
        self.step(&mut unwoken);
        if let Poll::Ready(ready) = poll(&mut unwoken) {
            return Poll::Ready(ready);
        }
        self.step(context);
        poll(&mut unwoken)
    }

    /// Moves the connection as far as it goes, unless a task of its own does.
    fn step(&mut self, context: &mut Context<'_>) {
        let Self::Holder(connection) = self else { return };
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            log_end(ended);
            *self = Self::Ended;
        }
    }

    /// Gives the connection a task of its own. The task ends it if the upstream takes none of the request for this time.
    fn leave_to_task(&mut self, progress: &Arc<Progress>, longest: Duration) {
        *self = match std::mem::replace(self, Self::Ended) {
            Self::Holder(connection) => {
                let (held, released) = oneshot::channel();
                tokio::spawn(move_alone(connection, Arc::clone(progress), longest, released));
                Self::Task { _held: held }
            }
            other @ (Self::Task { .. } | Self::Ended) => other,
        };
    }
}

impl fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamConnection").finish_non_exhaustive()
    }
}

/// Moves a connection until it ends. While the request is being sent, and after the response was read or given up, the upstream has to
/// take a piece of it in time.
async fn move_alone(
    mut connection: Connection,
    progress: Arc<Progress>,
    longest: Duration,
    mut released: oneshot::Receiver<()>,
) {
    let (mut alarm, mut is_released) = (None, false);
    let ended = poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(Some(ended));
        }
        is_released = is_released || Pin::new(&mut released).poll(context).is_ready();
        match is_released || !progress.is_ended() {
            true => poll_stalled(&mut alarm, &progress, longest, context).map(|()| None),
            false => Poll::Pending,
        }
    });
    match ended.await {
        Some(ended) => log_end(ended),
        None => tracing::debug!("an upstream took no more of a request that it had responded to"),
    }
}

/// Ready if the upstream has neither taken a piece nor responded for this time.
fn poll_stalled(
    alarm: &mut Option<Pin<Box<Sleep>>>,
    progress: &Progress,
    longest: Duration,
    context: &mut Context<'_>,
) -> Poll<()> {
    let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(longest)));
    while alarm.as_mut().poll(context).is_ready() {
        let left = progress.left(longest);
        match Instant::now().checked_add(left) {
            Some(deadline) if !left.is_zero() => alarm.as_mut().reset(deadline),
            _ => return Poll::Ready(()),
        }
    }
    Poll::Pending
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to an upstream ended early");
    }
}
