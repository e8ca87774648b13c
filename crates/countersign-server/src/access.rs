use countersign::Content;
use http::Method;

/// What a route asks for.
///
/// Without a word from its author, a route asks for [`Access::Publishable`] when the method is `GET`, `HEAD` or
/// `OPTIONS` and there is no content, and for [`Access::Signed`] in every other case. A route raises that by taking a
/// [`Signed`](crate::Signed) or [`SignedBy`](crate::SignedBy) extractor, or by the layer
/// [`RequireSigned`](crate::RequireSigned).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anyone.
    Open,
    /// A publishable key, or a signature.
    Publishable,
    /// A signature. No publishable key ever is enough.
    Signed,
}

impl Access {
    /// What a request asks for when nobody said anything.
    pub fn by_default(method: &Method, content: Content) -> Self {
        match (method, content) {
            (&Method::GET | &Method::HEAD | &Method::OPTIONS, Content::Absent) => Self::Publishable,
            _ => Self::Signed,
        }
    }
}
