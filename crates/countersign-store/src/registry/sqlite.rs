pub(crate) mod address;
pub(crate) mod file;
pub(crate) mod pool;
pub(crate) mod schema;
