//! A server that is killed and stopped again and again, and everything that it was sent, sent again.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]

use std::{
    collections::HashSet,
    env, fs,
    io::{BufRead as _, BufReader, Lines},
    os::unix::process::ExitStatusExt as _,
    process::{self, Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use countersign::{Claim, Nonce, NonceUse, Timestamp, Window};
use countersign_server::{SavedNonces, Stop as _, until_signal};
use countersign_store::{
    Ceiling, MemoryNonces, NonceStore as _, Owner, Registry, StoreError, system_time,
};
use harness::{NOW, Process, Raw, key};
use tokio::task::JoinSet;

/// What a start after a crash refuses at most: the skew, 5 s for which the ceiling is ahead, and one more.
const REFUSED: u64 = 16;

struct Desk {
    folder: tempfile::TempDir,
    now: u64,
    captured: Vec<Vec<u8>>,
    answered: usize,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Self { folder, now: NOW.unix(), captured: Vec::new(), answered: 0 };
        desk.pass(0);
        desk
    }

    /// Lets time pass.
    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let (new, clock) = (self.folder.path().join("new"), self.folder.path().join("clock"));
        fs::write(&new, self.now.to_string()).unwrap();
        fs::rename(new, clock).unwrap();
    }

    fn start(&self) -> Process {
        Process::start(env!("CARGO_BIN_EXE_lone_service"), [self.folder.path()])
    }

    /// An order that is new.
    fn order(&mut self) -> Vec<u8> {
        let order = format!("order {}", self.captured.len());
        let request = Raw::order().body(order.as_bytes()).set("Content-Type", "text/plain");
        let bytes = request.signed_by(key(1), Timestamp::from_unix(self.now)).bytes();
        self.captured.push(bytes.clone());
        bytes
    }

    /// Sends orders at once, and kills the server when some of them have been answered.
    async fn kill_under_load(&mut self, mut process: Process) {
        let mut load = JoinSet::new();
        for _ in 0..100 {
            load.spawn(process.send(self.order()));
        }
        for _ in 0..30 {
            self.count(load.join_next().await.unwrap().unwrap());
        }
        process.kill();
        while let Some(status) = load.join_next().await {
            self.count(status.unwrap());
        }
    }

    fn count(&mut self, status: Option<u16>) {
        self.answered += usize::from(status == Some(201));
    }

    /// An attacker has seen everything that was ever sent.
    async fn repeat_everything(&self, process: &Process) {
        for bytes in &self.captured {
            assert_eq!(process.send(bytes.clone()).await, Some(401));
        }
    }

    /// What a readiness probe is told.
    async fn is_ready(&self, process: &Process) -> bool {
        let status = process.send(b"GET /ready HTTP/1.1\r\n\r\n".to_vec()).await;
        assert!(matches!(status, Some(200 | 503)), "{status:?}");
        status == Some(200)
    }

    fn handled(&self) -> usize {
        let handled = fs::read_to_string(self.folder.path().join("handled")).unwrap();
        let handled: Vec<_> = handled.lines().collect();
        let different: HashSet<_> = handled.iter().collect();
        assert_eq!(different.len(), handled.len(), "something was handled twice");
        handled.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_server_again_and_again_under_load_handles_nothing_twice() {
    let mut desk = Desk::new();
    for round in 0..8 {
        let process = desk.start();
        desk.repeat_everything(&process).await;
        if round > 0 {
            // What is signed now may have been accepted before.
            let order = desk.order();
            assert_eq!(process.send(order).await, Some(401));
            desk.pass(REFUSED);
            desk.repeat_everything(&process).await;
        }
        desk.kill_under_load(process).await;
    }
    assert!(desk.answered <= desk.handled() && desk.handled() <= desk.captured.len());
    assert!(desk.answered >= 8 * 30, "{}", desk.answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_refuses_nobody_when_it_starts_again_but_who_repeats() {
    let mut desk = Desk::new();
    for round in 0..6 {
        let process = desk.start();
        desk.repeat_everything(&process).await;
        for _ in 0..20 {
            let order = desk.order();
            assert_eq!(process.send(order).await, Some(201), "round {round}");
        }
        process.stop();
        assert_eq!(desk.handled(), desk.captured.len());
        desk.pass(round);
    }
    // What a guard has saved is good once.
    let saved = desk.folder.path().join("nonces");
    let copy = fs::read(&saved).unwrap();
    let process = desk.start();
    let order = desk.order();
    assert_eq!(process.send(order).await, Some(201));
    drop(process);
    fs::write(&saved, copy).unwrap();
    let process = desk.start();
    desk.repeat_everything(&process).await;
    let order = desk.order();
    assert_eq!(process.send(order).await, Some(401));
}

/// Names what the process of a test is to do.
const ROLE: &str = "COUNTERSIGN_TEST_ROLE";

/// A test of this file that runs once more, in a process of its own in which [`ROLE`] is set.
struct InAProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl InAProcess {
    /// Starts it, and waits until it says that it is ready.
    fn start(test: &str) -> Self {
        // A test's name has the modules that it is in.
        let name = module_path!().split_once("::").map_or("", |(_, modules)| modules);
        let name = if name.is_empty() { test.to_owned() } else { format!("{name}::{test}") };
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(ROLE, test)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.until_ready();
        process
    }

    /// Whether this is that process.
    fn is_this() -> bool {
        env::var_os(ROLE).is_some()
    }

    /// Says there that it is ready.
    fn say_ready() {
        println!("\nready");
    }

    /// Says there that it is ready, and blocks: nothing asynchronous runs any more.
    fn say_ready_and_hang() {
        Self::say_ready();
        thread::sleep(Duration::from_secs(600));
    }

    fn until_ready(&mut self) {
        assert!(self.lines.any(|line| line.unwrap() == "ready"), "it ended before");
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &process]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends a signal again and again until the process ends: for a while after another signal it counts as forwarded.
    fn signalled_until_its_end(mut self, name: &str) -> ExitStatus {
        for _ in 0..200 {
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            self.signal(name);
            thread::sleep(Duration::from_millis(100));
        }
        self.ended()
    }

    /// Waits for its end, which is not long in coming.
    fn ended(mut self) -> ExitStatus {
        for _ in 0..2_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().unwrap();
        panic!("it did not end");
    }
}

/// A registry that cannot be reached, and does not say so.
struct Hangs;

impl Ceiling for Hangs {
    async fn take_over(&self, _: Owner) -> Result<Option<Timestamp>, StoreError> {
        InAProcess::say_ready();
        std::future::pending().await
    }

    async fn raise(&self, _: Owner, _: Timestamp) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_signal_ends_a_server_whose_registry_hangs_at_its_start() {
    if InAProcess::is_this() {
        let resumed = SavedNonces::resume(Window::default(), Hangs, "unused").await;
        assert!(resumed.unwrap_err().to_string().contains("signal"));
        return;
    }
    for name in ["TERM", "INT"] {
        let process = InAProcess::start("a_signal_ends_a_server_whose_registry_hangs_at_its_start");
        process.signal(name);
        assert!(process.ended().success(), "{name}: it says why it does not go on");
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_server_that_is_stopping_at_once() {
    if InAProcess::is_this() {
        let stopped = until_signal().unwrap();
        InAProcess::say_ready();
        stopped.await;
        // As of a handler that blocks.
        InAProcess::say_ready_and_hang();
        return;
    }
    for (first, second, number) in [("INT", "TERM", 15), ("INT", "INT", 2), ("TERM", "TERM", 15)] {
        let mut process =
            InAProcess::start("a_second_signal_ends_a_server_that_is_stopping_at_once");
        process.signal(first);
        process.until_ready();
        let status = process.signalled_until_its_end(second);
        assert_eq!(status.signal(), Some(number), "{status}");
    }
}

#[tokio::test]
async fn a_second_server_in_a_process_stops_at_its_signal_as_the_first_did() {
    if InAProcess::is_this() {
        for _ in 0..2 {
            let stopped = until_signal().unwrap();
            InAProcess::say_ready();
            stopped.await;
        }
        InAProcess::say_ready_and_hang();
        return;
    }
    for name in ["INT", "TERM"] {
        let test = "a_second_server_in_a_process_stops_at_its_signal_as_the_first_did";
        let mut process = InAProcess::start(test);
        for _ in 0..2 {
            process.signal(name);
            process.until_ready();
        }
        let status = process.signalled_until_its_end(name);
        assert!(status.signal().is_some(), "without a server a signal ends the process: {status}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_run_takes_no_signal_from_its_process() {
    if InAProcess::is_this() {
        drop(until_signal().unwrap());
        InAProcess::say_ready_and_hang();
        return;
    }
    let process = InAProcess::start("a_server_that_is_never_run_takes_no_signal_from_its_process");
    process.signal("INT");
    let status = process.ended();
    assert_eq!(status.signal(), Some(2), "{status}");
}

#[tokio::test]
async fn a_ctrl_c_that_a_parent_forwards_counts_once() {
    if InAProcess::is_this() {
        let stopped = until_signal().unwrap();
        InAProcess::say_ready();
        stopped.await;
        // As a parent does that gets the terminal's Ctrl-C, too.
        let sent = Command::new("kill").args(["-INT", &process::id().to_string()]).status();
        assert!(sent.unwrap().success());
        return;
    }
    let process = InAProcess::start("a_ctrl_c_that_a_parent_forwards_counts_once");
    process.signal("INT");
    let status = process.ended();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_hand_over_refuse_nobody_who_goes_where_a_probe_says_ready() {
    let mut desk = Desk::new();
    let old = desk.start();
    let order = desk.order();
    assert_eq!(old.send(order).await, Some(201));
    desk.pass(3);
    let next = desk.start();
    let mut running = Some(old);
    for second in 0..40 {
        let order = desk.order();
        let old = match &running {
            Some(old) => desk.is_ready(old).await.then_some(old),
            None => None,
        };
        let new = desk.is_ready(&next).await.then_some(&next);
        let ready: Vec<_> = [old, new].into_iter().flatten().collect();
        let &[ready] = ready.as_slice() else { panic!("{} are ready at {second}", ready.len()) };
        assert_eq!(ready.send(order).await, Some(201), "second {second}");
        if new.is_some() {
            // It has handed over: it may end in any way.
            drop(running.take());
        }
        desk.pass(1);
    }
    assert!(running.is_none(), "nobody took over");
    assert_eq!(desk.handled(), desk.captured.len());
    desk.repeat_everything(&next).await;
}

/// A registry whose server is told to stop while it takes the ceiling over.
struct StoppedMeanwhile(Registry);

impl Ceiling for StoppedMeanwhile {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let sent = Command::new("kill").args(["-TERM", &process::id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.0.take_over(owner).await
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        self.0.raise(owner, to).await
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_while_it_starts_stops_and_saves_what_it_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let file = folder.path().join("nonces");
    let registry = async || Registry::open_or_create(&db).await.unwrap();
    let resumed = async || {
        let ceiling = registry().await;
        MemoryNonces::resume(Window::default(), ceiling, &file, system_time()).await.unwrap()
    };
    let used = |nonce| NonceUse::new(1, system_time(), Nonce::from_random([nonce; 16]));
    let captured = used(1);
    let before = resumed().await;
    assert_eq!(before.claim(&captured, system_time()).await.unwrap(), Claim::Fresh);
    before.stop(&file, system_time()).await.unwrap();

    let ceiling = StoppedMeanwhile(registry().await);
    let stopped = SavedNonces::resume(Window::default(), ceiling, &file).await.unwrap();
    let (asked, ending) = stopped.until_signal().into_parts();
    asked.await;
    ending.await.unwrap();

    let next = resumed().await;
    assert_eq!(next.claim(&captured, system_time()).await.unwrap(), Claim::Replayed);
    assert_eq!(next.claim(&used(2), system_time()).await.unwrap(), Claim::Fresh);
}
