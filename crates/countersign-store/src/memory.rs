mod keys;
mod nonces;

pub use keys::MemoryKeys;
pub use nonces::{MemoryNonces, Volatile};
