//! `Content-Length` of responses that have no content (RFC 9110 §8.6).

use http::{HeaderMap, Method, StatusCode, header::CONTENT_LENGTH};
use http_body::Body;

/// Makes the length right before the content of a response is dropped that may have none: 1xx and 204 have no length, and a response to
/// `HEAD` has the length of the response to `GET`.
pub(crate) fn fix_content_length(
    content: &impl Body,
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
) {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    } else if *method == Method::HEAD
        && status != StatusCode::NOT_MODIFIED
        // A body that has already ended says nothing about the response to GET.
        && !content.is_end_stream()
        && let Some(length) = content.size_hint().exact()
    {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}
