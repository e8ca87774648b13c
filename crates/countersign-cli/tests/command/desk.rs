use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::database::Database;

/// A folder in which commands run, with nothing else in their environment.
pub(crate) struct Desk {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    /// The database of its registry, if that is in PostgreSQL.
    database: Option<Database>,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), environment: Vec::new(), database: None }
    }

    /// With a key `id.key`, whose publishable key is given back.
    pub(crate) fn with_key() -> (Self, String) {
        let desk = Self::new();
        let publishable = desk.run(["keygen", "--out", "id.key"]).done();
        (desk, publishable.trim().to_owned())
    }

    /// With a registry named by COUNTERSIGN_DB, in which there is the application `shop`.
    pub(crate) fn with_registry() -> Self {
        let desk = Self::new().variable("COUNTERSIGN_DB", "sqlite:registry.db");
        desk.run(["app", "add", "shop"]).done();
        desk
    }

    /// The same with a registry in PostgreSQL.
    pub(crate) fn with_postgres_registry() -> Self {
        let desk = Self::with_database();
        desk.run(["app", "add", "shop"]).done();
        desk
    }

    /// With a database in PostgreSQL, named by COUNTERSIGN_DB, and no registry in it yet.
    pub(crate) fn with_database() -> Self {
        let database = Database::create();
        let desk = Self::new().variable("COUNTERSIGN_DB", &database.url());
        Self { database: Some(database), ..desk }
    }

    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>, mode: u32) {
        fs::write(self.path(file), content).unwrap();
        self.set_mode(file, mode);
    }

    pub(crate) fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.path(file)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn set_mode(&self, file: &str, mode: u32) {
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// An order that the key of [`with_key`](Self::with_key) signed, in a format of `sign`.
    pub(crate) fn signed_order(&self, format: &str) -> String {
        self.run([
            "sign",
            "--key",
            "id.key",
            "-H",
            "Content-Type: application/json",
            "-d",
            "{\"item\":\"book\"}",
            "--format",
            format,
            "https://api.example.com/v1/orders?expand=customer",
        ])
        .done()
    }

    /// Runs `countersign`.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        self.run_with(arguments, b"")
    }

    /// Runs `countersign` with this on stdin.
    pub(crate) fn run_with<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        stdin: &[u8],
    ) -> Finished {
        let mut command = self.command(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its stdin ends before all is written.
        drop(child.stdin.take().unwrap().write_all(stdin));
        let output = child.wait_with_output().unwrap();
        Finished {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Finished {
    /// It is done: what it printed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// It failed with this exit code: nothing on stdout, one line that says why, and one that says what to do.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, error: &str, hint: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let &[first, second] = lines.as_slice() else { panic!("not two lines: {self:?}") };
        assert!(first.starts_with("error: ") && first.contains(error), "{self:?}");
        assert!(second.starts_with("hint: ") && second.contains(hint), "{self:?}");
    }
}
