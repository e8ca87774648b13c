use std::path::{Path, PathBuf};

use clap::Args;
use countersign::with_reasons;
use countersign_store::{
    BadName, BadUsageQuery, FileError, MasterKeys, NotReplaced, Registry, RegistryError,
    RegistryOptions, ServerError, Subject,
};
use serde_json::Value;

use crate::{
    actor::ActorArg,
    environment::{DB_VARIABLE, MASTER_KEY_VARIABLE},
    failure::{Exit, Failure},
    master_key_args::MasterKeyArgs,
    output::{note, print, print_line, warn},
    shell::quote,
};

/// The options of commands on a registry: its address, the form of the output, and the author of a change.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryArgs {
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    actor: ActorArg,
}

/// The options of commands without changes of a registry.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReadArgs {
    /// The registry: sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", env = DB_VARIABLE, hide_env_values = true, global = true)]
    db: Option<String>,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl From<ReadArgs> for RegistryArgs {
    fn from(read: ReadArgs) -> Self {
        Self { read, actor: ActorArg::default() }
    }
}

impl RegistryArgs {
    /// Returns the `--db` option for a command in a hint. Empty if the variable names the registry.
    pub(crate) fn db_option(&self) -> String {
        self.read.db.as_deref().map_or_else(String::new, db_option)
    }

    /// Whether a registry is named, by an argument or by the variable.
    pub(crate) const fn is_named(&self) -> bool {
        self.read.db.is_some()
    }

    /// Whether the output is JSON.
    pub(crate) const fn wants_json(&self) -> bool {
        self.read.json
    }

    /// Returns the descriptors of the master keys. No other process needs them.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.read.master_keys.descriptors()
    }

    /// Reads the master keys. `None` without a key.
    pub(crate) fn master_keys(&self) -> Result<Option<MasterKeys>, Failure> {
        self.read.master_keys.read()
    }

    /// Opens the registry without the master keys, which seals no secret, and asks it.
    pub(crate) fn ask_without_master_keys<T>(
        &self,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        let options = RegistryOptions::new().acting_as(self.actor.actor());
        self.ask_opened(options, async |options, url| options.open(url).await, question)
    }

    /// Opens the registry and asks it.
    pub(crate) fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        let options = self.options()?;
        self.ask_opened(options, async |options, url| options.open(url).await, question)
    }

    /// Opens the registry, creates it if it is missing, and asks it.
    pub(crate) fn ask_or_create<T>(
        &self,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        let options = self.options()?;
        self.ask_opened(options, async |options, url| options.open_or_create(url).await, question)
    }

    fn options(&self) -> Result<RegistryOptions, Failure> {
        let options = RegistryOptions::new().acting_as(self.actor.actor());
        Ok(options.master_keys(self.master_keys()?))
    }

    fn ask_opened<T>(
        &self,
        options: RegistryOptions,
        open: impl AsyncFnOnce(RegistryOptions, &str) -> Result<Registry, RegistryError>,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        let Some(url) = &self.read.db else {
            return Err(Failure::local(
                "no registry is named",
                format!(
                    "add --db sqlite:FILE or --db postgres://USER@HOST/DATABASE, or set {DB_VARIABLE} to it"
                ),
            ));
        };
        let answer = block_on(async {
            let registry = open(options, url).await?;
            warn_of_exposure(url, registry.closed_files());
            tell_of_sealed(registry.sealed_now());
            let answer = question(&registry).await;
            registry.close().await;
            answer
        })?;
        answer.map_err(|error| failure(url, &error))
    }

    /// Returns the failure for an error of the registry.
    pub(crate) fn failure(&self, error: &RegistryError) -> Failure {
        failure(self.read.db.as_deref().unwrap_or_default(), error)
    }

    /// Prints JSON as a line, or text, which has its own line ends.
    pub(crate) fn print(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.read.json {
            true => print_line(json()),
            false => print(text()),
        }
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Failure::cannot_start(&error))?.block_on(future))
}

/// Returns the `--db` option for the same registry, without a password. An unreadable address may hold a password anywhere, and is
/// left out as a whole.
fn db_option(url: &str) -> String {
    match Registry::without_password(url) {
        Some(shown) if !is_set_to(url) => format!(" --db {}", quote(&shown)),
        Some(_) | None => String::new(),
    }
}

/// Whether the variable names this registry.
fn is_set_to(url: &str) -> bool {
    std::env::var(DB_VARIABLE).is_ok_and(|set| set == url)
}

/// Warns of files that other users could read, and that are closed now. Secrets that a user has read stay known, and a
/// program with an open descriptor goes on reading.
fn warn_of_exposure(url: &str, files: &[PathBuf]) {
    if !files.is_empty() {
        warn(format_args!(
            "other users could read {}, where HMAC secrets lie as they are; now closed to them (mode 600), but a program \
             that has the file open goes on reading it, and a user who has read a secret can sign: stop the servers, run {} as \
             the owner, then revoke the HMAC keys and register new ones",
            names(files),
            renewal(url)
        ));
    }
}

/// Tells that this command sealed HMAC secrets: a server without the master key cannot open them.
fn tell_of_sealed(secrets: u64) {
    if secrets > 0 {
        note(format_args!(
            "sealed the plain HMAC secrets of the registry, {secrets} of them: give the master key to all servers now; copies of the \
             registry that were made before have the secrets still"
        ));
    }
}

/// Returns the command that replaces a registry's file by a copy. No other program has the copy open.
fn renewal(url: &str) -> String {
    let named = Registry::file_of(url).unwrap_or(Path::new(""));
    // Replaces the file itself, not a link to it.
    let file = match named.is_symlink() {
        true => named.canonicalize().unwrap_or_else(|_| named.to_owned()),
        false => named.to_owned(),
    };
    let file = file.display().to_string();
    let (new, file) = (quote(&format!("{file}.new")), quote(&file));
    format!("`(umask 077; cp {file} {new} && mv {new} {file})`")
}

/// Quotes the names of files for a shell.
fn names(files: &[PathBuf]) -> String {
    let names = files.iter().map(|file| quote(&file.display().to_string()));
    names.collect::<Vec<_>>().join(" ")
}

/// Returns the two lines of an error: the fault of the registry, and the remedy. They show no password.
pub(crate) fn failure(url: &str, error: &RegistryError) -> Failure {
    match error {
        RegistryError::Server(error) => server_failure(url, error),
        RegistryError::Unknown(_) => Failure::new(
            Exit::Server,
            format!("{}: {}", name(url), with_reasons(error)),
            format!(
                "look before you repeat it: `countersign app list{db}`, `countersign key list{db}`",
                db = db_option(url)
            ),
        ),
        RegistryError::UnsupportedParameter if is_of_server(url) => Failure::local(
            // The parameter is not shown: it may be a password under a misspelt name.
            "the registry's address has a parameter that is not supported, or a value that is none of its parameter",
            "these are: sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, port, dbname, user, application_name, \
             statement-cache-capacity; a password is set as PGPASSWORD",
        ),
        RegistryError::Database(_) if is_of_server(url) => Failure::new(
            Exit::Server,
            format!("{}: {}", name(url), with_reasons(error)),
            "run it again; if it stays so, look into the log of the database server",
        ),
        error => file_failure(url, error),
    }
}

/// Whether an address is that of a database server.
fn is_of_server(url: &str) -> bool {
    url.starts_with("postgres")
}

fn name(url: &str) -> String {
    Registry::name_of(url).unwrap_or_else(|| "the registry".into())
}

fn server_failure(url: &str, error: &ServerError) -> Failure {
    let name = name(url);
    let (_, database) = name.rsplit_once('/').unwrap_or_default();
    let user = name.strip_prefix("postgres://").and_then(|name| name.split('@').next());
    let (database, user) = (identifier(database), identifier(user.unwrap_or_default()));
    let (db, psql) = (db_option(url), psql(url));
    let hint = match error {
        ServerError::Unreachable(_) => {
            format!(
                "check that the server runs and accepts connections there: `{psql} -c 'SELECT 1'`"
            )
        }
        ServerError::Refused(_) => {
            format!(
                "set the password of this user as PGPASSWORD or in ~/.pgpass, and try it: `{psql} -c 'SELECT 1'`"
            )
        }
        ServerError::NoDatabase => {
            format!("check its name, or have a user who may do so run `CREATE DATABASE {database}`")
        }
        ServerError::NoRegistry => {
            format!("`countersign app add NAME{db}` makes one")
        }
        ServerError::NoPermission(_) => {
            let schema = "countersign";
            format!(
                "have the role that made the registry, which owns its tables, run `GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}; \
                 GRANT INSERT, UPDATE ON {schema}.application, {schema}.credential TO {user}; GRANT UPDATE ON {schema}.last_change TO {user}; \
                 GRANT INSERT ON {schema}.audit_entry TO {user}`"
            )
        }
        ServerError::MayNotPrepare(_) => {
            format!(
                "run `countersign app list` once as the role that made the registry, which owns its tables; if there is no registry in the \
                 database yet, run `countersign app add NAME` as the owner of the database, or have the owner run `GRANT CREATE ON \
                 DATABASE {database} TO {user}`"
            )
        }
        ServerError::ReadOnly => {
            format!(
                "name the primary server; if this is it, its operator made it read-only, which `SET default_transaction_read_only = off; ALTER \
                 DATABASE {database} RESET default_transaction_read_only` ends"
            )
        }
        ServerError::Locked => {
            format!(
                "run it again; if it stays so, find the transaction that holds the lock: `{psql} -c \"SELECT pid, usename, \
                 application_name, xact_start FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start\"`, and end it: `SELECT \
                 pg_terminate_backend(PID)`"
            )
        }
        ServerError::Cancelled(_) => {
            format!(
                "run it again; if it stays so, `ALTER ROLE {user} SET statement_timeout = '30s'`"
            )
        }
        ServerError::DiskFull => "make room on the disk of the server, and run it again".into(),
        ServerError::Damaged(_) => "restore a backup of the database".into(),
        ServerError::Pooler => {
            let unnamed = unnamed(url);
            format!(
                "add the parameter for poolers to the address: --db {unnamed}; or name the server itself"
            )
        }
        _ => "run it again; if it stays so, look into the log of the database server".into(),
    };
    let exit = match error {
        ServerError::Unreachable(_)
        | ServerError::Locked
        | ServerError::Cancelled(_)
        | ServerError::DiskFull
        | ServerError::Damaged(_) => Exit::Server,
        _ => Exit::Local,
    };
    Failure::new(exit, format!("{name}: {}", with_reasons(error)), hint)
}

/// Writes a name as SQL writes it.
fn identifier(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Returns the `psql` command for the same database.
fn psql(url: &str) -> String {
    let shown = Registry::without_password(url).unwrap_or_default();
    format!("psql {}", quote(&without_capacity(&shown)))
}

/// The parameter that makes statements nameless.
const CAPACITY: &str = "statement-cache-capacity";

/// Returns an address without a parameter that only this program knows.
fn without_capacity(url: &str) -> String {
    let Some((address, parameters)) = url.split_once('?') else { return url.to_owned() };
    let kept: Vec<_> = parameters.split('&').filter(|one| !one.starts_with(CAPACITY)).collect();
    match kept.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", kept.join("&")),
    }
}

/// Returns the address with the parameter that a pooler asks for.
fn unnamed(url: &str) -> String {
    let shown = without_capacity(&Registry::without_password(url).unwrap_or_default());
    let sign = if shown.contains('?') { '&' } else { '?' };
    quote(&format!("{shown}{sign}{CAPACITY}=0"))
}

fn file_failure(url: &str, error: &RegistryError) -> Failure {
    let file = Registry::file_of(url).unwrap_or(Path::new("")).display().to_string();
    let plain = quote(&format!("sqlite:{file}"));
    let db = db_option(url);
    let hint = match error {
        // The message does not show the address: an address of another form may hold a password.
        RegistryError::UnsupportedUrl => {
            let named = if is_set_to(url) { DB_VARIABLE } else { "--db" };
            return Failure::local(
                format!("{named} names no registry"),
                "write it as sqlite:FILE or as postgres://USER@HOST/DATABASE; in a password, write %40 for @, %2F for /, %23 for # and \
                 %3F for ?",
            );
        }
        RegistryError::File(FileError::Missing) | RegistryError::File(FileError::Empty) => {
            format!("`countersign app add NAME --db {plain}` makes one")
        }
        RegistryError::File(FileError::Foreign) => {
            "name another file, or one that is not there yet".into()
        }
        RegistryError::File(FileError::Exposed { files }) => {
            format!(
                "run `chmod 600 {}` as the owner of these files, stop the servers, and run {}: a program that has the file open \
                 goes on reading it; if HMAC keys are in it already, revoke them and register new ones",
                names(files),
                renewal(url)
            )
        }
        RegistryError::ReadOnlyMode => {
            format!("write {plain}; a registry is always opened for writing")
        }
        RegistryError::UnsupportedParameter => {
            format!("write {plain}; only ?mode=rwc and ?mode=rw may stand behind the file")
        }
        RegistryError::NamedByParameters => {
            let named = url.strip_prefix("sqlite:").unwrap_or("");
            let named = quote(named.strip_prefix("//").unwrap_or(named));
            let quoted = quote(&file);
            if Path::new(&file).exists() {
                let copy = format!("{file}.copy");
                let (copied, listed) = (quote(&copy), quote(&format!("sqlite:{copy}")));
                format!(
                    "there is {quoted} as well: stop the servers, and look at both: at this one with `countersign key list --db {plain}`, at \
                     the other, after `cp -n {named} {copied}`, with `countersign key list --db {listed}`; keep the registry that your servers \
                     use, and move the other away"
                )
            } else {
                format!(
                    "stop the servers that use it, then run `mv -n {named} {quoted}`, or delete it if it is not the registry"
                )
            }
        }
        RegistryError::File(FileError::CannotOpen(_)) => {
            "name a file in a folder that exists and is yours".into()
        }
        RegistryError::File(FileError::Locked) => {
            "run it again; if it stays so, end the process that holds it".into()
        }
        RegistryError::File(FileError::ReadOnly) => {
            "make the file and its folder writable for this user, or run this as their owner".into()
        }
        RegistryError::File(FileError::DiskFull) => {
            "make room on its disk, and run it again".into()
        }
        RegistryError::File(FileError::Replaced) => {
            "see that the right file is in its place, and run it again".into()
        }
        RegistryError::NewerSchema => "use the countersign that wrote it, or a newer one".into(),
        RegistryError::File(FileError::Damaged) => {
            "check its name; if it was a registry, restore a backup of it".into()
        }
        RegistryError::Sealed { .. } | RegistryError::NoMasterKey => {
            format!("give the master key with --master-key FILE, or set {MASTER_KEY_VARIABLE}")
        }
        RegistryError::DamagedCredential { .. } => {
            "restore a backup of the registry; a revocation of it holds all the same".into()
        }
        RegistryError::DamagedApplication { .. } => "restore a backup of the registry".into(),
        RegistryError::NotFound(Subject::Application) => {
            format!("`countersign app list{db}` shows those there are")
        }
        RegistryError::NotFound(_) => {
            format!("`countersign key list{db}` shows those there are")
        }
        RegistryError::Key(_) => {
            "make one of its holder's own with `countersign keygen`; nobody else can sign with that"
                .into()
        }
        RegistryError::Exists(Subject::Credential) => {
            "a key is registered once, for ever; make another with `countersign keygen`".into()
        }
        RegistryError::Exists(_) => {
            format!("take another name; `countersign app list{db}` shows those there are")
        }
        RegistryError::InUse => {
            format!(
                "revoke them first: `countersign key list{db}`, `countersign key revoke KEY{db}`"
            )
        }
        RegistryError::Revoked => {
            "a revocation is for ever: register another key with `countersign key add`".into()
        }
        RegistryError::NotReplaced(NotReplaced::Quarantined) => {
            format!("end the quarantine first, with `countersign key release KEY{db}`")
        }
        RegistryError::NotReplaced(NotReplaced::Replaced(by)) => format!(
            "replace that key, {by}, or end the overlap with `countersign key revoke` of the old one"
        ),
        RegistryError::NotReplaced(NotReplaced::SameKey) => {
            "make a new key with `countersign keygen`".into()
        }
        RegistryError::NotReplaced(_) => {
            format!("register the new key by itself, with `countersign key add --app NAME{db}`")
        }
        RegistryError::Cursor(_) => {
            "give the place that the page before told, or leave --after out".into()
        }
        RegistryError::Usage(BadUsageQuery::Combined) => {
            "ask for them one after the other: networks; platforms and products; or routes, methods, outcomes and statuses".into()
        }
        RegistryError::Usage(_) => "leave --step out, or take --step hour".into(),
        RegistryError::BadName(BadName::Application) => "give it another name".into(),
        RegistryError::BadName(BadName::Environment) => "give it another environment".into(),
        RegistryError::BadName(BadName::Label) => "give it another label".into(),
        _ => "run it again; if it stays so, restore a backup of the registry".into(),
    };
    let at_fault = match error {
        RegistryError::NotFound(_)
        | RegistryError::Exists(_)
        | RegistryError::NoMasterKey
        | RegistryError::InUse
        | RegistryError::Key(_)
        | RegistryError::Revoked
        | RegistryError::NotReplaced(_)
        | RegistryError::Cursor(_)
        | RegistryError::Usage(_)
        | RegistryError::BadName(_) => String::new(),
        _ if is_of_server(url) => format!("{}: ", name(url)),
        _ => format!("{file}: "),
    };
    Failure::local(format!("{at_fault}{}", with_reasons(error)), hint)
}
