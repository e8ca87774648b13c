use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::{progress::Progress, upstream::Lease};
use crate::BoxError;

/// The body of a response from the proxy: an upstream's, or a problem of its own.
#[derive(Debug)]
pub struct ProxiedBody(Kind);

#[derive(Debug)]
enum Kind {
    Own(Option<Bytes>),
    Upstream(Box<FromUpstream>),
}

/// The content of an upstream's response. Holds the connection until it has ended.
#[derive(Debug)]
struct FromUpstream {
    /// What came with the head.
    first: Option<hyper::Result<Frame<Bytes>>>,
    body: Incoming,
    /// Until the content has ended.
    lease: Option<Lease>,
    /// Of the request: its connection is used again only if all of the request was sent.
    progress: Arc<Progress>,
    idle_timeout: Duration,
    /// Made at the first pause.
    idling: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

/// An upstream paused for too long.
#[derive(Debug, thiserror::Error)]
#[error("the upstream sent nothing for too long")]
struct Idled;

impl ProxiedBody {
    pub(crate) const fn own(content: Bytes) -> Self {
        Self(Kind::Own(Some(content)))
    }

    /// Hands on the content of a response.
    pub(super) fn from_upstream(
        mut body: Incoming,
        mut lease: Lease,
        progress: Arc<Progress>,
        idle_timeout: Duration,
    ) -> Self {
        let mut first = None;
        let ended = body.is_end_stream() || {
            // Short content has come with its head. Whoever reads the rest is woken when they ask for it.
            let unwoken = &mut Context::from_waker(Waker::noop());
            match lease.poll_frame(&mut body, unwoken) {
                Poll::Ready(Some(frame)) => {
                    first = Some(frame);
                    body.is_end_stream()
                }
                Poll::Ready(None) => true,
                Poll::Pending => false,
            }
        };
        let mut upstream = FromUpstream {
            first,
            body,
            lease: Some(lease),
            progress,
            idle_timeout,
            idling: None,
            waiting: false,
        };
        if ended {
            upstream.end();
            match upstream.first.take().map(|first| first.map(Frame::into_data)) {
                None => return Self(Kind::Own(None)),
                Some(Ok(Ok(content))) => return Self::own(content),
                Some(Ok(Err(trailers))) => upstream.first = Some(Ok(trailers)),
                Some(Err(error)) => upstream.first = Some(Err(error)),
            }
        }
        Self(Kind::Upstream(Box::new(upstream)))
    }
}

impl FromUpstream {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take().filter(|_| self.progress.is_sent()) {
            lease.give_back(&self.progress);
        }
    }
}

impl Body for ProxiedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let upstream = match &mut self.0 {
            Kind::Own(content) => {
                return Poll::Ready(content.take().map(|content| Ok(Frame::data(content))));
            }
            Kind::Upstream(upstream) => upstream,
        };
        let polled = match (upstream.first.take(), &mut upstream.lease) {
            (Some(first), _) => Poll::Ready(Some(first)),
            (None, Some(lease)) => lease.poll_frame(&mut upstream.body, context),
            (None, None) => Poll::Ready(None),
        };
        let Poll::Ready(frame) = polled else {
            let longest = upstream.idle_timeout;
            let waits_already = std::mem::replace(&mut upstream.waiting, true);
            let idling = upstream.idling.get_or_insert_with(|| Box::pin(sleep(longest)));
            if !waits_already && let Some(deadline) = Instant::now().checked_add(longest) {
                idling.as_mut().reset(deadline);
            }
            return match idling.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Idled.into()))),
                Poll::Pending => Poll::Pending,
            };
        };
        upstream.waiting = false;
        match frame {
            Some(Ok(frame)) => {
                if upstream.body.is_end_stream() {
                    upstream.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => {
                upstream.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(content) => content.as_ref().is_none_or(Bytes::is_empty),
            Kind::Upstream(upstream) => upstream.first.is_none() && upstream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(content) => {
                let length = content.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Kind::Upstream(upstream) => {
                let first = upstream.first.as_ref().and_then(|first| first.as_ref().ok());
                let first = first.and_then(Frame::data_ref).map_or(0, Bytes::len);
                let (first, rest) =
                    (u64::try_from(first).unwrap_or(u64::MAX), upstream.body.size_hint());
                let mut whole = SizeHint::new();
                whole.set_lower(rest.lower().saturating_add(first));
                if let Some(upper) = rest.upper() {
                    whole.set_upper(upper.saturating_add(first));
                }
                whole
            }
        }
    }
}
