//! Sign and verify HTTP requests. No sockets, no clock, no threads: the caller brings those.

mod algorithm;
mod key;
mod nonce;
mod timestamp;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use key::{
    BadSignature, Brand, KeyError, KeyFile, KeyId, Passphrase, PrivateKey, ProvenKey,
    PublishableKey, VerifyingKey,
};
pub use nonce::{Claim, Nonce, NonceUse, NotANonce};
pub use timestamp::Timestamp;
