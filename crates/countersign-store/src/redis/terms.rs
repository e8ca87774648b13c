use std::{num::NonZeroU32, time::Duration};

use countersign::{NonceUse, Timestamp, Window};
use redis::Value;

use super::{
    failure::{Failure, number, text},
    server::Redis,
};
use crate::{
    enforcement::Enforcement, limits::quota::Quota, nonces::fingerprint_key::FingerprintKey,
};

/// Width of a bucket, in seconds of `created`. A bucket is dropped as a whole.
pub(super) const BUCKET: u64 = 4;
/// Number of hashes in a bucket: at 30,000 claims a second, each has so few fields that Redis stores it in one piece.
const HASHES: u16 = 1024;

/// The terms that servers of a guard agree on: the arguments of scripts, and the meaning of their replies.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The prefix of all keys.
    prefix: String,
    window: Window,
    clock_error: Duration,
    hashes: u16,
}

/// The keys and arguments of a script.
pub(super) struct Asked {
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

/// A server's knowledge of the mark.
pub(super) struct Known {
    pub(super) key: FingerprintKey,
    /// The highest mark in any reply.
    pub(super) low_water: u64,
}

/// A charge to a subject, and the key of its counter.
pub(super) struct Tab<'a> {
    /// The budget and the subject.
    pub(super) subject: String,
    pub(super) rates: &'a [Rate],
    pub(super) cost: NonZeroU32,
    /// What happens to a request over the limit.
    pub(super) enforcement: Enforcement,
}

/// A quota in the units of the scripts: whole microseconds, small enough to be exact in Lua's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    interval: u64,
    burst: u32,
}

/// The outcome of a charge, for the quota that decides: the quota with the least left or, if the charge does not fit, with
/// the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// The index of that quota in the budget.
    pub(super) quota: usize,
    pub(super) remaining: u32,
    pub(super) reset: Duration,
    /// The wait until the charge fits; `None` if it fits now.
    pub(super) retry_after: Option<Duration>,
}

/// The reply of claim.lua.
pub(super) enum Reply {
    Settled {
        settlement: Settlement,
        low_water: u64,
        charge: Option<Charge>,
    },
    /// The mark is missing, belongs to another primary, or is below the highest mark that this server has seen.
    Lost,
    /// The mark has another fingerprint key.
    Key(FingerprintKey),
}

/// What claim.lua settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Fresh,
    Replayed,
    /// The request was created before the mark.
    Old,
    /// The request is over a limit; no nonce was claimed.
    Limited,
}

/// When to raise the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    IfLost,
    Always,
}

/// The reply of recover.lua.
pub(super) struct Recovery {
    pub(super) key: FingerprintKey,
    pub(super) low_water: u64,
    pub(super) mark: Mark,
}

/// The effect of a recovery on the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    AsItWas,
    Raised,
}

impl Terms {
    pub(super) fn new(redis: &Redis, window: Window) -> Self {
        Self {
            prefix: format!("{{countersign:{}}}:", redis.guard),
            window,
            clock_error: redis.clock_error,
            hashes: HASHES,
        }
    }

    /// Uses few hashes, so that dropping them takes no time.
    #[cfg(test)]
    pub(super) fn with_hashes(mut self, hashes: u16) -> Self {
        self.hashes = hashes;
        self
    }

    /// Returns the key of the mark.
    pub(super) fn mark(&self) -> String {
        format!("{}mark", self.prefix)
    }

    fn tab(&self, tab: &Tab<'_>) -> String {
        format!("{}limit:{}", self.prefix, tab.subject)
    }

    /// Builds a call of claim.lua.
    pub(super) fn claim(
        &self,
        known: &Known,
        used: &NonceUse,
        tab: Option<&Tab<'_>>,
        now: Timestamp,
    ) -> Asked {
        let [high, low, field @ ..] = known.key.fingerprint(used).to_be_bytes();
        let hash = u16::from_be_bytes([high, low]).checked_rem(self.hashes).unwrap_or(0);
        let bucket = used.created().unix() / BUCKET;
        let mut keys = vec![self.mark(), format!("{}n:{bucket}:{hash}", self.prefix)];
        let keep = self.window.lifetime().saturating_add(self.clock_error);
        let mut arguments = vec![
            hex(&known.key),
            field.to_vec(),
            decimal(used.created().unix()),
            decimal(now.unix()),
            decimal(known.low_water),
            decimal(self.window.skew().as_secs()),
            decimal(self.clock_error.as_secs()),
            decimal(keep.as_secs()),
            decimal(bucket),
            decimal(BUCKET),
            decimal(self.hashes),
        ];
        if let Some(tab) = tab {
            let enforcement = match tab.enforcement {
                Enforcement::Enforce => "enforce",
                Enforcement::Report => "report",
            };
            arguments.extend([enforcement.as_bytes().to_vec(), decimal(tab.cost)]);
            arguments.extend(tab.rates.iter().flat_map(Rate::arguments));
            keys.push(self.tab(tab));
        }
        Asked { keys, arguments }
    }

    /// Reads the reply of claim.lua.
    pub(super) fn read_claim(&self, reply: &Value, now: Timestamp) -> Result<Reply, Failure> {
        let (verdict, rest) = split(reply)?;
        let settlement = match verdict {
            "fresh" => Settlement::Fresh,
            "replayed" => Settlement::Replayed,
            "old" => Settlement::Old,
            "limited" => Settlement::Limited,
            "lost" => return Ok(Reply::Lost),
            "key" => return Ok(Reply::Key(self.read_key(rest.first())?)),
            other => return Err(self.refused(other, rest, now)),
        };
        let (low_water, level) = rest.split_first().ok_or(Failure::Unreadable("it has no mark"))?;
        let (low_water, charge) = (number(Some(low_water))?, Charge::read(level)?);
        Ok(Reply::Settled { settlement, low_water, charge })
    }

    /// Builds a call of recover.lua. A new mark gets the fingerprint key `key`.
    pub(super) fn recover(
        &self,
        key: FingerprintKey,
        seen: u64,
        when: When,
        now: Timestamp,
    ) -> Asked {
        let when = match when {
            When::IfLost => "if-lost",
            When::Always => "always",
        };
        let arguments = vec![
            hex(&key),
            decimal(now.unix()),
            decimal(seen),
            decimal(self.window.skew().as_secs()),
            decimal(self.clock_error.as_secs()),
            when.as_bytes().to_vec(),
        ];
        Asked { keys: vec![self.mark()], arguments }
    }

    /// Reads the reply of recover.lua.
    pub(super) fn read_recovery(&self, reply: &Value, now: Timestamp) -> Result<Recovery, Failure> {
        let (verdict, rest) = split(reply)?;
        let mark = match verdict {
            "raised" => Mark::Raised,
            "known" => Mark::AsItWas,
            other => return Err(self.refused(other, rest, now)),
        };
        let (key, low_water) = (self.read_key(rest.get(1))?, number(rest.first())?);
        Ok(Recovery { key, low_water, mark })
    }

    /// Builds a call of charge.lua.
    pub(super) fn charge(&self, tabs: &[Tab<'_>]) -> Asked {
        let keys = tabs.iter().map(|tab| self.tab(tab)).collect();
        let mut arguments = vec![decimal(tabs.first().map_or(NonZeroU32::MIN, |tab| tab.cost))];
        for tab in tabs {
            arguments.push(decimal(tab.rates.len().saturating_mul(2)));
            arguments.extend(tab.rates.iter().flat_map(Rate::arguments));
        }
        Asked { keys, arguments }
    }

    /// Reads the reply of charge.lua: the outcome of each tab that was tried.
    pub(super) fn read_charges(&self, reply: &Value) -> Result<Vec<Charge>, Failure> {
        list(reply)?
            .iter()
            .map(|level| Charge::read(list(level)?)?.ok_or(Failure::Unreadable("it has no level")))
            .collect()
    }

    fn read_key(&self, value: Option<&Value>) -> Result<FingerprintKey, Failure> {
        let key = value.map(text).transpose()?.and_then(from_hex);
        key.ok_or_else(|| Failure::NotAMark(self.mark()))
    }

    /// Returns why a script did nothing.
    fn refused(&self, verdict: &str, rest: &[Value], now: Timestamp) -> Failure {
        match verdict {
            "replica" => Failure::Replica,
            "ahead" => Failure::Ahead,
            "broken" => Failure::NotAMark(self.mark()),
            "clock" => match number(rest.first()) {
                Ok(theirs) => {
                    Failure::Clock { ours: now.unix(), theirs, allowed: self.clock_error }
                }
                Err(failure) => failure,
            },
            _ => Failure::Unreadable("its verdict is unknown"),
        }
    }
}

fn list(reply: &Value) -> Result<&[Value], Failure> {
    match reply {
        Value::Array(values) => Ok(values),
        _ => Err(Failure::Unreadable("it is not a list")),
    }
}

fn split(reply: &Value) -> Result<(&str, &[Value]), Failure> {
    let (verdict, rest) = list(reply)?.split_first().ok_or(Failure::Unreadable("it is empty"))?;
    Ok((text(verdict)?, rest))
}

impl Rate {
    /// Longest time in scripts, in microseconds. Added to the time of day it is still exact in Lua's numbers.
    const LONGEST: u64 = 1 << 52;

    /// Rounds the interval up to whole microseconds, so that a budget never refills faster than its quota says.
    pub(super) fn new(quota: &Quota) -> Self {
        let interval = quota.interval().as_nanos().div_ceil(1000);
        let interval = u64::try_from(interval).unwrap_or(Self::LONGEST).clamp(1, Self::LONGEST);
        let most = Self::LONGEST.checked_div(interval).unwrap_or(1);
        let burst = u64::from(quota.at_once().get()).min(most);
        Self { interval, burst: u32::try_from(burst).unwrap_or(u32::MAX) }
    }

    fn arguments(&self) -> [Vec<u8>; 2] {
        [decimal(self.interval), decimal(self.burst)]
    }
}

impl Charge {
    /// Reads the reply of gcra.lua. Returns `None` for a call without limits.
    fn read(values: &[Value]) -> Result<Option<Self>, Failure> {
        let Some(fits) = values.first() else { return Ok(None) };
        let micros = |at| number(values.get(at)).map(Duration::from_micros);
        let fits: u8 = number(Some(fits))?;
        Ok(Some(Self {
            quota: number(values.get(1))?,
            remaining: number(values.get(2))?,
            reset: micros(3)?,
            retry_after: if fits == 1 { None } else { Some(micros(4)?) },
        }))
    }
}

/// Writes a fingerprint key as 32 hexadecimal digits, its form in Redis.
fn hex(key: &FingerprintKey) -> Vec<u8> {
    format!("{:032x}", u128::from_be_bytes(key.to_bytes())).into_bytes()
}

/// Reads a fingerprint key. Only lower-case digits are valid: scripts compare keys as text, so each key needs a single text.
fn from_hex(hex: &str) -> Option<FingerprintKey> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let key = (hex.len() == 32 && hex.bytes().all(is_digit)).then_some(hex)?;
    let key = u128::from_str_radix(key, 16).ok()?;
    Some(FingerprintKey::from_bytes(&key.to_be_bytes()))
}

fn decimal(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}
