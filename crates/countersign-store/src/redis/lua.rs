//! Runs the scripts as Redis does, on data in memory and with a clock that tests set: real processes are too slow for some
//! tests, and have no such clock.

use std::{cell::RefCell, collections::BTreeMap, mem, rc::Rc};

use mlua::{Function, IntoLua, Lua, LuaString, Variadic};
use redis::Value;

use super::{
    script::{CHARGE, CLAIM, RECOVER},
    terms::Asked,
};

/// The data of a Redis server, and its role, id and clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    data: BTreeMap<Vec<u8>, Entry>,
    /// Its replication id.
    pub(super) id: String,
    pub(super) role: Role,
    /// Microseconds since the epoch.
    pub(super) clock: u64,
    /// The written commands, for replicas and files.
    pub(super) log: Vec<Command>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Primary,
    Replica,
}

/// A command and its arguments.
pub(super) type Command = Vec<Vec<u8>>;

#[derive(Clone, Debug)]
struct Entry {
    value: StoredValue,
    /// Milliseconds since the epoch.
    expires: Option<u64>,
}

#[derive(Clone, Debug)]
enum StoredValue {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// A script's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Claim,
    Recover,
    Charge,
}

/// Runs scripts.
pub(super) struct Engine {
    lua: Lua,
    claim: Function,
    recover: Function,
    charge: Function,
    node: Rc<RefCell<Node>>,
}

impl Engine {
    pub(super) fn new() -> Self {
        Self::of(CLAIM.text(), RECOVER.text())
    }

    /// Makes an engine with these scripts, which may be wrong.
    pub(super) fn of(claim: &str, recover: &str) -> Self {
        let lua = Lua::new();
        let node = Rc::new(RefCell::new(Node::default()));
        let called = Rc::clone(&node);
        let call = lua.create_function(move |lua, arguments: Variadic<mlua::Value>| {
            let command: Command = arguments.iter().map(argument).collect();
            called.borrow_mut().call(lua, &command)
        });
        let redis = lua.create_table().unwrap();
        redis.set("call", call.unwrap()).unwrap();
        lua.globals().set("redis", redis).unwrap();
        let load = |text: &str| lua.load(text).into_function().unwrap();
        let (claim, recover, charge) = (load(claim), load(recover), load(CHARGE.text()));
        Self { lua, claim, recover, charge, node }
    }

    /// Runs a script on a node, in one step.
    pub(super) fn run(&self, node: &mut Node, which: Which, asked: &Asked) -> Value {
        let script = match which {
            Which::Claim => &self.claim,
            Which::Recover => &self.recover,
            Which::Charge => &self.charge,
        };
        let list = |values: Vec<LuaString>| self.lua.create_sequence_from(values).unwrap();
        let string = |bytes: &[u8]| self.lua.create_string(bytes).unwrap();
        let keys = asked.keys.iter().map(|key| string(key.as_bytes())).collect();
        let arguments = asked.arguments.iter().map(|argument| string(argument)).collect();
        self.lua.globals().set("KEYS", list(keys)).unwrap();
        self.lua.globals().set("ARGV", list(arguments)).unwrap();
        mem::swap(node, &mut self.node.borrow_mut());
        let returned = script.call::<mlua::Value>(());
        mem::swap(node, &mut self.node.borrow_mut());
        reply(&returned.unwrap())
    }
}

/// Converts an argument of `redis.call` as Redis does.
fn argument(value: &mlua::Value) -> Vec<u8> {
    match value {
        mlua::Value::String(text) => text.as_bytes().to_vec(),
        mlua::Value::Integer(number) => number.to_string().into_bytes(),
        // Exact for whole numbers below 2^53; `%.17g` prints them without an exponent.
        mlua::Value::Number(number) if number.fract() == 0.0 => format!("{number:.0}").into_bytes(),
        other => panic!("no argument for Redis: {other:?}"),
    }
}

/// Converts the return value of a script as Redis does.
fn reply(value: &mlua::Value) -> Value {
    match value {
        mlua::Value::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        mlua::Value::Integer(number) => Value::Int(*number),
        #[expect(clippy::cast_possible_truncation, reason = "so does Redis")]
        mlua::Value::Number(number) => Value::Int(*number as i64),
        mlua::Value::Table(table) => {
            let values = table.sequence_values::<mlua::Value>();
            Value::Array(values.map(|value| reply(&value.unwrap())).collect())
        }
        other => panic!("no reply of Redis: {other:?}"),
    }
}

impl Node {
    fn now(&self) -> u64 {
        self.clock / 1000
    }

    fn call(&mut self, lua: &Lua, command: &Command) -> mlua::Result<mlua::Value> {
        let text = |bytes: &[u8]| -> mlua::Result<mlua::Value> {
            Ok(mlua::Value::String(lua.create_string(bytes)?))
        };
        let name = std::str::from_utf8(&command[0]).unwrap();
        match name {
            "TIME" => {
                let parts = [self.clock / 1_000_000, self.clock % 1_000_000];
                lua.create_sequence_from(parts.map(|part| part.to_string()))?.into_lua(lua)
            }
            "INFO" => {
                let role = match self.role {
                    Role::Primary => "master",
                    Role::Replica => "slave",
                };
                let id = &self.id;
                let info = format!("role:{role}\r\nmaster_replid:{id}\r\nevicted_keys:0\r\n");
                text(info.as_bytes())
            }
            "GET" => match self.stored(&command[1]) {
                Some(StoredValue::Text(value)) => text(value),
                Some(StoredValue::Hash(_)) => panic!("WRONGTYPE"),
                None => Ok(mlua::Value::Boolean(false)),
            },
            "HMGET" => {
                let fields = command[2..].iter().map(|field| self.field(&command[1], field));
                let fields = fields.map(|field| match field {
                    Some(value) => text(value),
                    None => Ok(mlua::Value::Boolean(false)),
                });
                let fields = fields.collect::<mlua::Result<Vec<_>>>()?;
                lua.create_sequence_from(fields)?.into_lua(lua)
            }
            "HKEYS" => {
                let fields = self.hash(&command[1]).into_iter().flatten();
                let fields = fields.map(|(field, _)| text(field)).collect::<mlua::Result<Vec<_>>>();
                lua.create_sequence_from(fields?)?.into_lua(lua)
            }
            "HEXISTS" => {
                let exists = self.field(&command[1], &command[2]).is_some();
                Ok(mlua::Value::Integer(i64::from(exists)))
            }
            "HLEN" => {
                let length = self.hash(&command[1]).map_or(0, BTreeMap::len);
                Ok(mlua::Value::Integer(i64::try_from(length).unwrap()))
            }
            _ => {
                assert_eq!(self.role, Role::Primary, "READONLY");
                // Replicas and files get absolute times.
                let mut written = command.clone();
                if let [set, _, _, px, after] = written.as_mut_slice()
                    && set == b"SET"
                {
                    *px = b"PXAT".to_vec();
                    *after = (self.now() + number(after)).to_string().into_bytes();
                }
                self.write(&written);
                self.log.push(written);
                Ok(mlua::Value::Integer(1))
            }
        }
    }

    /// Applies a write command of a primary.
    pub(super) fn write(&mut self, command: &Command) {
        let key = &command[1];
        let name = std::str::from_utf8(&command[0]).unwrap();
        match name {
            "SET" => {
                let expires = Some(number(&command[4]));
                let value = StoredValue::Text(command[2].clone());
                self.data.insert(key.clone(), Entry { value, expires });
            }
            "HSET" => {
                if self.stored(key).is_none() {
                    let value = StoredValue::Hash(BTreeMap::new());
                    self.data.insert(key.clone(), Entry { value, expires: None });
                }
                let Some(Entry { value: StoredValue::Hash(fields), .. }) = self.data.get_mut(key)
                else {
                    panic!("WRONGTYPE")
                };
                for pair in command[2..].chunks(2) {
                    fields.insert(pair[0].clone(), pair[1].clone());
                }
            }
            "HDEL" => {
                if let Some(Entry { value: StoredValue::Hash(fields), .. }) = self.data.get_mut(key)
                {
                    fields.remove(&command[2]);
                }
            }
            "UNLINK" => {
                for key in &command[1..] {
                    self.data.remove(key);
                }
            }
            "EXPIREAT" => {
                self.data.get_mut(key).unwrap().expires = Some(number(&command[2]) * 1000);
            }
            other => panic!("no command of the scripts: {other}"),
        }
    }

    /// Deletes all data.
    pub(super) fn flush(&mut self) {
        self.data.clear();
    }

    /// Deletes a key.
    pub(super) fn delete(&mut self, key: &str) {
        self.data.remove(key.as_bytes());
    }

    /// Drops expired keys, as Redis does from time to time.
    pub(super) fn expire(&mut self) {
        let now = self.now();
        self.data.retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
    }

    /// Returns the remaining lifetime of a key.
    pub(super) fn time_to_live(&self, key: &str) -> Option<u64> {
        self.data.get(key.as_bytes())?.expires?.checked_sub(self.now())
    }

    fn stored(&self, key: &[u8]) -> Option<&StoredValue> {
        let entry = self.data.get(key)?;
        entry.expires.is_none_or(|expires| expires > self.now()).then_some(&entry.value)
    }

    fn hash(&self, key: &[u8]) -> Option<&BTreeMap<Vec<u8>, Vec<u8>>> {
        match self.stored(key)? {
            StoredValue::Hash(fields) => Some(fields),
            StoredValue::Text(_) => panic!("WRONGTYPE"),
        }
    }

    fn field(&self, key: &[u8], field: &[u8]) -> Option<&Vec<u8>> {
        self.hash(key)?.get(field)
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use countersign::Window;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        enforcement::Enforcement,
        limits::{
            gcra::{Charged, Gcra},
            quota::Quota,
        },
        redis::{
            server::Redis,
            terms::{Charge, Rate, Tab, Terms},
        },
    };

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn terms() -> Terms {
        Terms::new(&Redis::single("redis://127.0.0.1").unwrap(), Window::default())
    }

    /// Charges all quotas together with the code of gcra.rs, as a memory budget does.
    fn charge_all(
        rates: &[Gcra],
        full_at: &mut [Duration],
        cost: NonZeroU32,
        now: Duration,
    ) -> Charge {
        let (mut least, mut longest): (Option<Charge>, Option<Charge>) = (None, None);
        let mut times = Vec::new();
        for (quota, (rate, &at)) in rates.iter().zip(full_at.iter()).enumerate() {
            match rate.charge(at, cost, now) {
                Charged::Fits { full_at, left } => {
                    times.push(full_at);
                    if least.is_none_or(|least| left.remaining < least.remaining) {
                        let (remaining, reset) = (left.remaining, left.reset);
                        least = Some(Charge { quota, remaining, reset, retry_after: None });
                    }
                }
                Charged::TooMuch { retry_after, left } => {
                    if longest.is_none_or(|longest| Some(retry_after) > longest.retry_after) {
                        let (remaining, reset) = (left.remaining, left.reset);
                        let retry_after = Some(retry_after);
                        longest = Some(Charge { quota, remaining, reset, retry_after });
                    }
                }
            }
        }
        if longest.is_none() {
            full_at.copy_from_slice(&times);
        }
        longest.or(least).unwrap()
    }

    /// Quotas whose intervals are whole microseconds, so that both sides count the same.
    fn quota() -> impl Strategy<Value = Quota> {
        let amounts = prop::sample::select(vec![1, 2, 5, 8, 10, 50, 100, 1000, 10_000]);
        let windows = prop::sample::select(vec![1, 10, 60, 3600, 86_400, 31 * 86_400]);
        (amounts, windows, 1u32..200).prop_map(|(amount, window, burst)| {
            let quota = Quota::new(number(amount), Duration::from_secs(window)).unwrap();
            quota.burst(number(burst))
        })
    }

    proptest! {
        #[test]
        fn the_script_charges_as_the_program_does(
            quotas in prop::collection::vec(quota(), 1..4),
            steps in prop::collection::vec((0u64..3_000_000, 1u32..50), 1..60),
        ) {
            let engine = Engine::new();
            let mut node = Node { clock: 1_763_900_000_000_000, ..Node::default() };
            let whole = |quota: &&Quota| quota.interval().as_nanos().is_multiple_of(1000);
            let quotas: Vec<_> = quotas.iter().filter(whole).copied().collect();
            prop_assume!(!quotas.is_empty());
            let gcras: Vec<_> = quotas.iter().map(Gcra::new).collect();
            let rates: Vec<_> = quotas.iter().map(Rate::new).collect();
            let mut full_at = vec![Duration::ZERO; quotas.len()];
            for (wait, cost) in steps {
                node.clock += wait;
                let tab = Tab {
                    subject: "signed:1".into(),
                    rates: &rates,
                    cost: number(cost),
                    enforcement: Enforcement::Enforce,
                };
                let asked = terms().charge(&[tab]);
                let reply = engine.run(&mut node, Which::Charge, &asked);
                let expected =
                    charge_all(&gcras, &mut full_at, number(cost), Duration::from_micros(node.clock));
                prop_assert_eq!(terms().read_charges(&reply).unwrap(), vec![expected]);
                // The key lives until every quota is full again, and hardly longer.
                let last = full_at.iter().max().unwrap().as_micros().div_ceil(1000);
                let kept = node.time_to_live(&asked.keys[0]).map(u128::from).unwrap_or(0);
                let left = last.saturating_sub(u128::from(node.clock / 1000));
                prop_assert!((left..=left + 2).contains(&kept), "{kept} {left}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_microsecond_is_refilled_slower_and_the_longest_are_still_exact() {
        let longest = Duration::from_secs(31 * 86_400);
        let rare = Quota::new(number(1), longest).unwrap();
        for (quota, expected) in [
            (Quota::per_second(number(3)), ("333334", "3")),
            (Quota::per_second(number(u32::MAX)), ("1", "4294967295")),
            (rare, ("2678400000000", "1")),
            (rare.burst(number(u32::MAX)), ("2678400000000", "1681")),
        ] {
            let tab = Tab {
                subject: "signed:1".into(),
                rates: &[Rate::new(&quota)],
                cost: number(1),
                enforcement: Enforcement::Enforce,
            };
            let arguments = terms().charge(&[tab]).arguments;
            let expected = ["1", "2", expected.0, expected.1].map(|text| text.as_bytes().to_vec());
            assert_eq!(arguments, expected);
        }
    }

    #[test]
    fn what_was_taken_is_kept_to_the_last_part_of_a_millisecond() {
        let engine = Engine::new();
        // Redis counts lifetimes in whole milliseconds, from the start of the current millisecond.
        let mut node = Node { clock: 1_763_900_000_000_999, ..Node::default() };
        let rates = [Rate::new(&Quota::per_second(number(1000)).burst(number(14)))];
        let mut charge = |wait: u64, cost| {
            node.clock += wait;
            let tab = Tab {
                subject: "a".into(),
                rates: &rates,
                cost: number(cost),
                enforcement: Enforcement::Enforce,
            };
            let reply = engine.run(&mut node, Which::Charge, &terms().charge(&[tab]));
            terms().read_charges(&reply).unwrap()[0].remaining
        };
        assert_eq!(charge(0, 14), 0);
        assert_eq!(charge(13_500, 1), 12);
    }

    #[test]
    fn a_clock_that_leapt_ahead_and_back_costs_no_more_than_the_burst() {
        let engine = Engine::new();
        let mut node = Node { clock: 1_763_900_000_000_000, ..Node::default() };
        let rates = [Rate::new(&Quota::per_second(number(1)).burst(number(5)))];
        let mut charge = |clock: u64| {
            node.clock = clock;
            let tab = Tab {
                subject: "a".into(),
                rates: &rates,
                cost: number(1),
                enforcement: Enforcement::Enforce,
            };
            let reply = engine.run(&mut node, Which::Charge, &terms().charge(&[tab]));
            terms().read_charges(&reply).unwrap()[0].retry_after
        };
        let start = 1_763_900_000_000_000;
        assert_eq!(charge(start + 3_600_000_000), None);
        assert_eq!(charge(start), Some(Duration::from_secs(1)));
        assert_eq!(charge(start + 1_000_000), None);
    }
}
