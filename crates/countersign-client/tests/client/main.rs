//! What goes over the wire, as a server sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod clock;
mod coverage;
#[cfg(all(unix, feature = "key-files"))]
mod key_files;
mod redirects;
mod refusals;
mod server;
mod signing;
