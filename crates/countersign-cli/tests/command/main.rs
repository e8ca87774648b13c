//! The command as its users run it: real processes, files and sockets.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

#[cfg(all(feature = "ecdsa", feature = "rsa"))]
mod algorithms;
mod audit;
mod curl;
mod curl_alone;
mod database;
mod desk;
mod doctor;
mod end_to_end;
mod explaining;
mod forms;
mod keys;
mod life;
mod manuals;
mod master_keys;
mod own_keys;
mod processes;
#[path = "../life/recorded_usage.rs"]
mod recorded_usage;
#[expect(unreachable_pub, dead_code, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/redis.rs"]
mod redis_server;
mod registry;
mod registry_text;
mod restrictions;
mod scanning;
mod served;
#[expect(unreachable_pub, dead_code, reason = "the harness of other tests has it as well")]
#[path = "../../../../tests/harness/postgres.rs"]
mod server;
mod server_faults;
mod serving;
mod serving_auth;
#[cfg(feature = "envoy-grpc")]
mod serving_checks;
mod serving_config;
mod serving_faults;
mod serving_killed;
mod serving_proxied;
mod serving_signed_hop;
mod serving_tls;
mod serving_together;
mod serving_usage;
mod signing;
mod trailers;
mod uploads;
mod upstream;
mod usage;
