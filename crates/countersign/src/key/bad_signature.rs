/// The signature is invalid. On purpose it tells no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is invalid")]
pub struct BadSignature;
