//! A replay guard and limits that several servers share, in Redis or Valkey.

mod denied;
mod eviction;
mod failure;
mod gate;
mod guard;
mod link;
#[cfg(test)]
mod lua;
mod nonces;
mod script;
mod server;
#[cfg(test)]
mod simulation;
mod terms;

pub use gate::RedisGate;
pub use nonces::RedisNonces;
pub use server::{BadRedis, Redis};
