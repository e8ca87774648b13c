//! The guard and the limits that servers share, on real Redis processes.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the numbers are the tests' own"
)]

mod fixture;
mod gate;
mod guard;
mod proxy;
#[path = "../../../../tests/harness/redis.rs"]
mod server;
