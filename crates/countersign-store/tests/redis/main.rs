//! The guard and the limits that servers share, on real Redis processes.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "the numbers are the tests' own")]

mod fixture;
mod gate;
mod guard;
#[expect(unreachable_pub, dead_code, reason = "it is part of the harness of other tests as well")]
#[path = "../../../../tests/harness/proxy.rs"]
mod proxy;
#[expect(unreachable_pub, reason = "it is part of the harness of other tests as well")]
#[path = "../../../../tests/harness/redis.rs"]
mod server;
