//! Public keys of other parties, fetched over HTTPS and kept fresh.

pub(crate) mod fetcher;
pub(crate) mod refresher;
