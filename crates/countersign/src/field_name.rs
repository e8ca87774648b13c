use http::{HeaderName, header};

/// The name of the `Signature-Input` field (RFC 9421 §4.1).
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// The name of the `Signature` field (RFC 9421 §4.2).
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The fields of signatures. A signature may cover single members of them.
pub(crate) static SIGNATURES: [HeaderName; 2] = [SIGNATURE, SIGNATURE_INPUT];

/// The name of the `X-Api-Key` field, which carries the publishable key of an unsigned read.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The name of the `Content-Digest` field (RFC 9530 §2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The name of the `Repr-Digest` field (RFC 9530 §3). Its digests are of the selected representation, which equals the
/// content unless the content is a part of it.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Fields by which some frameworks change a request's method. A server counts a request with one of them as a write.
pub const METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Fields by which some servers and frameworks change a request's target.
///
/// A signed request of any method has to cover them. If a proxy of your own adds one, remove it there, or pass it to
/// [`Policy::remove_uncovered`](crate::Policy::remove_uncovered).
pub const TARGET_OVERRIDES: [HeaderName; 2] =
    [HeaderName::from_static("x-original-url"), HeaderName::from_static("x-rewrite-url")];

/// Fields of conditional requests (RFC 9110 §13.1) and range requests (§14.2, §14.4).
///
/// Added to a signed write, they change its effect: with `If-None-Match: *` it does nothing. So a write has to cover
/// them. Caches and proxies add them to reads by themselves, so a read need not cover them: a server hides uncovered ones
/// from the handler.
pub const CONDITIONAL_FIELDS: [HeaderName; 7] = [
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
    header::CONTENT_RANGE,
];

/// The field that names the [`Code`](crate::Code) of a refusal in its response, whatever the content is: an Item of
/// structured fields with a Token (RFC 9651 §3.3.4).
pub const REFUSAL: HeaderName = HeaderName::from_static("countersign-refusal");
