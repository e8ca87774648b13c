use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use countersign::{Claimed, Code, Content, ContentCheck, check_trailers};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep},
};

use super::{ContentLimit, Rest, Unfit, why_broken};
use crate::{
    BoxError,
    recording::{ReadCount, Recording},
    refusal::reason::Reason,
};

/// The body of a verified request; wraps the original body `B`.
///
/// For a signed request it has the signed content: gathered, or piece by piece as it arrives on a
/// [streamed](crate::Route::streamed) route. On a route that does not enforce signatures it has the content as it arrived.
#[derive(Debug)]
pub struct VerifiedBody<B> {
    kind: Kind<B>,
    read: ReadCount,
}

#[derive(Debug)]
enum Kind<B> {
    /// Read to its end before the handler started.
    Whole(Option<Bytes>),
    Streamed(Box<Streamed<B>>),
    /// Not compared with a digest.
    Unchecked(B),
    /// Compared in part, on an observed route.
    Resumed {
        read: Option<Bytes>,
        rest: Option<Rest<B>>,
    },
}

/// Why a streamed body ends with an error. Discard the part of the body that was read before.
///
/// The response's body ends with this error, too, if the handler began the response before the content failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentError(Reason);

impl ContentError {
    pub(crate) const fn reason(&self) -> &Reason {
        &self.0
    }

    /// Returns the code of the refusal. The caller gets that refusal in place of the handler's response, unless the response has
    /// begun.
    pub const fn code(&self) -> Code {
        self.0.code()
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail())
    }
}

impl std::error::Error for ContentError {}

impl From<Reason> for ContentError {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

/// The result of the comparison of streamed content.
#[derive(Debug)]
pub(crate) enum ContentOutcome {
    Intact,
    Failed(Reason),
}

impl<B> VerifiedBody<B> {
    fn of(kind: Kind<B>) -> Self {
        Self { kind, read: ReadCount::default() }
    }

    /// Records the content: as it is read, unless it was read to its end.
    pub(crate) fn record(&mut self, recording: &mut Recording, arrived: Content) {
        match (&self.kind, arrived) {
            (Kind::Whole(content), _) => recording.read(content.as_ref().map_or(0, Bytes::len)),
            (_, Content::Absent) => {}
            (_, Content::Present) => self.read = recording.count_reads(),
        }
    }

    pub(crate) fn whole(content: Bytes) -> Self {
        Self::of(Kind::Whole(Some(content)))
    }

    pub(crate) fn unchecked(body: B) -> Self {
        Self::of(Kind::Unchecked(body))
    }

    pub(crate) fn resumed(unfit: Unfit<B>) -> Self {
        let Unfit { read, rest, .. } = unfit;
        Self::of(Kind::Resumed { read: Some(read), rest: Some(rest) })
    }

    /// Makes a body that is compared as it arrives, and the receiver of the verdict.
    pub(crate) fn streamed(
        body: B,
        claimed: Claimed,
        limit: ContentLimit,
    ) -> (Self, oneshot::Receiver<ContentOutcome>) {
        let (verdict, receiver) = oneshot::channel();
        let streamed = Streamed {
            body,
            check: Some(claimed.read()),
            held: None,
            length: 0,
            limit: limit.bytes,
            pause: limit.time,
            pausing: Box::pin(tokio::time::sleep(limit.time)),
            waiting: false,
            verdict: Some(verdict),
        };
        (Self::of(Kind::Streamed(Box::new(streamed))), receiver)
    }
}

/// A body that is compared with its digest as it arrives.
///
/// The last piece is held back until the digest matches. A handler that ignores the end of the body never has all of the content.
#[derive(Debug)]
struct Streamed<B> {
    body: B,
    /// `None` once the body has ended, well or not.
    check: Option<ContentCheck>,
    held: Option<Bytes>,
    length: u64,
    limit: u64,
    /// The longest pause between pieces.
    pause: Duration,
    pausing: Pin<Box<Sleep>>,
    /// Whether the body was polled and is pending.
    waiting: bool,
    /// Until the verdict is sent.
    verdict: Option<oneshot::Sender<ContentOutcome>>,
}

impl<B> Streamed<B> {
    fn send_verdict(&mut self, verdict: ContentOutcome) {
        // Nobody waits if the response is gone already.
        drop(self.verdict.take().map(|sender| sender.send(verdict)));
    }
}

/// A handler can stop before the end of the body if the content marks its own end, as `multipart` does. That content counts as
/// unread.
impl<B> Drop for Streamed<B> {
    fn drop(&mut self) {
        self.send_verdict(ContentOutcome::Failed(Reason::ContentUnread));
    }
}

impl<B: Body<Error: Into<BoxError>> + Unpin> Streamed<B> {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ContentError>>> {
        while let Some(check) = &mut self.check {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                let waits_already = std::mem::replace(&mut self.waiting, true);
                if !waits_already && let Some(deadline) = Instant::now().checked_add(self.pause) {
                    self.pausing.as_mut().reset(deadline);
                }
                ready!(self.pausing.as_mut().poll(context));
                return self.fail(Reason::ContentTimeout);
            };
            let Some(frame) = frame else {
                let finished = self.check.take().map(ContentCheck::finish);
                match finished {
                    Some(Err(rejection)) => return self.fail(rejection.into()),
                    Some(Ok(_)) | None => {
                        self.send_verdict(ContentOutcome::Intact);
                        break;
                    }
                }
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return self.fail(why_broken(&*error.into())),
            };
            self.waiting = false;
            let mut data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => match frame.trailers_ref() {
                    Some(trailers) if check_trailers(trailers).is_err() => {
                        return self.fail(Reason::SignedTrailer);
                    }
                    _ => continue,
                },
            };
            let piece = data.copy_to_bytes(data.remaining());
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.length = self.length.saturating_add(length);
            if self.length > self.limit {
                return self.fail(Reason::ContentTooLarge { limit: self.limit });
            }
            check.update(&piece);
            if piece.is_empty() {
                continue;
            }
            if let Some(earlier) = self.held.replace(piece) {
                return Poll::Ready(Some(Ok(earlier)));
            }
        }
        Poll::Ready(self.held.take().map(Ok))
    }

    fn fail(&mut self, reason: Reason) -> Poll<Option<Result<Bytes, ContentError>>> {
        (self.check, self.held) = (None, None);
        self.send_verdict(ContentOutcome::Failed(reason.clone()));
        Poll::Ready(Some(Err(ContentError(reason))))
    }
}

impl<B: Body<Error: Into<BoxError>> + Unpin> Kind<B> {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Whole(content) => {
                let content = content.take().filter(|content| !content.is_empty());
                Poll::Ready(content.map(|content| Ok(Frame::data(content))))
            }
            Self::Streamed(streamed) => {
                let piece = ready!(streamed.poll_piece(context));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(BoxError::from)))
            }
            Self::Unchecked(body) => poll_unchecked(body, context),
            Self::Resumed { read, rest } => {
                if let Some(read) = read.take().filter(|read| !read.is_empty()) {
                    return Poll::Ready(Some(Ok(Frame::data(read))));
                }
                match rest {
                    Some(Rest::More(body)) => poll_unchecked(body, context),
                    Some(Rest::Broken(_)) | None => match rest.take() {
                        Some(Rest::Broken(error)) => Poll::Ready(Some(Err(error))),
                        _ => Poll::Ready(None),
                    },
                }
            }
        }
    }
}

impl<B: Body<Error: Into<BoxError>> + Unpin> Body for VerifiedBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.kind.poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.read.add(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(content) => content.as_ref().is_none_or(Bytes::is_empty),
            Kind::Streamed(streamed) => streamed.check.is_none() && streamed.held.is_none(),
            Kind::Unchecked(body) => body.is_end_stream(),
            Kind::Resumed { read, rest } => {
                let ended = match rest {
                    Some(Rest::More(body)) => body.is_end_stream(),
                    Some(Rest::Broken(_)) => false,
                    None => true,
                };
                ended && read.as_ref().is_none_or(Bytes::is_empty)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(content) => SizeHint::with_exact(length(content.as_ref())),
            Kind::Streamed(streamed) => {
                let rest = match streamed.check {
                    Some(_) => streamed.body.size_hint(),
                    None => SizeHint::with_exact(0),
                };
                behind(length(streamed.held.as_ref()), &rest)
            }
            Kind::Unchecked(body) => body.size_hint(),
            Kind::Resumed { read, rest } => match rest {
                Some(Rest::More(body)) => behind(length(read.as_ref()), &body.size_hint()),
                Some(Rest::Broken(_)) | None => SizeHint::default(),
            },
        }
    }
}

fn length(content: Option<&Bytes>) -> u64 {
    content.map_or(0, |content| u64::try_from(content.len()).unwrap_or(u64::MAX))
}

/// Returns the size of this many bytes and the rest behind them.
fn behind(bytes: u64, rest: &SizeHint) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(bytes));
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint
}

fn poll_unchecked<B: Body<Error: Into<BoxError>> + Unpin>(
    body: &mut B,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    let frame = ready!(Pin::new(body).poll_frame(context));
    Poll::Ready(frame.map(|frame| {
        let frame = frame.map_err(Into::into)?;
        Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
    }))
}
