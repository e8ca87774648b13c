//! Keys of others that are fetched over HTTPS and kept fresh.

pub(crate) mod fetcher;
pub(crate) mod refresher;
