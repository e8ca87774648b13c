use clap::Args;
use serde_json::Value;

use crate::{
    credential::{listed_object, listing, warn_of_damage},
    failure::Failure,
    output::note,
    registry_args::RegistryArgs,
};

/// Lists the keys of an application, or of all
#[derive(Args, Debug)]
pub(super) struct List {
    /// The application
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
}

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let keys =
            registry.ask(async |registry| registry.credentials(self.app.as_deref()).await)?;
        registry.print(|| keys.iter().map(listed_object).collect::<Value>(), || listing(&keys))?;
        warn_of_damage(&keys);
        if keys.is_empty() {
            note(format_args!(
                "no keys; `countersign key add --app NAME --public-key FILE.pub{}` adds one",
                registry.db_option()
            ));
        }
        Ok(())
    }
}
