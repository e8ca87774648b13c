use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

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
    body: Incoming,
    lease: Option<Lease>,
    /// Of the request: its connection is used again only if all of the request was sent.
    progress: Arc<Progress>,
    idle_timeout: Duration,
    idling: Pin<Box<Sleep>>,
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
        body: Incoming,
        lease: Lease,
        progress: Arc<Progress>,
        idle_timeout: Duration,
    ) -> Self {
        if body.is_end_stream() {
            if progress.is_sent() {
                lease.give_back();
            }
            return Self(Kind::Own(None));
        }
        let idling = Box::pin(tokio::time::sleep(idle_timeout));
        let lease = Some(lease);
        let waiting = false;
        Self(Kind::Upstream(Box::new(FromUpstream {
            body,
            lease,
            progress,
            idle_timeout,
            idling,
            waiting,
        })))
    }
}

impl FromUpstream {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take().filter(|_| self.progress.is_sent()) {
            lease.give_back();
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
        let Poll::Ready(frame) = Pin::new(&mut upstream.body).poll_frame(context) else {
            let waits_already = std::mem::replace(&mut upstream.waiting, true);
            if !waits_already
                && let Some(deadline) = Instant::now().checked_add(upstream.idle_timeout)
            {
                upstream.idling.as_mut().reset(deadline);
            }
            return match upstream.idling.as_mut().poll(context) {
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
            Kind::Upstream(upstream) => upstream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(content) => {
                let length = content.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Kind::Upstream(upstream) => upstream.body.size_hint(),
        }
    }
}
