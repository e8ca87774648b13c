use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::{TooSlow, Wait};
use crate::BoxError;

/// The content of a request to [`serve`](crate::serve), as it arrives.
///
/// It ends with an error if less than 5,000 bytes arrive in 10 s of waiting.
#[derive(Debug)]
pub struct ServedBody {
    incoming: Incoming,
    wait: Wait,
}

impl ServedBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming, wait: Wait::default() }
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            let too_slow = self.wait.poll_too_slow(context);
            return too_slow.map(|()| Some(Err(TooSlow.into())));
        };
        if let Some(Ok(frame)) = &frame {
            self.wait.moved(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
