//! A replay guard and limits that several servers share, in Redis or Valkey.

mod denied;
mod eviction;
mod failure;
mod gate;
mod guard;
mod link;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod lua;
mod nonces;
mod script;
mod server;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]
mod simulation;
mod terms;

pub use gate::RedisGate;
pub use nonces::RedisNonces;
pub use server::{BadRedis, Redis};
