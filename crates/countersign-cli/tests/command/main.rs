//! The command as its users run it: real processes, files and sockets.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(all(feature = "ecdsa", feature = "rsa"))]
mod algorithms;
mod curl;
mod desk;
mod end_to_end;
mod explaining;
mod forms;
mod keys;
mod life;
mod master_keys;
mod processes;
mod registry;
mod restrictions;
mod signing;
mod trailers;
mod uploads;
