//! The registry, on real files and on a real PostgreSQL server.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod audit;
mod credentials;
mod faults;
mod files;
mod held_keys;
mod home;
mod kills;
mod last_use;
mod life;
mod listed;
#[expect(unreachable_pub, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/log.rs"]
mod log;
mod migrations;
mod pages;
#[cfg(all(feature = "postgres", unix))]
mod pooler;
#[cfg(all(feature = "postgres", unix))]
mod relay;
mod rotation;
mod sealed;
#[cfg(all(feature = "postgres", unix))]
#[expect(unreachable_pub, dead_code, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/postgres.rs"]
mod server;
#[cfg(all(feature = "postgres", unix))]
mod server_faults;
mod settings;
#[cfg(feature = "registry-text")]
mod statements;
#[cfg(feature = "registry-text")]
mod text;
mod usage;
mod usage_events;
#[cfg(unix)]
mod usage_faults;
#[cfg(all(feature = "postgres", unix))]
mod usage_partitions;
mod usage_responses;
mod watch;
