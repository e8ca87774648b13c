pub(crate) mod address;
pub(crate) mod failure;
pub(crate) mod notices;
pub(crate) mod pool;
