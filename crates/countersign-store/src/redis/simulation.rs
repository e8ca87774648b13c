//! Runs the real scripts on simulated Redis servers that fail in every way that the guard promises to survive, with clocks
//! that the simulation sets. An oracle remembers every accepted nonce, and checks that no nonce is fresh twice.
//!
//! `COUNTERSIGN_SIMULATIONS` sets the number of runs. A run with the same number is always the same.

use std::{
    env, mem,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use countersign::{Nonce, NonceUse, Policy, Timestamp, Window};
use fastrand::Rng;

use super::{
    lua::{Command, Engine, Node, Role, Which},
    script::{CLAIM, RECOVER},
    server::Redis,
    terms::{Asked, Known, Reply, Settlement, Terms, When},
};
use crate::nonces::fingerprint_key::FingerprintKey;

const START: u64 = 1_763_900_000;
/// Number of runs that finds every wrong script, with a margin.
const MUTANTS: u64 = 3000;
const STEPS: usize = 160;
const MICROS: u64 = 1_000_000;
const DAY: u64 = 86_400;
/// The clock error of the guard, in seconds. A right clock is within half of it.
const CLOCK_ERROR: u64 = 4;

/// Random numbers, determined by a seed.
struct Random(Rng);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    /// Returns a time from `-most` to `most` seconds, in microseconds.
    fn either_way(&mut self, most: u64) -> i64 {
        let most = i64::try_from(most * MICROS).unwrap();
        self.0.i64(-most..=most)
    }
}

/// The clocks that may show any time. The other clocks are within half the clock error of the true time.
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
    /// The commands of the primary since its promotion or start, by script.
    done: Vec<Vec<Command>>,
    servers: Vec<Server>,
    ids: u64,
    nonces: u64,
    /// Every accepted nonce; the oracle never forgets any.
    accepted: Vec<NonceUse>,
    /// Number of repeated claims of accepted nonces.
    replays: usize,
}

/// A Redis server.
struct Machine {
    node: Node,
    clock_off: i64,
    /// The data that the server finds at its next start.
    disk: Option<Node>,
    /// Number of entries of `done` that have arrived here; `None` until this server gets a full copy.
    applied: Option<usize>,
}

/// A server that verifies requests.
struct Server {
    clock_off: i64,
    key: FingerprintKey,
    low_water: u64,
}

/// An accepted nonce was fresh again, after this many steps of a run.
#[derive(Debug)]
#[expect(dead_code, reason = "to be printed")]
struct FreshTwice(usize);

impl<'a> World<'a> {
    fn new(seed: u64, engine: &'a Engine) -> Self {
        let redis = Redis::single("redis://127.0.0.1").unwrap();
        let redis = redis.clock_error(Duration::from_secs(CLOCK_ERROR));
        let terms = Terms::new(&redis, Window::default()).with_hashes(2);
        let mut world = Self {
            random: Random(Rng::with_seed(seed)),
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
        FingerprintKey::from_bytes(&self.random.0.u128(..).to_be_bytes())
    }

    fn run(&mut self) -> Result<(), FreshTwice> {
        for step in 0..STEPS {
            match self.random.below(100) {
                0..50 => self.claim_new(),
                50..75 => self.claim_again().map_err(|()| FreshTwice(step))?,
                _ => self.happen(),
            }
            self.pass_time();
        }
        Ok(())
    }

    fn claim_new(&mut self) {
        let server = self.random.below(self.servers.len());
        // Half of the requests are claimed only just after their creation.
        let earliest = if self.random.one_in(2) { 4 } else { 80 };
        let ago = u64::try_from(self.random.below(earliest)).unwrap();
        self.nonces += 1;
        let nonce = Nonce::from_random(u128::from(self.nonces).to_be_bytes());
        // Some requests are created in the future, as on a server whose policy has a wider window than the guard.
        let ahead = if self.random.one_in(8) { 100 } else { 10 };
        let created = self.now(server).plus(Duration::from_secs(ahead));
        let created = created.minus(Duration::from_secs(ago));
        let used = NonceUse::new(1, created, nonce);
        if self.claim(server, &used) == Some(Settlement::Fresh) {
            self.accepted.push(used);
        }
    }

    /// Claims an accepted nonce again, as an attacker who has seen every request.
    fn claim_again(&mut self) -> Result<(), ()> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        self.replays += 1;
        // Prefers recent nonces and nonces about to be forgotten; old nonces are refused for their age.
        let last = self.accepted.len();
        let edge = (self.time / MICROS).saturating_sub(80 + CLOCK_ERROR);
        let at_the_edge = self.accepted.iter().rev().take(200);
        let at_the_edge = at_the_edge.filter(|used| used.created().unix().abs_diff(edge) < 8);
        let at_the_edge: Vec<_> = at_the_edge.collect();
        let used = match self.random.below(3) {
            0 if !at_the_edge.is_empty() => *at_the_edge[self.random.below(at_the_edge.len())],
            1 => self.accepted[self.random.below(last)],
            _ => self.accepted[last - 1 - self.random.below(last.min(20))],
        };
        let server = self.random.below(self.servers.len());
        match self.claim(server, &used) {
            Some(Settlement::Fresh) => Err(()),
            _ => Ok(()),
        }
    }

    /// As `Guard::claim` does. Anything may happen before and between the scripts, and the reply may get lost.
    fn claim(&mut self, server: usize, used: &NonceUse) -> Option<Settlement> {
        let now = self.now(server);
        for _ in 0..4 {
            let Server { key, low_water, .. } = &self.servers[server];
            let known = Known { key: key.clone(), low_water: *low_water };
            let asked = self.terms.claim(&known, used, None, now);
            self.perhaps_happen();
            let reply = self.run_script(Which::Claim, &asked);
            if self.random.one_in(50) {
                return None;
            }
            match self.terms.read_claim(&reply, now).ok()? {
                Reply::Settled { settlement, low_water, .. } => {
                    let seen = &mut self.servers[server].low_water;
                    *seen = (*seen).max(low_water);
                    return Some(settlement);
                }
                Reply::Key(key) => self.servers[server].key = key,
                Reply::Lost => {
                    let (key, seen) = (self.new_key(), self.servers[server].low_water);
                    let asked = self.terms.recover(key, seen, When::IfLost, now);
                    self.perhaps_happen();
                    let reply = self.run_script(Which::Recover, &asked);
                    let recovery = self.terms.read_recovery(&reply, now).ok()?;
                    let server = &mut self.servers[server];
                    server.key = recovery.key;
                    server.low_water = server.low_water.max(recovery.low_water);
                }
            }
        }
        None
    }

    /// Runs a script on the primary or, by mistake, on a replica, which refuses it.
    fn run_script(&mut self, which: Which, asked: &Asked) -> redis::Value {
        let node = match self.random.one_in(40) {
            true => self.random.below(self.nodes.len()),
            false => self.primary,
        };
        self.run_on(node, which, asked)
    }

    fn run_on(&mut self, number: usize, which: Which, asked: &Asked) -> redis::Value {
        self.tell_time();
        let node = &mut self.nodes[number].node;
        let reply = self.engine.run(node, which, asked);
        let done = mem::take(&mut node.log);
        if !done.is_empty() {
            assert_eq!(number, self.primary, "a replica wrote");
            self.done.push(done);
        }
        reply
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

    /// Sends a replica some more commands of the primary, in order.
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
            // A replica gets a full copy.
            0..25 if any != primary => {
                let copy = self.nodes[primary].node.clone();
                let machine = &mut self.nodes[any];
                machine.node = copy;
                machine.node.role = Role::Replica;
                machine.applied = Some(self.done.len());
            }
            // A server writes its data to disk.
            25..45 => self.nodes[any].disk = Some(self.nodes[any].node.clone()),
            // The primary is killed, and starts again from its disk or with no data.
            45..53 => {
                let kept = self.nodes[primary].disk.clone();
                let empty = self.random.one_in(3).then(Node::default);
                self.nodes[primary].node = empty.or(kept).unwrap_or_default();
                self.begin_history(primary);
            }
            // A replica is promoted, with any part of the primary's commands.
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

    /// Starts the history of a new or restarted primary: with a new id, and with replicas that need a full copy.
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

    /// Sets every clock: right clocks to within half the clock error, wild clocks to any time.
    fn set_clocks(&mut self) {
        let far = [2 * CLOCK_ERROR, 60, 3600, DAY - 3600, 3 * DAY];
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
            // The guard does not promise to survive an unseen leap of more than a day, so a few claims see the leap.
            for _ in 0..3 {
                let server = self.random.below(self.servers.len());
                let now = self.now(server);
                let Server { key, low_water, .. } = &self.servers[server];
                let known = Known { key: key.clone(), low_water: *low_water };
                let used = NonceUse::new(2, now, Nonce::from_random([0; 16]));
                let asked = self.terms.claim(&known, &used, None, now);
                self.run_on(self.primary, Which::Claim, &asked);
            }
        }
    }
}

/// Totals over many runs.
#[derive(Debug, Default)]
struct Sum {
    accepted: AtomicU64,
    replays: AtomicU64,
}

/// Makes runs until a run finds a nonce that was fresh twice.
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
    let runs = runs.map_or(400, |runs| runs.parse().expect("a number of runs"));
    let sum = simulate(runs, Engine::new).unwrap();
    println!("{runs} runs: {sum:?}");
    // A simulation that refuses every claim proves nothing.
    assert!(sum.accepted.into_inner() > runs * 10);
    assert!(sum.replays.into_inner() > runs * 10);
}

/// Returns a script with parts of it replaced.
fn without(script: &str, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(script.to_owned(), |script, (from, to)| {
        assert!(script.contains(from), "{from}");
        script.replace(from, to)
    })
}

#[test]
fn a_script_that_leaves_anything_out_is_found_out() {
    let set_back = (" or low < seen", "");
    for (what, parts) in [
        ("the primary", &[("state[3] ~= primary", "false")][..]),
        ("the fingerprint key", &[("state[2] ~= ARGV[1]", "false")]),
        ("the clocks", &[("math.abs(now - here) > clock_error", "false")]),
        ("what is ahead", &[("created > now + skew", "false")]),
        ("the mark", &[("created < low", "false")]),
        ("what was used", &[("redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1", "false")]),
        // Takes out both defences: a mark that was not raised is also a mark that was set back.
        ("raising", &[("    redis.call('HSET', mark, 'low_water', low)\n", ""), set_back]),
        ("a leap of a day", &[("here - now > 43200", "false")]),
    ] {
        let claim = without(CLAIM.text(), parts);
        let found = simulate(MUTANTS, || Engine::of(&claim, RECOVER.text()));
        assert!(found.is_err(), "without {what} nobody can tell");
    }
    for (what, from, to) in
        [("all that may come", "+ reach + 1", ""), ("the clock error", "2 * clock_error", "0")]
    {
        let recover = without(RECOVER.text(), &[(from, to)]);
        let found = simulate(MUTANTS, || Engine::of(CLAIM.text(), &recover));
        assert!(found.is_err(), "without {what} nobody can tell");
    }
}

/// What a server with a wide window had accepted is claimed once more, after a replica without it was promoted and a server
/// with a narrow window recovered.
fn claim_after_a_narrow_recovery(engine: &Engine) -> Settlement {
    let redis = Redis::single("redis://127.0.0.1").unwrap();
    let redis = redis.clock_error(Duration::from_secs(CLOCK_ERROR));
    let window = |skew| {
        let policy = Policy::default().window(Duration::from_secs(60), Duration::from_secs(skew));
        Window::from(&policy.unwrap())
    };
    let (narrow, wide) = (Terms::new(&redis, window(10)), Terms::new(&redis, window(30)));
    let key = FingerprintKey::from_bytes(&[7; 16]);
    let recover = |node: &mut Node, now: Timestamp| {
        node.clock = now.unix() * MICROS;
        let asked = narrow.recover(key.clone(), 0, When::IfLost, now);
        let reply = engine.run(node, Which::Recover, &asked);
        narrow.read_recovery(&reply, now).unwrap().low_water
    };
    let mut low_water = 0;
    let mut claim = |node: &mut Node, nonce: u8, now: Timestamp| {
        node.clock = now.unix() * MICROS;
        let created = now.plus(Duration::from_secs(30));
        let used = NonceUse::new(1, created, Nonce::from_random([nonce; 16]));
        let asked = wide.claim(&Known { key: key.clone(), low_water }, &used, None, now);
        let reply = engine.run(node, Which::Claim, &asked);
        let Ok(Reply::Settled { settlement, low_water: seen, .. }) = wide.read_claim(&reply, now)
        else {
            panic!("{reply:?}")
        };
        low_water = seen;
        settlement
    };

    let (start, later) = (Timestamp::from_unix(START), Timestamp::from_unix(START + 100));
    let mut primary = Node::default();
    (primary.id, primary.role) = ("a".repeat(40), Role::Primary);
    recover(&mut primary, start);
    assert_eq!(claim(&mut primary, 1, later), Settlement::Fresh);
    let mut replica = primary.clone();
    assert_eq!(claim(&mut primary, 2, later), Settlement::Fresh);
    replica.id = "b".repeat(40);
    recover(&mut replica, later);
    claim(&mut replica, 2, later)
}

#[test]
fn who_recovers_raises_the_mark_above_what_the_widest_window_let_in() {
    let settlement = claim_after_a_narrow_recovery(&Engine::new());
    assert_eq!(settlement, Settlement::Old);
    let claim = without(CLAIM.text(), &[("redis.call('HSET', mark, 'reach', reach)", "")]);
    let recover = without(RECOVER.text(), &[("math.max(reach, reached)", "reach")]);
    for (claim, recover) in [(&*claim, RECOVER.text()), (CLAIM.text(), &*recover)] {
        let settlement = claim_after_a_narrow_recovery(&Engine::of(claim, recover));
        assert_eq!(settlement, Settlement::Fresh, "it is not found out");
    }
}
