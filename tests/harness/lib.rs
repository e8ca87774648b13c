//! A service behind a verifier, on a real socket, and requests to it as raw bytes; and PostgreSQL and Redis servers.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod counted;
mod nginx;
mod order_log;
#[cfg(unix)]
mod postgres;
mod process;
mod proxy;
mod raw;
mod redis;
mod service;

pub use counted::Counted;
pub use nginx::Nginx;
pub use order_log::{order_log, order_verifier};
#[cfg(unix)]
pub use postgres::Postgres;
pub use process::Process;
pub use proxy::CountingProxy;
pub use raw::{Answer, PARAMS, Raw, exchange};
pub use redis::{RedisServer, wait_until};
pub use service::{NOW, Service, TestClock, credential, key, router, verifier};
