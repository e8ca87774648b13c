//! What goes over the wire, as a server sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod coverage;
mod forgeries;
#[cfg(all(unix, feature = "key-files"))]
mod key_files;
mod own_client;
mod redirects;
mod refusals;
mod server;
mod signed_responses;
mod signing;
