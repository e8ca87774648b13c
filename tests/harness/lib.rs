//! A service behind a verifier, on a real socket, and requests to it as raw bytes; and PostgreSQL and Redis servers.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod answer;
mod changing_proxy;
pub mod corpus;
mod counted;
mod frames;
mod imports;
mod issuer;
mod latin1;
mod log;
mod nginx;
mod order_log;
#[cfg(unix)]
mod postgres;
mod process;
mod proxy;
mod raw;
mod redis;
mod service;
mod usage_desk;

pub use answer::{Answer, Outcome};
pub use changing_proxy::ChangingProxy;
pub use counted::Counted;
pub use frames::{End, Http2, exchange_http2};
pub use imports::{Circle, Imports};
pub use issuer::{ISSUER, IssuerKey, JwksServer, claims, claims_with, thumbprint, token_of};
pub use latin1::Bytes;
pub use log::Log;
pub use nginx::Nginx;
pub use order_log::{order_log, order_verifier};
#[cfg(unix)]
pub use postgres::Postgres;
pub use process::Process;
pub use proxy::CountingProxy;
pub use raw::{PARAMS, Raw, exchange, exchange_http1};
pub use redis::{RedisServer, wait_until};
pub use service::{NOW, Service, TestClock, credential, key, router, verifier};
pub use usage_desk::UsageDesk;
