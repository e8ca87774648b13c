use std::sync::LazyLock;

use redis::Pipeline;

use super::terms::Asked;

/// A script, and the hash by which Redis knows it once it has seen it.
pub(super) struct Script {
    text: &'static str,
    redis: redis::Script,
}

/// Claims a nonce, and charges the budget of its credential before.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("state.lua"),
        include_str!("gcra.lua"),
        include_str!("claim.lua")
    ))
});

/// Makes the mark, or raises it where claims may be lost.
pub(super) static RECOVER: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("state.lua"), include_str!("recover.lua"))));

/// Charges budgets.
pub(super) static CHARGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("gcra.lua"), include_str!("charge.lua"))));

/// How a script is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// By its hash, which is short, and fails if Redis does not know it.
    ByHash,
    /// Whole.
    Whole,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, redis: redis::Script::new(text) }
    }

    /// Its Lua.
    #[cfg(test)]
    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    /// Adds that Redis shall know it.
    pub(super) fn load(&self, pipeline: &mut Pipeline) {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(self.text);
    }

    /// Adds it to what is sent.
    pub(super) fn send(&self, pipeline: &mut Pipeline, sent: Sent, asked: &Asked) {
        let Asked { keys, arguments } = asked;
        match sent {
            Sent::ByHash => pipeline.cmd("EVALSHA").arg(self.redis.get_hash()),
            Sent::Whole => pipeline.cmd("EVAL").arg(self.text),
        };
        pipeline.arg(keys.len()).arg(keys).arg(arguments);
    }
}
