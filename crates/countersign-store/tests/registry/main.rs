//! The registry, on real files and on a real PostgreSQL server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod credentials;
mod files;
mod home;
mod life;
#[expect(unreachable_pub, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/log.rs"]
mod log;
mod rotation;
mod sealed;
#[cfg(all(feature = "postgres", unix))]
#[expect(unreachable_pub, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/postgres.rs"]
mod server;
mod watch;
