pub(crate) mod address;
pub(crate) mod failure;
pub(crate) mod notices;
pub(crate) mod patience;
pub(crate) mod pool;
pub(crate) mod reader;
pub(crate) mod transaction;
