use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use countersign_server::{ServedBody, VerifiedBody};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::progress::Progress;
use crate::BoxError;

/// The content of a request on its way to an upstream, without trailers.
#[derive(Debug)]
pub(super) struct SentBody {
    body: Option<VerifiedBody<ServedBody>>,
    progress: Arc<Progress>,
    /// Whether a verdict on the whole content is awaited.
    is_verified: bool,
}

impl SentBody {
    pub(super) fn new(
        body: VerifiedBody<ServedBody>,
        progress: Arc<Progress>,
        is_verified: bool,
    ) -> Self {
        if body.is_end_stream() {
            progress.end();
        }
        Self { body: Some(body), progress, is_verified }
    }

    /// Makes a body without content, for requests of the proxy's own.
    pub(super) fn empty() -> Self {
        Self { body: None, progress: Arc::new(Progress::ended()), is_verified: false }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, progress, .. } = &mut *self;
        let Some(body) = body else { return Poll::Ready(None) };
        loop {
            let polled = Pin::new(&mut *body).poll_frame(context);
            if polled.is_pending() {
                progress.wait_for_client();
            }
            match ready!(polled) {
                Some(Ok(frame)) if frame.is_data() => {
                    progress.moved();
                    // The end is known only once it is read: the last piece comes with the verdict.
                    if body.is_end_stream() {
                        progress.end();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    progress.fail();
                    progress.end();
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    progress.end();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An upstream that responds before it has read the content drops it. The rest is read all the same, so that the verdict is known:
/// the response waits for it.
impl Drop for SentBody {
    fn drop(&mut self) {
        let unread = self.is_verified && !self.progress.is_ended();
        let Some(mut body) = self.body.take().filter(|_| unread) else { return };
        let progress = Arc::clone(&self.progress);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while !progress.is_abandoned()
                    && let Some(Ok(_)) = body.frame().await
                {}
            });
        }
    }
}
