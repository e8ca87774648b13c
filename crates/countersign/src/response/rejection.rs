use crate::{
    digest::BadDigest,
    key::BadSignature,
    malformed::Malformed,
    rejection::{Stale, Unmet},
};

/// Why a response does not count as the server's own to this request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum ResponseRejection {
    #[error("it has no signature with the tag of signed responses")]
    Unsigned,
    #[error("its signature fields are malformed")]
    Malformed(#[from] Malformed),
    #[error("its signature covers too little")]
    Policy(#[from] Unmet),
    #[error("its signature is outside its time window")]
    Stale(#[from] Stale),
    #[error("the digest of its content cannot be checked")]
    Digest(#[from] BadDigest),
    #[error("its keyid names none of the server's keys")]
    UnknownKey,
    #[error("its signature is not valid for this response to this request")]
    Invalid,
    #[error("its content is not the signed content")]
    DigestMismatch,
    #[error(
        "the request is signed under another tag, so that nothing says what its answer has to be bound to"
    )]
    RequestTag,
}

impl From<BadSignature> for ResponseRejection {
    fn from(_: BadSignature) -> Self {
        Self::Invalid
    }
}
