use http::HeaderName;

/// The name of the `Signature-Input` field (RFC 9421 §4.1).
pub(crate) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// The name of the `Signature` field (RFC 9421 §4.2).
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The fields of signatures. A signature may cover single members of them.
pub(crate) static SIGNATURES: [HeaderName; 2] = [SIGNATURE, SIGNATURE_INPUT];

/// The name of the `Content-Digest` field (RFC 9530 §2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The name of the `Repr-Digest` field (RFC 9530 §3). Its digests are of the selected representation, which equals the
/// content unless the content is a part of it.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
