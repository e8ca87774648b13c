//! What goes over the wire, as a server sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "blocking")]
mod blocking;
mod bodies;
mod clock;
mod coverage;
mod forgeries;
#[cfg(all(unix, feature = "key-files"))]
mod key_files;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "middleware")]
mod middleware;
mod own_client;
mod redirects;
mod refusals;
mod remote_key;
mod server;
mod signed_responses;
mod signing;
mod waiting;
