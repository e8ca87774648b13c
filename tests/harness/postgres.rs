use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::{self, JoinHandle},
};

use tempfile::TempDir;

/// A PostgreSQL server, with a database cluster of its own, until it is dropped. It listens on a socket in a folder of its
/// own, and on no port.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// Whom it runs as, with their group: PostgreSQL refuses to run as root.
    user: Option<(u32, u32)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Child,
    /// Reads what is logged, until the last process of the server has ended.
    log: JoinHandle<()>,
}

impl Postgres {
    /// Whether PostgreSQL is installed.
    pub fn is_installed() -> bool {
        find_programs().is_some()
    }

    /// A new one.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let user = (fs::metadata(folder.path()).unwrap().uid() == 0).then(unprivileged);
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut postgres = Self { folder, programs: programs(), user, running: None };
        let how = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"];
        let mut initdb = postgres.command("initdb");
        initdb.args(how).args(["--no-sync", "-D"]).arg(postgres.data());
        let Output { status, stderr, .. } = initdb.output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        // One role has to give a password, if a test makes it.
        let rules = "local all with_password scram-sha-256\nlocal all all trust\n";
        fs::write(postgres.data().join("pg_hba.conf"), rules).unwrap();
        postgres.run();
        postgres
    }

    /// Starts it again after [`Postgres::kill`], and waits until it is ready.
    pub fn run(&mut self) {
        assert!(self.running.is_none(), "it is running");
        let mut server = self.command("postgres");
        server.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        // What is written outlives the process, and no test takes away the power.
        server.args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "fsync=off"]);
        let mut server = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut log = String::new();
        while !log.contains("ready to accept ") {
            let Some(line) = lines.next() else { panic!("PostgreSQL did not start:\n{log}") };
            log.push_str(&line.unwrap());
            log.push('\n');
        }
        let log = thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.running = Some(Running { server, log });
    }

    /// Kills it with `SIGKILL`, and waits until every process of it has ended.
    pub fn kill(&mut self) {
        let Running { mut server, log } = self.running.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        log.join().unwrap();
    }

    /// Starts it again after [`Postgres::kill`], as a replica that waits for more from its primary.
    pub fn run_as_replica(&mut self) {
        let signal = self.data().join("standby.signal");
        fs::write(&signal, "").unwrap();
        if let Some((user, group)) = self.user {
            chown(&signal, Some(user), Some(group)).unwrap();
        }
        self.run();
    }

    /// Whom it runs as, if that is not who runs the test: a user and their group.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    /// The superuser's database: `postgres://…`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// A database on it: `postgres://…`.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.path().display())
    }

    /// The folder with its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with its files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(Running { mut server, log }) = self.running.take() else { return };
        // Stopped properly, it leaves no shared memory behind.
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "-D"]).arg(self.data());
        if !stop.status().is_ok_and(|status| status.success()) {
            drop(server.kill());
        }
        drop(server.wait());
        drop(log.join());
    }
}

/// Where the server's programs are. Debian keeps them out of `PATH`.
fn programs() -> PathBuf {
    find_programs().unwrap_or_else(|| panic!("PostgreSQL is not installed; tests/run brings it"))
}

fn find_programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let has_all = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).exists())
    };
    env::split_paths(&path).chain(debian.into_iter().rev()).find(has_all)
}

/// The user and group of somebody who is not root.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let of = |name: &str| {
        let user = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = user.split(':').skip(2);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).unwrap()
}
