//! A service behind a verifier, on a real socket, and requests to it as raw bytes; and a PostgreSQL server.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod counted;
#[cfg(unix)]
mod postgres;
mod raw;
mod service;

pub use counted::Counted;
#[cfg(unix)]
pub use postgres::Postgres;
pub use raw::{Answer, PARAMS, Raw, exchange};
pub use service::{NOW, Service, TestClock, credential, key, router, verifier};
