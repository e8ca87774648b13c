//! The replay guard and the limits of several servers, shared in Redis or Valkey.

mod denied;
mod eviction;
mod failure;
pub(crate) mod gate;
mod guard;
mod link;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod lua;
pub(crate) mod nonces;
mod script;
pub(crate) mod server;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod simulation;
mod terms;
