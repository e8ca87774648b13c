use clap::Args;

use super::stored;
use crate::{failure::Failure, output::print, registry_args::RegistryArgs};

/// How many entries are read at a time.
const BATCH: u32 = 1000;

/// Prints the audit log as JSON, an entry on each line, with all values that its hashes cover
///
/// `before` and `after` are texts, as they are in the database: the hash covers their bytes.
/// docs/operate/audit-log.md has a program for the hashes of these lines.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// Only the entries after the entry with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
}

impl Export {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let mut after = self.after;
        registry.ask(async |registry| {
            loop {
                let entries = registry.audit_entries(after, BATCH).await?;
                let Some(last) = entries.last() else { return Ok(Ok(())) };
                after = last.number;
                let lines: String =
                    entries.iter().map(|entry| format!("{}\n", stored(entry))).collect();
                if let Err(failure) = print(lines) {
                    return Ok(Err(failure));
                }
            }
        })?
    }
}
