use clap::Args;
use serde_json::Value;

use crate::{
    application::{listed_object, listing, warn_of_damage},
    failure::Failure,
    output::note,
    registry_args::RegistryArgs,
};

/// Lists the applications
#[derive(Args, Debug)]
pub(super) struct List;

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let all = registry.ask(async |registry| registry.applications().await)?;
        registry.print(|| all.iter().map(listed_object).collect::<Value>(), || listing(&all))?;
        warn_of_damage(&all);
        if all.is_empty() {
            let db = registry.db_option();
            note(format_args!("no applications; `countersign app add NAME{db}` adds one"));
        }
        Ok(())
    }
}
