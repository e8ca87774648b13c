use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use countersign::{Content, ResponseHead};
use http::{HeaderMap, Method, Response, Version, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::verified_body::{ContentError, ContentOutcome};
use crate::{
    BoxError,
    recording::Recording,
    refusal::{self, Circumstances, Judge, reason::Reason, respond},
    telemetry,
};

/// How many bytes of a response are taken from its handler before the verdict on the request's content is known.
const MOST_GATHERED: usize = 64 * 1024;

/// The verdict on content whose body was dropped early.
const UNREAD: ContentOutcome = ContentOutcome::Failed(Reason::ContentUnread);

pin_project! {
    /// The body of a response from a verifier: the body of a refusal, or the handler's own body `C`.
    ///
    /// On a [streamed](crate::Route::streamed) route the handler's body ends with a [`ContentError`] if the content of the
    /// request was not the signed content.
    #[derive(Debug)]
    pub struct GuardedBody<C> {
        // Pieces taken from the handler's body, or the whole content.
        ready: VecDeque<Bytes>,
        // Sent last.
        trailers: Option<Box<HeaderMap>>,
        #[pin]
        rest: Rest<C>,
        guard: Guard,
        recording: Recording,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = RestProjection]
    #[project_replace = RestOwned]
    enum Rest<C> {
        Ended,
        Broken { error: Option<BoxError> },
        Untouched { #[pin] body: C },
        // Polled before it was handed on.
        Begun { body: Pin<Box<C>> },
    }
}

/// Whether the end of a response waits for a verdict.
#[derive(Debug)]
enum Guard {
    Nothing,
    Waiting(oneshot::Receiver<ContentOutcome>),
    Failed(Reason),
}

impl<C> GuardedBody<C> {
    fn new(rest: Rest<C>, guard: Guard) -> Self {
        let recording = Recording::default();
        Self { ready: VecDeque::new(), trailers: None, rest, guard, recording }
    }

    /// Records what is sent of this body, and its end.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// Makes a body that waits for no verdict.
    pub(crate) fn unguarded(body: C) -> Self {
        Self::new(Rest::Untouched { body }, Guard::Nothing)
    }

    /// Makes a body that ends with an error unless the content of the request is the signed content.
    pub(crate) fn guarded(body: C, verdict: oneshot::Receiver<ContentOutcome>) -> Self {
        Self::new(Rest::Begun { body: Box::pin(body) }, Guard::Waiting(verdict))
    }

    /// Makes the body of a response without content, which waits for the verdict.
    pub(crate) fn without_content(verdict: oneshot::Receiver<ContentOutcome>) -> Self {
        Self::new(Rest::Ended, Guard::Waiting(verdict))
    }

    /// Returns why the content of the request failed, if that is known.
    pub(crate) fn failure(&mut self) -> Option<&Reason> {
        self.guard.look();
        match &self.guard {
            Guard::Failed(reason) => Some(reason),
            Guard::Nothing | Guard::Waiting(_) => None,
        }
    }

    /// Whether the verdict is still unknown.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.guard, Guard::Waiting(_))
    }

    /// Stops waiting for the verdict.
    pub(crate) fn release(&mut self) {
        self.guard = Guard::Nothing;
    }
}

impl<C: Body<Data = Bytes, Error: Into<BoxError>>> GuardedBody<C> {
    /// Takes the pieces that the handler's body has ready. Ready once the verdict is known, or the handler's body is pending: it
    /// may depend on request content that is still to arrive.
    pub(crate) fn poll_gathered(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut gathered = 0_usize;
        loop {
            self.guard.look();
            if !self.is_waiting() {
                return Poll::Ready(());
            }
            let Rest::Begun { body } = &mut self.rest else { break };
            if gathered > MOST_GATHERED {
                return Poll::Ready(());
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(context) else {
                return Poll::Ready(());
            };
            self.rest = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        gathered = gathered.saturating_add(data.len());
                        self.ready.push_back(data);
                        // A body of a single piece is in memory anyway, however large.
                        if body.is_end_stream() {
                            Rest::Ended
                        } else {
                            continue;
                        }
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(Box::new);
                        Rest::Ended
                    }
                },
                Some(Err(error)) => Rest::Broken { error: Some(error.into()) },
                None => Rest::Ended,
            };
        }
        match self.rest {
            Rest::Broken { .. } => Poll::Ready(()),
            _ => self.guard.poll_settled(context),
        }
    }
}

impl Guard {
    /// Takes the verdict if it has arrived.
    fn look(&mut self) {
        let Self::Waiting(verdict) = self else { return };
        match verdict.try_recv() {
            Ok(verdict) => self.take_verdict(verdict),
            Err(oneshot::error::TryRecvError::Empty) => {}
            Err(oneshot::error::TryRecvError::Closed) => self.take_verdict(UNREAD),
        }
    }

    fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(verdict) = self {
            let verdict = ready!(Pin::new(verdict).poll(context));
            self.take_verdict(verdict.unwrap_or(UNREAD));
        }
        Poll::Ready(())
    }

    fn take_verdict(&mut self, verdict: ContentOutcome) {
        *self = match verdict {
            ContentOutcome::Intact => Self::Nothing,
            ContentOutcome::Failed(reason) => Self::Failed(reason),
        };
    }
}

impl<C: Body<Data = Bytes, Error: Into<BoxError>>> Body for GuardedBody<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            this.guard.look();
            if let Guard::Failed(reason) = &*this.guard {
                let reason = reason.clone();
                refusal::log_broken_off(&reason);
                this.recording.refuse(reason.code());
                this.recording.end();
                *this.guard = Guard::Nothing;
                *this.trailers = None;
                this.ready.clear();
                this.rest.as_mut().project_replace(Rest::Ended);
                return Poll::Ready(Some(Err(ContentError::from(reason).into())));
            }
            if let Some(data) = this.ready.pop_front() {
                this.recording.send(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let frame = match this.rest.as_mut().project() {
                RestProjection::Ended => None,
                RestProjection::Broken { error } => error.take().map(Err),
                RestProjection::Untouched { body } => {
                    ready!(body.poll_frame(context)).map(|frame| frame.map_err(Into::into))
                }
                RestProjection::Begun { body } => {
                    ready!(body.as_mut().poll_frame(context)).map(|frame| frame.map_err(Into::into))
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.recording.send(data.len());
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    // Trailers end a response.
                    Err(frame) => *this.trailers = frame.into_trailers().ok().map(Box::new),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {}
            }
            // Dropping the handler's body also drops a request body inside it.
            this.rest.as_mut().project_replace(Rest::Ended);
            ready!(this.guard.poll_settled(context));
            if !matches!(this.guard, Guard::Failed(_)) {
                this.recording.end();
                let trailers = this.trailers.take();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            Rest::Ended | Rest::Broken { error: None } => true,
            Rest::Broken { error: Some(_) } => false,
            Rest::Untouched { body } => body.is_end_stream(),
            Rest::Begun { body } => body.is_end_stream(),
        };
        let free = matches!(self.guard, Guard::Nothing);
        ended && free && self.ready.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // With a known length, the client would take the response for complete before its end is sent.
        if !matches!(self.guard, Guard::Nothing) {
            return SizeHint::default();
        }
        let mut hint = match &self.rest {
            Rest::Ended => SizeHint::with_exact(0),
            Rest::Broken { .. } => return SizeHint::default(),
            Rest::Untouched { body } => body.size_hint(),
            Rest::Begun { body } => body.size_hint(),
        };
        let ready = self.ready.iter().fold(0_u64, |sum, data| {
            sum.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX))
        });
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(ready));
        }
        hint.set_lower(hint.lower().saturating_add(ready));
        hint
    }
}

impl<C> From<Bytes> for GuardedBody<C> {
    fn from(content: Bytes) -> Self {
        let mut body = Self::default();
        if !content.is_empty() {
            body.ready.push_back(content);
        }
        body
    }
}

/// No content.
impl<C> Default for GuardedBody<C> {
    fn default() -> Self {
        Self::new(Rest::Ended, Guard::Nothing)
    }
}

/// The verdict on content that the handler reads itself. The response waits for it.
pub(crate) struct AwaitedVerdict {
    pub(crate) verdict: oneshot::Receiver<ContentOutcome>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) judge: Judge,
}

impl AwaitedVerdict {
    /// Returns the handler's response, or a refusal if the content is not the signed content. If the response has to begin before
    /// the verdict is known, its body ends with an error unless the content is the signed content.
    pub(crate) async fn respond_once_known<C>(
        self,
        response: Response<C>,
    ) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Self { verdict, method, version, judge } = self;
        let (mut head, body) = response.into_parts();
        // A handler that refuses may do so without reading on.
        let refuses = head.status.is_client_error() || head.status.is_server_error();
        let told = ResponseHead { status: head.status, headers: &head.headers };
        let mut body = match told.may_have_content(&method) {
            true => GuardedBody::guarded(body, verdict),
            false => {
                drop(body);
                GuardedBody::without_content(verdict)
            }
        };
        if !refuses {
            std::future::poll_fn(|context| body.poll_gathered(context)).await;
        }
        let failure = body.failure().filter(|&reason| match reason {
            Reason::ContentUnread => !refuses,
            // Even if the handler refuses: it has read other content than the signed content.
            _ => true,
        });
        if let Some(reason) = failure {
            telemetry::count_failed_stream(reason.code());
            let circumstances = Circumstances {
                method: &method,
                version,
                headers: None,
                content: Content::Present,
                judge: Some(&judge),
            };
            return respond(&reason.clone().into(), &circumstances);
        }
        if refuses {
            body.release();
        } else if body.is_waiting() {
            // With this field a client could take the response for complete before its end.
            head.headers.remove(CONTENT_LENGTH);
        }
        Response::from_parts(head, body)
    }
}
