use http::{HeaderMap, Method, StatusCode};

use crate::{Origin, Target};

/// What is signed: a view of a request or response head.
#[derive(Clone, Copy, Debug)]
pub enum Message<'m> {
    /// A request.
    Request(RequestHead<'m>),
    /// A response.
    Response(ResponseHead<'m>),
}

impl<'m> Message<'m> {
    pub(crate) const fn headers(&self) -> &'m HeaderMap {
        match self {
            Self::Request(request) => request.headers,
            Self::Response(response) => response.headers,
        }
    }
}

/// The head of a request, with the origin that it means, which the head alone does not tell.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'m> {
    /// The method, in the case in which it came.
    pub method: &'m Method,
    /// The target as received. Where a router shortens the URI, this is the one from before.
    pub target: Target<'m>,
    /// The origin that the request means.
    pub origin: &'m Origin,
    /// The header fields.
    pub headers: &'m HeaderMap,
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'m> {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: &'m HeaderMap,
}

impl<'m> From<RequestHead<'m>> for Message<'m> {
    fn from(request: RequestHead<'m>) -> Self {
        Self::Request(request)
    }
}

impl<'m> From<ResponseHead<'m>> for Message<'m> {
    fn from(response: ResponseHead<'m>) -> Self {
        Self::Response(response)
    }
}
