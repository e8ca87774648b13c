mod budget;
mod keys;
mod limited;
mod nonces;

pub use budget::MemoryBudget;
pub use keys::MemoryKeys;
pub use limited::Limited;

pub use nonces::{MemoryNonces, Volatile};
