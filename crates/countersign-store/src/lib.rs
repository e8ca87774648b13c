//! Where applications, credentials and nonces are kept.
//!
//! Two traits, each of one atomic question: [`KeyStore::find`] and [`NonceStore::claim`]. Beside them stores that
//! answer: [`MemoryKeys`] and [`MemoryNonces`] in one process, and [`Registry`] in an SQLite file.

mod credential;
mod error;
mod key_store;
mod memory;
mod nonce_store;
#[cfg(feature = "sqlite")]
mod registry;

pub use credential::{Application, Credential, CredentialId, Standing, State, UnknownState};
pub use error::StoreError;
pub use key_store::KeyStore;
pub use memory::{MemoryKeys, MemoryNonces, Volatile};
pub use nonce_store::{Ceiling, NonceStore, Window};
#[cfg(feature = "sqlite")]
pub use registry::{Registry, RegistryError, Revocation};
