use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::BoxError;

/// The content of an answer to a proxy.
#[derive(Debug)]
pub struct AnswerBody(Content);

#[derive(Debug)]
enum Content {
    Http(Full<Bytes>),
    #[cfg(feature = "envoy-grpc")]
    Grpc(tonic::body::Body),
}

impl From<Bytes> for AnswerBody {
    fn from(content: Bytes) -> Self {
        Self(Content::Http(Full::new(content)))
    }
}

#[cfg(feature = "envoy-grpc")]
impl From<tonic::body::Body> for AnswerBody {
    fn from(body: tonic::body::Body) -> Self {
        Self(Content::Grpc(body))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Content::Http(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            #[cfg(feature = "envoy-grpc")]
            Content::Grpc(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map(|frame| frame.map(|frame| frame.map_err(BoxError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Http(body) => body.is_end_stream(),
            #[cfg(feature = "envoy-grpc")]
            Content::Grpc(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Http(body) => body.size_hint(),
            #[cfg(feature = "envoy-grpc")]
            Content::Grpc(body) => body.size_hint(),
        }
    }
}
