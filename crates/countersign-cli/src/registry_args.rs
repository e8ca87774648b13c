use std::path::{Path, PathBuf};

use clap::Args;
use countersign::with_reasons;
use countersign_store::{BadName, FileError, NotReplaced, Registry, RegistryError, Subject};
use serde_json::Value;

use crate::{
    environment::DB_VARIABLE,
    failure::Failure,
    output::{print, print_line, warn},
    shell::quote,
};

/// The options of commands that ask a registry: which registry, and the form of the output.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryArgs {
    /// The registry: sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", env = DB_VARIABLE, hide_env_values = true, global = true)]
    db: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl RegistryArgs {
    /// Returns the option with which a command in a hint finds the same registry. Empty if the variable names it.
    pub(crate) fn db_option(&self) -> String {
        self.db.as_deref().map_or_else(String::new, db_option)
    }

    /// Opens the registry and asks it.
    pub(crate) fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        self.ask_opened(async |url| Registry::open(url).await, question)
    }

    /// Opens the registry, creates it if it is missing, and asks it.
    pub(crate) fn ask_or_create<T>(
        &self,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        self.ask_opened(async |url| Registry::open_or_create(url).await, question)
    }

    fn ask_opened<T>(
        &self,
        open: impl AsyncFnOnce(&str) -> Result<Registry, RegistryError>,
        question: impl AsyncFnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, Failure> {
        let Some(url) = &self.db else {
            return Err(Failure::local(
                "no registry is named",
                format!(
                    "add --db sqlite:FILE or --db postgres://USER@HOST/DATABASE, or set {DB_VARIABLE} to it"
                ),
            ));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::cannot_start(&error))?;
        let answer = runtime.block_on(async {
            let registry = open(url).await?;
            warn_of_exposure(url, registry.closed_files());
            let answer = question(&registry).await;
            registry.close().await;
            answer
        });
        answer.map_err(|error| failure(url, &error))
    }

    /// Prints JSON as a line, or text, which has its own line ends.
    pub(crate) fn print(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.json {
            true => print_line(json()),
            false => print(text()),
        }
    }
}

fn db_option(url: &str) -> String {
    match is_set_to(url) || url.is_empty() {
        true => String::new(),
        false => format!(" --db {}", quote(url)),
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

/// Returns the command that replaces a registry's file with a copy that no other program has open.
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

pub(crate) fn failure(url: &str, error: &RegistryError) -> Failure {
    let file = Registry::file_of(url).unwrap_or(Path::new("")).display().to_string();
    let plain = quote(&format!("sqlite:{file}"));
    let db = db_option(url);
    let hint = match error {
        // The message does not show the address: an address of another form may hold a password.
        RegistryError::UnsupportedUrl => {
            let named = if is_set_to(url) { DB_VARIABLE } else { "--db" };
            return Failure::local(
                format!("{named} names no registry"),
                "write it as sqlite:FILE, with the name of a file",
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
            format!("write {plain}; commands that list and show change nothing in it")
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
        RegistryError::NewerSchema => "use the countersign that wrote it, or a newer one".into(),
        RegistryError::File(FileError::Damaged) => {
            "check its name; if it was a registry, restore a backup of it".into()
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
        RegistryError::BadName(BadName::Application) => "give it another name".into(),
        RegistryError::BadName(BadName::Environment) => "give it another environment".into(),
        RegistryError::BadName(BadName::Label) => "give it another label".into(),
        _ => "run it again; if it stays so, restore a backup of the registry".into(),
    };
    let at_fault = match error {
        RegistryError::NotFound(_)
        | RegistryError::Exists(_)
        | RegistryError::InUse
        | RegistryError::Key(_)
        | RegistryError::Revoked
        | RegistryError::NotReplaced(_)
        | RegistryError::Cursor(_)
        | RegistryError::BadName(_) => String::new(),
        _ => format!("{file}: "),
    };
    Failure::local(format!("{at_fault}{}", with_reasons(error)), hint)
}
