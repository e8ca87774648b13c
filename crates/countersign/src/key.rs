#[cfg(feature = "key-files")]
mod any_file;
mod any_private;
mod any_verifying;
mod bad_signature;
mod base58;
#[cfg(feature = "ecdsa")]
mod ecdsa;
mod ed25519;
mod encoding;
mod error;
#[cfg(feature = "key-files")]
mod file;
#[cfg(feature = "key-files")]
mod file_text;
mod guessable;
mod hmac;
mod id;
mod jwk;
mod known;
mod leak;
mod multiples;
#[cfg(feature = "key-files")]
mod openssh;
#[cfg(feature = "key-files")]
mod passphrase;
#[cfg(feature = "key-files")]
mod pem;
mod private;
mod proven;
mod publishable;
#[cfg(feature = "key-files")]
mod reads;
#[cfg(feature = "rsa")]
mod rsa;
mod server_keys;
mod verifying;

#[cfg(feature = "key-files")]
pub use any_file::AnyKeyFile;
pub use any_private::{AnyPrivateKey, Signs};
pub use any_verifying::{AnyVerifyingKey, Verifies};
pub use bad_signature::BadSignature;
#[cfg(feature = "ecdsa")]
pub use ecdsa::{EcdsaPrivateKey, EcdsaPublicKey};
pub use error::KeyError;
#[cfg(feature = "key-files")]
pub use file::KeyFile;
pub use id::KeyId;
#[cfg(feature = "key-files")]
pub use passphrase::Passphrase;
pub use private::PrivateKey;
pub use proven::ProvenKey;
pub use publishable::{Brand, PublishableKey};
#[cfg(feature = "rsa")]
pub use rsa::RsaPublicKey;
pub use server_keys::{BadServerKeys, KEY_DIRECTORY_PATH, KEY_DIRECTORY_TYPE, ServerKeys};
pub use verifying::VerifyingKey;
