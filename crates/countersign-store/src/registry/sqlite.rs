pub(super) mod address;
pub(super) mod file;
pub(super) mod schema;
