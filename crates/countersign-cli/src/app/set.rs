use clap::Args;
use countersign_store::{Contact, Environment, Notes};

use crate::{
    application::{object, shown},
    failure::Failure,
    moment,
    output::note,
    registry_args::RegistryArgs,
};

/// Changes the environment, contact and notes of an application
#[derive(Args, Debug)]
pub(super) struct Set {
    /// Its name
    name: String,
    #[command(flatten)]
    change: SetChange,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct SetChange {
    /// Its environment, like live or test
    #[arg(long, value_name = "ENV")]
    env: Option<Environment>,
    /// Whom to ask about it
    #[arg(long, value_name = "TEXT")]
    contact: Option<Contact>,
    /// What is to be known about it
    #[arg(long, value_name = "TEXT")]
    notes: Option<Notes>,
}

impl Set {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { name, change: SetChange { env, contact, notes } } = self;
        let changed = registry.ask(async |registry| {
            let change = move |settings: &mut countersign_store::ApplicationSettings| {
                if let Some(env) = env {
                    settings.environment = env;
                }
                if let Some(contact) = contact {
                    settings.contact = contact;
                }
                if let Some(notes) = notes {
                    settings.notes = notes;
                }
            };
            registry.change_application(&name, moment::now(), change).await
        })?;
        registry.print(|| object(&changed), || shown(&changed))?;
        note("servers apply it within 1 s");
        Ok(())
    }
}
