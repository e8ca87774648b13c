//! The scripts themselves, on several servers of Redis that fail in every way we promise to survive, with clocks that are
//! set, beside an oracle that forgets nothing: nothing is fresh twice.
//!
//! `COUNTERSIGN_SIMULATIONS` is how many runs are made. Each is the same whenever it has the same number.

use std::{
    collections::HashSet,
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use countersign::{Nonce, NonceUse, Timestamp};

use super::{
    Redis,
    lua::{Command, Engine, Node, Role, Which},
    script::{CLAIM, RECOVER},
    terms::{FingerprintKey, Known, Reply, Terms, Verdict, When},
};
use crate::Window;

const START: u64 = 1_763_900_000;
const STEPS: usize = 160;
const MICROS: u64 = 1_000_000;
const DAY: u64 = 86_400;
/// The clock error of the guard. A right clock is within half of it.
const CLOCK_ERROR: u64 = 4;

/// Numbers that depend on a seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    /// Seconds from `-most` to `most`, in microseconds.
    fn either_way(&mut self, most: u64) -> i64 {
        let span = usize::try_from(2 * most * MICROS + 1).unwrap();
        i64::try_from(self.below(span)).unwrap() - i64::try_from(most * MICROS).unwrap()
    }
}

/// Which clocks may say anything. The others are within half the clock error of the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wild {
    Nobody,
    Servers,
    Redis,
}

struct World<'a> {
    random: Random,
    engine: &'a Engine,
    terms: Terms,
    /// Microseconds since the epoch.
    time: u64,
    wild: Wild,
    nodes: Vec<Machine>,
    primary: usize,
    /// What the primary did since it is one, a script at a time.
    done: Vec<Vec<Command>>,
    servers: Vec<Server>,
    ids: u64,
    nonces: u64,
    /// All that was ever accepted, which nobody forgets here.
    accepted: Vec<NonceUse>,
    known: HashSet<NonceUse>,
    /// How often a claim was made that had been accepted.
    replays: usize,
}

/// A server of Redis.
struct Machine {
    node: Node,
    clock_off: i64,
    /// What it finds when it starts again.
    disk: Option<Node>,
    /// How much of what the primary did has come here; nothing if it has yet to get all of it.
    applied: Option<usize>,
}

/// A server that verifies.
struct Server {
    clock_off: i64,
    key: FingerprintKey,
    low_water: u64,
}

#[derive(Debug)]
struct FreshTwice {
    after: usize,
}

impl<'a> World<'a> {
    fn new(seed: u64, engine: &'a Engine) -> Self {
        let redis = Redis::single("redis://127.0.0.1").unwrap();
        let redis = redis.clock_error(Duration::from_secs(CLOCK_ERROR));
        let terms = Terms::new(&redis, Window::default()).with_hashes(2);
        let mut world = Self {
            random: Random(seed),
            engine,
            terms,
            time: START * MICROS,
            wild: Wild::Nobody,
            nodes: Vec::new(),
            primary: 0,
            done: Vec::new(),
            servers: Vec::new(),
            ids: 0,
            nonces: 0,
            accepted: Vec::new(),
            known: HashSet::new(),
            replays: 0,
        };
        for number in 0..3 {
            let id = world.new_id();
            let role = if number == 0 { Role::Primary } else { Role::Replica };
            let mut node = Node::default();
            (node.id, node.role) = (id, role);
            world.nodes.push(Machine { node, clock_off: 0, disk: None, applied: Some(0) });
            let server = world.new_server();
            world.servers.push(server);
        }
        world.set_clocks();
        world
    }

    fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("{:040x}", self.ids)
    }

    fn new_server(&mut self) -> Server {
        Server { clock_off: 0, key: self.new_key(), low_water: 0 }
    }

    fn new_key(&mut self) -> FingerprintKey {
        let halves = [self.random.next(), self.random.next()].map(u64::to_be_bytes);
        FingerprintKey::from_bytes(halves.concat().try_into().unwrap())
    }

    fn run(&mut self) -> Result<(), FreshTwice> {
        for step in 0..STEPS {
            match self.random.below(100) {
                0..50 => self.claim_new(),
                50..75 => self.claim_again().map_err(|()| FreshTwice { after: step })?,
                _ => self.happen(),
            }
            self.pass_time();
        }
        Ok(())
    }

    fn claim_new(&mut self) {
        let server = self.random.below(self.servers.len());
        let ago = u64::try_from(self.random.below(80)).unwrap();
        self.nonces += 1;
        let nonce = Nonce::from_random(u128::from(self.nonces).to_be_bytes());
        let created = self.now(server).plus(Duration::from_secs(10));
        let created = created.minus(Duration::from_secs(ago));
        let used = NonceUse::new(1, created, nonce);
        if self.claim(server, &used) == Some(Verdict::Fresh) {
            self.known.insert(used);
            self.accepted.push(used);
        }
    }

    /// What an attacker does who has seen everything.
    fn claim_again(&mut self) -> Result<(), ()> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        self.replays += 1;
        // Most often of late, since what is long ago is refused for being so.
        let last = self.accepted.len();
        let from = if self.random.one_in(3) { 0 } else { last.saturating_sub(20) };
        let used = self.accepted[from + self.random.below(last - from)];
        let server = self.random.below(self.servers.len());
        match self.claim(server, &used) {
            Some(Verdict::Fresh) => Err(()),
            _ => Ok(()),
        }
    }

    /// As `Guard::claim` does. Anything may happen before and between the scripts, and the answer may get lost.
    fn claim(&mut self, server: usize, used: &NonceUse) -> Option<Verdict> {
        let now = self.now(server);
        for _ in 0..4 {
            let Server { key, low_water, .. } = &self.servers[server];
            let known = Known { key: key.clone(), low_water: *low_water };
            let asked = self.terms.claim(&known, used, None, now);
            self.perhaps_happen();
            let answer = self.run_script(Which::Claim, &asked);
            if self.random.one_in(50) {
                return None;
            }
            match self.terms.read_claim(&answer, now).ok()? {
                Reply::Settled { verdict, low_water, .. } => {
                    let seen = &mut self.servers[server].low_water;
                    *seen = (*seen).max(low_water);
                    return Some(verdict);
                }
                Reply::Key(key) => self.servers[server].key = key,
                Reply::Lost => {
                    let (key, seen) = (self.new_key(), self.servers[server].low_water);
                    let asked = self.terms.recover(key, seen, When::IfLost, now);
                    self.perhaps_happen();
                    let answer = self.run_script(Which::Recover, &asked);
                    let recovery = self.terms.read_recovery(&answer, now).ok()?;
                    let server = &mut self.servers[server];
                    server.key = recovery.key;
                    server.low_water = server.low_water.max(recovery.low_water);
                }
            }
        }
        None
    }

    /// On the primary, or by mistake on a replica, which refuses.
    fn run_script(&mut self, which: Which, asked: &super::terms::Asked) -> redis::Value {
        self.tell_time();
        let primary = match self.random.one_in(40) {
            true => self.random.below(self.nodes.len()),
            false => self.primary,
        };
        let node = &mut self.nodes[primary].node;
        let answer = self.engine.run(node, which, asked);
        let done = std::mem::take(&mut node.log);
        if !done.is_empty() {
            assert_eq!(primary, self.primary, "a replica wrote");
            self.done.push(done);
        }
        answer
    }

    fn now(&self, server: usize) -> Timestamp {
        let time = self.time.checked_add_signed(self.servers[server].clock_off).unwrap();
        Timestamp::from_unix(time / MICROS)
    }

    fn tell_time(&mut self) {
        for machine in &mut self.nodes {
            machine.node.clock = self.time.checked_add_signed(machine.clock_off).unwrap();
        }
    }

    fn pass_time(&mut self) {
        let micros = match self.random.below(100) {
            0..60 => self.random.below(1_000_000),
            60..97 => self.random.below(8_000_000),
            97..99 => self.random.below(100_000_000),
            _ => self.random.below(3) * 86_400_000_000,
        };
        self.time += u64::try_from(micros).unwrap();
        self.tell_time();
        let machine = &mut self.nodes[self.primary];
        if self.random.one_in(4) {
            machine.node.expire();
        }
        for replica in 0..self.nodes.len() {
            if self.random.one_in(2) {
                self.replicate(replica);
            }
        }
    }

    /// A replica gets some more of what the primary did, in its order.
    fn replicate(&mut self, replica: usize) {
        let Some(applied) = self.nodes[replica].applied else { return };
        if replica == self.primary {
            return;
        }
        let upto = applied + self.random.below(self.done.len() - applied + 1);
        for command in self.done[applied..upto].iter().flatten() {
            self.nodes[replica].node.write(command);
        }
        self.nodes[replica].applied = Some(upto);
    }

    fn perhaps_happen(&mut self) {
        if self.random.one_in(30) {
            self.happen();
            self.pass_time();
        }
    }

    fn happen(&mut self) {
        let (any, primary) = (self.random.below(self.nodes.len()), self.primary);
        match self.random.below(100) {
            // A replica gets a whole copy.
            0..25 if any != primary => {
                let copy = self.nodes[primary].node.clone();
                let machine = &mut self.nodes[any];
                machine.node = copy;
                machine.node.role = Role::Replica;
                machine.applied = Some(self.done.len());
            }
            // A file is written.
            25..45 => self.nodes[any].disk = Some(self.nodes[any].node.clone()),
            // The primary is killed, and starts again from what it has written, or from nothing.
            45..53 => {
                let kept = self.nodes[primary].disk.clone();
                let empty = self.random.one_in(3).then(Node::default);
                self.nodes[primary].node = empty.or(kept).unwrap_or_default();
                self.begin_history(primary);
            }
            // A replica is promoted, whatever it has of what the primary did.
            53..62 if any != primary => {
                self.nodes[primary].node.role = Role::Replica;
                self.begin_history(any);
            }
            62..64 => self.nodes[primary].node.flush(),
            64..66 => {
                let mark = self.terms.mark();
                self.nodes[primary].node.delete(&mark);
            }
            66..74 => {
                let clock_off = self.servers[any].clock_off;
                self.servers[any] = self.new_server();
                self.servers[any].clock_off = clock_off;
            }
            74..86 => self.set_clocks(),
            86..89 => {
                self.wild = Wild::Servers;
                self.set_clocks();
            }
            89..92 => {
                self.wild = Wild::Redis;
                self.set_clocks();
            }
            92..100 => {
                self.wild = Wild::Nobody;
                self.set_clocks();
            }
            _ => {}
        }
    }

    /// A primary that was promoted or started: with another id, and replicas that have yet to get a copy.
    fn begin_history(&mut self, primary: usize) {
        let id = self.new_id();
        self.primary = primary;
        self.done.clear();
        for machine in &mut self.nodes {
            machine.applied = None;
        }
        let node = &mut self.nodes[primary].node;
        node.id = id;
        node.role = Role::Primary;
        node.log.clear();
    }

    /// Sets every clock: those that are right to within half the clock error, the others to anything.
    fn set_clocks(&mut self) {
        let far = [60, 3600, DAY - 3600, 3 * DAY];
        for machine in 0..self.nodes.len() {
            let most = match self.wild {
                Wild::Redis => far[self.random.below(far.len())],
                _ => CLOCK_ERROR / 2,
            };
            self.nodes[machine].clock_off = self.random.either_way(most);
        }
        for server in 0..self.servers.len() {
            let most = match self.wild {
                Wild::Servers => far[self.random.below(far.len())],
                _ => CLOCK_ERROR / 2,
            };
            self.servers[server].clock_off = self.random.either_way(most);
        }
        if self.wild == Wild::Redis {
            // A leap of more than a day that nobody sees is the one that we do not promise to survive.
            for _ in 0..3 {
                let server = self.random.below(self.servers.len());
                let now = self.now(server);
                let Server { key, low_water, .. } = &self.servers[server];
                let known = Known { key: key.clone(), low_water: *low_water };
                let used = NonceUse::new(2, now, Nonce::from_random([0; 16]));
                let asked = self.terms.claim(&known, &used, None, now);
                self.tell_time();
                let node = &mut self.nodes[self.primary].node;
                drop(self.engine.run(node, Which::Claim, &asked));
                let done = std::mem::take(&mut node.log);
                if !done.is_empty() {
                    self.done.push(done);
                }
            }
        }
    }
}

/// What many runs add up to.
#[derive(Debug, Default)]
struct Sum {
    accepted: AtomicU64,
    replays: AtomicU64,
}

/// Makes runs until one finds something.
fn simulate(runs: u64, engine: impl Fn() -> Engine + Sync) -> Result<Sum, (u64, FreshTwice)> {
    let (next, sum) = (AtomicU64::new(0), Sum::default());
    let work = || -> Result<(), (u64, FreshTwice)> {
        let engine = engine();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= runs {
                return Ok(());
            }
            let mut world = World::new(seed, &engine);
            world.run().map_err(|found| {
                next.store(runs, Ordering::Relaxed);
                (seed, found)
            })?;
            assert_eq!(world.known.len(), world.accepted.len());
            let count = |number: usize| u64::try_from(number).unwrap();
            sum.accepted.fetch_add(count(world.accepted.len()), Ordering::Relaxed);
            sum.replays.fetch_add(count(world.replays), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    Ok(sum)
}

#[test]
fn nothing_is_fresh_twice_whatever_fails() {
    let runs = env::var("COUNTERSIGN_SIMULATIONS");
    let runs = runs.map_or(1500, |runs| runs.parse().expect("a number of runs"));
    let sum = simulate(runs, Engine::new).unwrap();
    println!("{runs} runs: {sum:?}");
    // It is of no use if everything is refused.
    assert!(sum.accepted.into_inner() > runs * 10);
    assert!(sum.replays.into_inner() > runs * 10);
}

#[test]
fn a_script_that_leaves_anything_out_is_found_out() {
    for (what, from, to) in [
        ("the primary", "state[3] ~= primary or low < seen", "low < seen"),
        ("the fingerprint key", "state[2] ~= ARGV[1]", "false"),
        ("the clocks", "math.abs(now - here) > clock_error", "false"),
        ("what is ahead", "created > now + skew", "false"),
        ("the mark", "created < low", "false"),
        ("raising the mark", "'low_water', low)\nend", "'low_water', 0)\nend"),
        ("a leap of a day", "here - now > 43200", "false"),
        ("that the mark is lost", "local low = 0", "local low = 0"),
    ] {
        let claim = CLAIM.text().replace(from, to);
        if claim == CLAIM.text() {
            continue;
        }
        let found = simulate(40_000, || Engine::of(&claim, RECOVER.text()));
        println!("claim {what}: {found:?}");
    }
    for (what, from, to) in [
        ("the skew and clock error", "+ reach + 1", ""),
        ("the clock error", "2 * clock_error", "0"),
        ("the clocks", "math.abs(now - here) > clock_error", "false"),
        ("the other clock", "math.max(now, here)", "math.min(now, here)"),
        ("the old mark", "math.max(low, seen, math", "math.max(0, 0, math"),
    ] {
        let recover = RECOVER.text().replace(from, to);
        assert_ne!(recover, RECOVER.text(), "{what}");
        let found = simulate(40_000, || Engine::of(CLAIM.text(), &recover));
        println!("recover {what}: {found:?}");
    }
}
