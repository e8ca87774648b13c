mod export;
mod list;
mod verify;

use clap::{Args, Subcommand};
use countersign_store::AuditEntry;
use serde_json::{Value, json};

use self::{export::Export, list::List, verify::Verify};
use crate::{
    failure::{Exit, Failure},
    registry_args::{ReadArgs, RegistryArgs},
};

/// The audit log: all changes of a registry, with their authors
#[derive(Args, Debug)]
pub(crate) struct Audit {
    #[command(flatten)]
    read: ReadArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Export(Export),
    Verify(Verify),
}

impl Audit {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { read, command } = self;
        let registry = RegistryArgs::from(read);
        match command {
            Command::List(list) => list.run(&registry),
            Command::Export(export) => export.run(&registry),
            Command::Verify(verify) => verify.run(&registry),
        }?;
        Ok(Exit::Done)
    }
}

/// Returns an entry as JSON, with every column as the hash covers it.
fn stored(entry: &AuditEntry) -> Value {
    json!({
        "number": entry.number,
        "at": entry.at.unix(),
        "actor": entry.actor,
        "action": entry.action,
        "application": entry.application,
        "key_id": entry.key_id,
        "before": entry.before,
        "after": entry.after,
        "hash": entry.hash.to_string(),
    })
}
