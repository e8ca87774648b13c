use std::sync::LazyLock;

use redis::Pipeline;

use super::terms::Asked;

/// A Lua script. Redis knows a loaded script by its hash.
pub(super) struct Script {
    text: &'static str,
    redis: redis::Script,
}

/// Charges the budget of a credential, then claims a nonce.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("state.lua"),
        include_str!("gcra.lua"),
        include_str!("claim.lua")
    ))
});

/// Makes the mark, or raises it if claims may be lost.
pub(super) static RECOVER: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("state.lua"), include_str!("recover.lua"))));

/// Charges budgets.
pub(super) static CHARGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("gcra.lua"), include_str!("charge.lua"))));

/// How a script is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// By its hash, which is short. Fails if Redis does not know the script.
    ByHash,
    /// As its full text.
    Whole,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, redis: redis::Script::new(text) }
    }

    /// Returns its Lua source.
    #[cfg(test)]
    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    /// Adds a command that loads the script into Redis.
    pub(super) fn load(&self, pipeline: &mut Pipeline) {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(self.text);
    }

    /// Adds a call of the script to a pipeline.
    pub(super) fn send(&self, pipeline: &mut Pipeline, sent: Sent, asked: &Asked) {
        let Asked { keys, arguments } = asked;
        match sent {
            Sent::ByHash => pipeline.cmd("EVALSHA").arg(self.redis.get_hash()),
            Sent::Whole => pipeline.cmd("EVAL").arg(self.text),
        };
        pipeline.arg(keys.len()).arg(keys).arg(arguments);
    }
}
