//! A service behind a verifier, on a real socket, and requests to it as raw bytes.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod counted;
mod raw;
mod service;

pub use counted::Counted;
pub use raw::{Answer, PARAMS, Raw, exchange};
pub use service::{NOW, Service, TestClock, credential, key, router, verifier};
