use redis::{Pipeline, RedisResult, Value};

use super::failure::{Failure, text};

/// Whether Redis has evicted keys since the mark was made or raised: its number of evicted keys then differs from the number
/// at the mark. A Redis whose policy allows eviction is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    Never,
    Happened,
}

impl Eviction {
    /// Adds the commands that read the memory policy and the number of evicted keys.
    pub(super) fn ask(pipeline: &mut Pipeline, mark: &str) {
        pipeline.cmd("INFO").arg("memory").cmd("INFO").arg("stats");
        pipeline.cmd("HGET").arg(mark).arg("evicted");
    }

    /// Reads the replies to the commands of [`ask`](Self::ask).
    pub(super) fn read(
        mut replies: impl Iterator<Item = RedisResult<Value>>,
    ) -> Result<Self, Failure> {
        let mut next = || -> Result<Value, Failure> {
            Ok(replies.next().ok_or(Failure::Unreadable("INFO has none"))??)
        };
        let (memory, stats, at_the_mark) = (next()?, next()?, next()?);
        let policy = info(text(&memory)?, "maxmemory_policy")
            .ok_or(Failure::Unreadable("INFO has no memory policy"))?;
        if policy != "noeviction" {
            return Err(Failure::Evicts(policy.to_owned()));
        }
        let evicted = info(text(&stats)?, "evicted_keys")
            .ok_or(Failure::Unreadable("INFO has no number of evicted keys"))?;
        Ok(match at_the_mark {
            // The script reports a missing mark.
            Value::Nil => Self::Never,
            at_the_mark if text(&at_the_mark)? == evicted => Self::Never,
            _ => Self::Happened,
        })
    }
}

/// Returns a value from a reply to INFO.
fn info<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
