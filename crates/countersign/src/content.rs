use http::{HeaderMap, Method};

use crate::field_name::METHOD_OVERRIDES;

/// Whether a request has content. Chunked content counts even if it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No content: the head is everything.
    Absent,
    /// Some, or some may come.
    Present,
}

/// Whether a request is a read: `GET`, `HEAD` or `OPTIONS` without content and without a field of [`METHOD_OVERRIDES`].
pub fn is_read(method: &Method, headers: &HeaderMap, content: Content) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && content == Content::Absent
        && !METHOD_OVERRIDES.iter().any(|field| headers.contains_key(field))
}
