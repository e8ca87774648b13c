//! Sign and verify HTTP requests. No sockets, no clock, no threads: the caller brings those.

mod algorithm;
mod component;
mod dictionary;
mod digest;
mod key;
mod message;
mod nonce;
mod origin;
mod policy;
mod rejection;
mod sign;
mod signature_base;
mod signature_input;
mod target;
mod timestamp;
mod verify;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use component::{BadComponent, Component, Derived};
pub use digest::{BadDigest, CONTENT_DIGEST, ContentDigest, DigestCheck, DigestMismatch};
pub use key::{
    BadSignature, Brand, KeyError, KeyFile, KeyId, Passphrase, PrivateKey, ProvenKey,
    PublishableKey, VerifyingKey,
};
pub use message::{Message, RequestHead, ResponseHead};
pub use nonce::{Claim, Nonce, NonceUse, NotANonce};
pub use origin::{BadOrigin, BadOrigins, Misdirected, Origin, Origins, Scheme};
pub use policy::{BadPolicy, Content, Policy};
pub use rejection::{Code, Malformed, Rejection, Stale, UnknownCode, Unmet};
pub use sign::{SignError, SignatureFields, SignatureParams, SignedFields, Signer, sign};
pub use signature_base::{BadBase, SignatureBase};
pub use signature_input::{LabelledSignature, SignatureInput};
pub use target::{BadTarget, Target};
pub use timestamp::Timestamp;
pub use verify::{Authentic, Candidate, Claimed, ContentCheck, Intact, Unverified};
