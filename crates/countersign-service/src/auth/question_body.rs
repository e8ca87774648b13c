use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign_server::ServedBody;
use http_body::{Body, Frame, SizeHint};

use crate::BoxError;

/// The content of a request that a proxy asks about.
#[derive(Debug)]
pub(crate) enum QuestionBody {
    /// It came with the question.
    Passed(ServedBody),
    /// It came inside the question.
    #[cfg(feature = "envoy-grpc")]
    Inside(http_body_util::Full<Bytes>),
    /// The proxy keeps it. At least this many bytes are announced.
    Kept(u64),
}

/// Content was read that the proxy keeps.
#[derive(Debug, thiserror::Error)]
#[error("the content did not come with the question")]
struct NotHere;

impl Body for QuestionBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Passed(body) => Pin::new(body).poll_frame(context),
            #[cfg(feature = "envoy-grpc")]
            Self::Inside(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Kept(_) => Poll::Ready(Some(Err(NotHere.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed(body) => body.is_end_stream(),
            #[cfg(feature = "envoy-grpc")]
            Self::Inside(body) => body.is_end_stream(),
            Self::Kept(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed(body) => body.size_hint(),
            #[cfg(feature = "envoy-grpc")]
            Self::Inside(body) => body.size_hint(),
            Self::Kept(length) => {
                let mut hint = SizeHint::new();
                hint.set_lower(*length);
                hint
            }
        }
    }
}
