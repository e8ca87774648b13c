//! The registry, on real files and on a real PostgreSQL server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod credentials;
mod files;
mod home;
mod last_use;
mod life;
mod pages;
mod rotation;
#[cfg(all(feature = "postgres", unix))]
#[expect(unreachable_pub, dead_code, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/postgres.rs"]
mod server;
mod settings;
