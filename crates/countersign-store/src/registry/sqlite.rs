pub(crate) mod address;
pub(crate) mod file;
mod identity;
pub(crate) mod pool;
mod result_code;
pub(crate) mod schema;
pub(crate) mod transaction;
