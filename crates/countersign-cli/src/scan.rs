mod files;
mod finder;
mod finding;

use std::{collections::HashMap, io::stdin, sync::Arc};

use clap::Args;
use countersign::{KeyId, PublishableKey};
use countersign_store::{Registry, RegistryError};

use self::{
    files::{Opened, files},
    finder::{Content, Finder},
    finding::{Finding, Listed, Registered},
};
use crate::{
    failure::{Exit, Failure},
    output::{note, print_line, warn},
    progress::Progress,
    registry_args::{RegistryArgs, block_on},
};

/// Looks for private keys in files, and names their publishable keys, never the private keys
///
/// Finds private keys in their text form (sk_…), told by their checksum, and Ed25519 keys in PEM and OpenSSH files.
/// Reads folders with all their content, but no symbolic links, no binary files and no objects of Git: for its history,
/// run `git log -p --all | countersign scan -`. With --db it names the credential of each key.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 nothing was found · 1 a private key was found, or a file could not be read."
)]
pub(crate) struct Scan {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Leave this key out, which may be known, such as that of a test; can be repeated
    #[arg(long = "ignore", value_name = "PUBLISHABLE_KEY")]
    ignored: Vec<PublishableKey>,
    /// Read binary files as well
    #[arg(long)]
    binary: bool,
    /// The files and folders to read; `-` is stdin
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
}

/// What was read and found.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    skipped: u64,
    unreadable: u64,
    found: u64,
}

impl Scan {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let tally = match self.registry.is_named() {
            true => self.registry.ask(async |registry| {
                let mut credentials = Credentials::of(registry);
                self.scan(Some(&mut credentials)).await
            })?,
            false => match block_on(self.scan(None))? {
                Ok(tally) => tally,
                // Without a registry nothing is asked.
                Err(_) => Ok(Tally::default()),
            },
        }?;
        tally.outcome()
    }

    /// Reads everything. The outer error is the registry's.
    async fn scan(
        &self,
        mut credentials: Option<&mut Credentials<'_>>,
    ) -> Result<Result<Tally, Failure>, RegistryError> {
        let (mut tally, mut progress) = (Tally::default(), Progress::new("files", None));
        for path in &self.paths {
            for opened in files(path) {
                let (name, found) = match opened {
                    Opened::Stdin => {
                        ("-".to_owned(), self.finder().find(stdin().lock(), &mut progress))
                    }
                    Opened::File(path, file) => {
                        (path.display().to_string(), self.finder().find(file, &mut progress))
                    }
                    Opened::Unreadable(path, error) => (path.display().to_string(), Err(error)),
                };
                let content = match found {
                    Ok(content) => content,
                    Err(error) => {
                        progress.clear();
                        warn(format_args!("cannot read {name}: {error}"));
                        tally.unreadable = tally.unreadable.saturating_add(1);
                        continue;
                    }
                };
                let Content::Text(findings) = content else {
                    tally.skipped = tally.skipped.saturating_add(1);
                    continue;
                };
                tally.files = tally.files.saturating_add(1);
                for finding in findings
                    .iter()
                    .filter(|finding| !self.ignored.contains(&finding.publishable_key()))
                {
                    tally.found = tally.found.saturating_add(1);
                    let registered = match &mut credentials {
                        Some(credentials) => Some(Registered::of(
                            credentials.find(finding.publishable_key()).await?,
                            finding,
                        )),
                        None => None,
                    };
                    progress.clear();
                    if let Err(failure) = self.tell(&name, finding, registered.as_ref()) {
                        return Ok(Err(failure));
                    }
                }
            }
        }
        Ok(Ok(tally))
    }

    fn finder(&self) -> Finder {
        Finder::new(self.binary)
    }

    fn tell(
        &self,
        file: &str,
        finding: &Finding,
        registered: Option<&Registered>,
    ) -> Result<(), Failure> {
        match self.registry.wants_json() {
            true => print_line(finding.object(file, registered)),
            false => print_line(finding.line(file, registered, &self.registry.db_option())),
        }
    }
}

impl Tally {
    fn outcome(self) -> Result<Exit, Failure> {
        let Self { files, skipped, unreadable, found } = self;
        if found > 0 {
            let (keys, were) = if found == 1 { ("key", "was") } else { ("keys", "were") };
            return Err(Failure::local(
                format!("{found} private {keys} {were} found"),
                "a key that others may have read is theirs as well: have it replaced, run `countersign key revoke KEY`, and only then \
                 remove it; a known key of a test is left out with --ignore KEY",
            ));
        }
        if unreadable > 0 {
            return Err(Failure::local(
                format!("{unreadable} of the files could not be read"),
                "run this as a user who may read them, or name the others alone",
            ));
        }
        let binary =
            if skipped == 0 { String::new() } else { format!(", {skipped} binary left out") };
        note(format_args!("no private key found; files read: {files}{binary}"));
        Ok(Exit::Done)
    }
}

/// The credentials of a registry that were asked for.
struct Credentials<'r> {
    registry: &'r Registry,
    known: HashMap<PublishableKey, Option<Listed>>,
}

impl<'r> Credentials<'r> {
    fn of(registry: &'r Registry) -> Self {
        Self { registry, known: HashMap::new() }
    }

    /// Returns the credential with this publishable key. `None` if there is none.
    async fn find(&mut self, key: PublishableKey) -> Result<Option<Listed>, RegistryError> {
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let listed = match self.registry.listed_credential(&KeyId::Publishable(key)).await {
            Ok(listed) => Some(listed.map_err(Arc::from)),
            Err(RegistryError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        self.known.insert(key, listed.clone());
        Ok(listed)
    }
}
