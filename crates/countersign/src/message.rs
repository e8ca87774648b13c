use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::{
    component::BoundTo,
    field_name::{SIGNATURE, SIGNATURE_INPUT},
    field_type::FieldTypes,
    origin::Origin,
    target::Target,
};

/// The message to sign: a view of a request or response, and of everything that its components can reach beside the head.
///
/// Made from a [`RequestHead`] or a [`ResponseHead`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    pub(crate) head: Head<'m>,
    /// The request of a response.
    pub(crate) request: Option<RequestHead<'m>>,
    pub(crate) trailers: Option<&'m HeaderMap>,
    /// The trailers of the request of a response.
    pub(crate) request_trailers: Option<&'m HeaderMap>,
    /// The `Content-Digest` that signing adds to a request.
    pub(crate) content_digest: Option<&'m HeaderValue>,
    pub(crate) field_types: FieldTypes<'m>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Head<'m> {
    Request(RequestHead<'m>),
    Response(ResponseHead<'m>),
}

/// The head of a request, with its origin, which the head alone does not tell.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'m> {
    /// The method, in its original case.
    pub method: &'m Method,
    /// The target as received. Where a router shortens the URI, pass the original one.
    pub target: Target<'m>,
    /// The request's origin.
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

impl ResponseHead<'_> {
    /// Whether the response to a request of this method can have content, whatever its fields say: not to `HEAD`, and not
    /// with a status without content (RFC 9110 §6.4.1).
    pub fn may_have_content(&self, method: &Method) -> bool {
        *method != Method::HEAD
            && !self.status.is_informational()
            && !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

impl<'m> Message<'m> {
    const fn new(head: Head<'m>) -> Self {
        Self {
            head,
            request: None,
            trailers: None,
            request_trailers: None,
            content_digest: None,
            field_types: FieldTypes::REGISTERED,
        }
    }

    /// The request of a response, for components with `req` (RFC 9421 §2.4).
    pub const fn with_request(mut self, request: RequestHead<'m>) -> Self {
        self.request = Some(request);
        self
    }

    /// The trailer fields, for components with `tr` (RFC 9421 §2.1.4).
    pub const fn with_trailers(mut self, trailers: &'m HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// The trailer fields of the request of a response, for components with both `req` and `tr`.
    pub const fn with_request_trailers(mut self, trailers: &'m HeaderMap) -> Self {
        self.request_trailers = Some(trailers);
        self
    }

    /// The types of structured fields, for components with `sf` or `key`. Default: [`FieldTypes::REGISTERED`].
    pub const fn with_field_types(mut self, field_types: FieldTypes<'m>) -> Self {
        self.field_types = field_types;
        self
    }

    pub(crate) const fn with_content_digest(mut self, digest: Option<&'m HeaderValue>) -> Self {
        self.content_digest = digest;
        self
    }

    /// The header fields.
    pub const fn headers(&self) -> &'m HeaderMap {
        match &self.head {
            Head::Request(request) => request.headers,
            Head::Response(response) => response.headers,
        }
    }

    /// The fields with the signatures: the header, or the trailers if the header has no signature (RFC 9421 §4).
    pub fn signature_fields(&self) -> &'m HeaderMap {
        let signed = |fields: &HeaderMap| {
            fields.contains_key(SIGNATURE_INPUT) || fields.contains_key(SIGNATURE)
        };
        match self.trailers {
            Some(trailers) if !signed(self.headers()) && signed(trailers) => trailers,
            _ => self.headers(),
        }
    }

    /// The request of a component: the message itself, or, with `req`, the request of the response.
    pub(crate) const fn request_of(&self, bound: BoundTo) -> Option<RequestHead<'m>> {
        match (bound, self.head) {
            (BoundTo::ThisMessage, Head::Request(request)) => Some(request),
            (BoundTo::ItsRequest, Head::Response(_)) => self.request,
            (BoundTo::ThisMessage, Head::Response(_)) | (BoundTo::ItsRequest, Head::Request(_)) => {
                None
            }
        }
    }
}

impl<'m> From<RequestHead<'m>> for Message<'m> {
    fn from(request: RequestHead<'m>) -> Self {
        Self::new(Head::Request(request))
    }
}

impl<'m> From<ResponseHead<'m>> for Message<'m> {
    fn from(response: ResponseHead<'m>) -> Self {
        Self::new(Head::Response(response))
    }
}
