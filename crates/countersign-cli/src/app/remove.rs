use clap::Args;
use serde_json::json;

use crate::{failure::Failure, moment, output::note, registry_args::RegistryArgs};

/// Removes an application after all its keys were revoked
#[derive(Args, Debug)]
pub(super) struct Remove {
    /// Its name
    name: String,
}

impl Remove {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (name, now) = (self.name, moment::now());
        registry.ask(async |registry| registry.remove_application(&name, now).await)?;
        registry.print(|| json!({ "removed": name }), String::new)?;
        note(format_args!("{name} is removed; its keys stay revoked"));
        Ok(())
    }
}
