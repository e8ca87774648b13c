use clap::Args;
use countersign_store::Reason;

use super::{change, key_arg::KeyArg};
use crate::{failure::Failure, moment, registry_args::RegistryArgs};

/// Limits a key to reads until it is released: servers apply it within 1 s
#[derive(Args, Debug)]
pub(super) struct Quarantine {
    #[command(flatten)]
    key: KeyArg,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
}

impl Quarantine {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (key, reason, now) = (self.key.id()?, self.reason, moment::now());
        let held = registry.ask(async |registry| registry.quarantine(&key, reason, now).await)?;
        change::print(registry, &held)?;
        change::note_successor(&held, "in quarantine");
        Ok(())
    }
}

/// Ends the quarantine of a key: servers apply it within 1 s
#[derive(Args, Debug)]
pub(super) struct Release {
    #[command(flatten)]
    key: KeyArg,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
}

impl Release {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (key, reason, now) = (self.key.id()?, self.reason, moment::now());
        let freed = registry.ask(async |registry| registry.release(&key, reason, now).await)?;
        change::print(registry, &freed)
    }
}
