use countersign::{Content, METHOD_OVERRIDES};
use http::{Method, request::Parts};

/// What a route asks for.
///
/// Without a word from its author, a route asks for [`Access::Publishable`] when the method is `GET`, `HEAD` or
/// `OPTIONS`, no field overrides it, and there is no content, and for [`Access::Signed`] in every other case. A route raises that by taking a
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
    pub fn by_default(head: &Parts, content: Content) -> Self {
        let read = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        // Whatever runs behind the verifier may take it for a request of that other method.
        let overridden = METHOD_OVERRIDES.iter().any(|field| head.headers.contains_key(field));
        match content {
            Content::Absent if read && !overridden => Self::Publishable,
            Content::Absent | Content::Present => Self::Signed,
        }
    }
}
