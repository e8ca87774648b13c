pub(crate) mod address;
mod attempts;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod notices;
pub(crate) mod patience;
pub(crate) mod pool;
pub(crate) mod reader;
pub(crate) mod transaction;
