use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;

/// How long a process may take to start or to do what it is waited for; far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` on a free port, with a folder of its own, until it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Without persistence.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more of its options, as `--appendonly yes`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::launch(options, None)
    }

    /// A sentinel that watches this primary as `main`, with a quorum of one.
    pub fn sentinel_of(primary: &Self) -> Self {
        let port = primary.port;
        let config = format!(
            "sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main 300\n\
             sentinel failover-timeout main 3000\n"
        );
        Self::launch(&["--sentinel"], Some(&config))
    }

    fn launch(options: &[&str], config: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = Vec::new();
        if let Some(config) = config {
            let file = folder.path().join("redis.conf");
            std::fs::write(&file, config).unwrap();
            arguments.push(file.display().to_string());
        }
        // Quick to notice what happens to replicas, so that tests are not slow.
        const USUAL: [&str; 6] =
            ["--save", "", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        if !options.contains(&"--sentinel") {
            arguments.extend(USUAL.map(str::to_owned));
        }
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        // Another process can take the port between here and there.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut child = run(&folder, port, &arguments);
            if answers(&mut child, port) {
                return Self { child, port, folder, arguments };
            }
        }
        panic!("no redis-server could be started");
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same port and with what it wrote down.
    pub fn restart(&mut self) {
        drop(self.child.kill());
        self.child.wait().unwrap();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.child = run(&self.folder, self.port, &self.arguments);
            if answers(&mut self.child, self.port) {
                return;
            }
        }
        panic!("redis-server could not be started again");
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// What Redis says, or that it does not answer.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        ask(self.port, command)
    }

    /// Runs a command whose answer does not matter.
    pub fn tell(&self, command: &[&str]) {
        self.ask::<redis::Value>(command).unwrap();
    }

    /// Makes the mark of this guard one of long ago, so that it accepts at once. It is there once somebody has connected.
    pub fn settle(&self, guard: &str) {
        self.tell(&["HSET", &format!("{{countersign:{guard}}}:mark"), "low_water", "0"]);
    }

    /// A value of `INFO`.
    pub fn info(&self, name: &str) -> String {
        let text: String = self.ask(&["INFO", "all"]).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().to_owned()
    }

    /// Makes it a replica of another, and waits until it has all that the other has.
    pub fn follow(&self, primary: &Self) {
        self.tell(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        wait_until(|| {
            self.info("master_link_status") == "up"
                && self.info("slave_repl_offset") == primary.info("master_repl_offset")
        });
    }

    /// Cuts a replica off from its primary: what the primary gets from now on does not come here.
    pub fn cut_off(&self) {
        self.tell(&["REPLICAOF", "127.0.0.1", "1"]);
        wait_until(|| self.info("master_link_status") == "down");
    }

    /// Sends a signal, as `STOP`.
    pub fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let status = kill.args([format!("-{signal}"), self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something is so, which it is soon.
pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never was");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn run(folder: &TempDir, port: u16, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--dir", &folder.path().display().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn answers(child: &mut Child, port: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        // With another one on this port ours ends soon; its number tells whose answer it is.
        let text = ask::<String>(port, &["INFO", "all"]).unwrap_or_default();
        let has = |line: &str| text.lines().any(|other| other == line);
        // A sentinel loads nothing.
        if has(&format!("process_id:{}", child.id())) && !has("loading:1") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.kill());
    false
}

fn ask<T: FromRedisValue>(port: u16, command: &[&str]) -> RedisResult<T> {
    let mut connection = connect(port)?;
    let (name, arguments) = command.split_first().unwrap();
    redis::cmd(name).arg(arguments).query(&mut connection)
}

fn connect(port: u16) -> RedisResult<Connection> {
    Client::open(format!("redis://127.0.0.1:{port}"))?
        .get_connection_with_timeout(Duration::from_secs(5))
}
