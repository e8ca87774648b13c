use std::{
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{activity::OpenRequest, delivery::Delivery};

/// The most bytes that are handed over at once in HTTP/2: the content of a frame. A stream can be reset only while more of its
/// response is to come.
const PIECE: usize = 16 * 1024;

pin_project! {
    /// The body that is sent: the service's body, or the content of a refusal in its place.
    #[derive(Debug)]
    #[project = ContentParts]
    pub(super) enum SentContent<B> {
        Given {
            #[pin]
            body: B,
        },
        Refusal {
            content: Option<Bytes>,
        },
    }
}

impl<B> From<Bytes> for SentContent<B> {
    fn from(content: Bytes) -> Self {
        Self::Refusal { content: Some(content) }
    }
}

impl<B> SentContent<B> {
    pub(super) const fn given(body: B) -> Self {
        Self::Given { body }
    }

    pub(super) const fn none() -> Self {
        Self::Refusal { content: None }
    }
}

impl<B: Body> Body for SentContent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            ContentParts::Given { body } => {
                let frame = ready!(body.poll_frame(context));
                let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(whole))))
            }
            ContentParts::Refusal { content } => {
                Poll::Ready(content.take().map(|content| Ok(Frame::data(content))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Given { body } => body.is_end_stream(),
            Self::Refusal { content } => content.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Given { body } => body.size_hint(),
            Self::Refusal { content } => SizeHint::with_exact(content.as_ref().map_or(0, length)),
        }
    }
}

pin_project! {
    /// The body of a response. Its request ends with the last piece.
    #[derive(Debug)]
    pub(super) struct ResponseBody<B> {
        #[pin]
        body: B,
        // Bytes taken from the body and not handed over.
        rest: Bytes,
        size: Size,
        response: Arc<OpenResponse>,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    None,
    /// A single piece.
    Small,
    Large,
}

#[derive(Debug)]
struct OpenResponse {
    /// The delivery of an HTTP/2 stream.
    delivery: Option<Arc<Delivery>>,
    _open: OpenRequest,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(body: B, delivery: Option<Arc<Delivery>>, open: OpenRequest) -> Self {
        let response = Arc::new(OpenResponse { delivery, _open: open });
        Self { body, rest: Bytes::new(), size: Size::None, response }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let this = self.project();
        let Some(delivery) = &this.response.delivery else {
            let frame = ready!(this.body.poll_frame(context));
            let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
            let piece = |data| Piece::new(whole(data), this.response);
            return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(piece))));
        };
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(context)) {
                Some(frame) => match frame?.into_data() {
                    Ok(mut data) => *this.rest = data.copy_to_bytes(data.remaining()),
                    Err(other) => {
                        // Such a frame has no data.
                        let other = other.map_data(|_| Piece::new(Bytes::new(), this.response));
                        return Poll::Ready(Some(Ok(other)));
                    }
                },
                None => {
                    if *this.size == Size::Large {
                        ready!(delivery.poll_sent(context));
                    }
                    return Poll::Ready(None);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        *this.size = match this.size {
            Size::None if this.rest.is_empty() => Size::Small,
            _ => Size::Large,
        };
        Poll::Ready(Some(Ok(Frame::data(Piece::new(piece, this.response)))))
    }

    fn is_end_stream(&self) -> bool {
        // The end of a large response is held back until the peer has taken the content. A small response is not worth another
        // frame: a peer that does not take even that loses the connection.
        let ends = self.rest.is_empty() && self.body.is_end_stream();
        ends && (self.size != Size::Large || self.response.delivery.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (length(&self.rest), self.body.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A piece of a response, which notes when it is sent.
#[derive(Debug)]
pub(super) struct Piece {
    data: Bytes,
    response: Arc<OpenResponse>,
}

impl Piece {
    fn new(data: Bytes, response: &Arc<OpenResponse>) -> Self {
        if let Some(delivery) = &response.delivery {
            delivery.hand_over(data.len());
        }
        Self { data, response: Arc::clone(response) }
    }

    fn sent(&self, bytes: usize) {
        if let Some(delivery) = &self.response.delivery {
            delivery.take(bytes);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, bytes: usize) {
        self.data.advance(bytes);
        self.sent(bytes);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.sent(self.data.len());
    }
}
