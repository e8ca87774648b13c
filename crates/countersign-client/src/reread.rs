use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use reqwest::{Response, ResponseBuilderExt as _};

type Data = <reqwest::Body as Body>::Data;
type Read = Result<Frame<Data>, reqwest::Error>;

/// Takes a response apart, to read it before its caller does. A response made of the parts has the same URL.
pub(crate) fn take_apart(response: Response) -> (Parts, reqwest::Body) {
    let url = response.url().clone();
    let (mut head, body) = http::Response::from(response).into_parts();
    // The URL comes from an extension, which only a builder can make.
    if let Ok(with_url) = http::Response::builder().url(url).body(()) {
        head.extensions.extend(with_url.into_parts().0.extensions);
    }
    (head, body)
}

/// Content whose beginning was read, and that can still be read from its beginning.
pub(crate) struct Reread {
    read: VecDeque<Read>,
    rest: Rest,
}

/// The unread rest.
enum Rest {
    More(reqwest::Body),
    Ended,
}

impl Reread {
    /// Reads until the end, or until it is more than `most` bytes.
    pub(crate) async fn begin(mut body: reqwest::Body, most: usize) -> Self {
        let mut read = VecDeque::new();
        let mut length: usize = 0;
        while length <= most {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    length = length.saturating_add(frame.data_ref().map_or(0, Data::len));
                    read.push_back(Ok(frame));
                }
                broken_off_or_ended => {
                    read.extend(broken_off_or_ended);
                    return Self { read, rest: Rest::Ended };
                }
            }
        }
        Self { read, rest: Rest::More(body) }
    }

    /// The whole content, if all of it was read and it ended well.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        for frame in &self.read {
            let data = frame.as_ref().ok()?.data_ref();
            content.extend(data.into_iter().flatten());
        }
        matches!(self.rest, Rest::Ended).then_some(content)
    }
}

impl Body for Reread {
    type Data = Data;
    type Error = reqwest::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Read>> {
        match (self.read.pop_front(), &mut self.rest) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Rest::More(body)) => Pin::new(body).poll_frame(context),
            (None, Rest::Ended) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            Rest::More(body) => body.is_end_stream(),
            Rest::Ended => true,
        };
        ended && self.read.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.read.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        let read: usize = data.map(Data::len).fold(0, usize::saturating_add);
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = match &self.rest {
            Rest::More(body) => body.size_hint(),
            // Content that breaks off has no size.
            Rest::Ended if self.read.iter().any(Result::is_err) => SizeHint::new(),
            Rest::Ended => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
