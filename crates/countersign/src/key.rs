mod error;
mod file;
mod hmac;
mod id;
mod private;
mod proven;
mod publishable;
mod text;
mod verifying;

pub use error::KeyError;
pub use file::{KeyFile, Passphrase};
pub use id::KeyId;
pub use private::PrivateKey;
pub use proven::ProvenKey;
pub use publishable::{Brand, PublishableKey};
pub use verifying::{BadSignature, VerifyingKey};
