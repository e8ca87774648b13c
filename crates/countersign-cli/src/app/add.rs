use clap::Args;
use countersign_store::{Application, ApplicationName, BadName, Contact, Environment, Notes};

use crate::{
    application::object,
    failure::Failure,
    moment,
    output::note,
    registry_args::{self, RegistryArgs},
};

/// Adds an application, and makes the registry if it is missing
#[derive(Args, Debug)]
pub(super) struct Add {
    /// Its name: letters, digits and . _ -
    name: String,
    /// Its environment, like live or test
    #[arg(long, value_name = "ENV", default_value = "live")]
    env: String,
    /// Whom to ask about it
    #[arg(long, value_name = "TEXT")]
    contact: Option<Contact>,
    /// What is to be known about it
    #[arg(long, value_name = "TEXT")]
    notes: Option<Notes>,
}

impl Add {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (now, db) = (moment::now(), registry.db_option());
        // Parsed before the registry is opened, which may create it.
        let bad = |error: BadName| registry_args::failure("", &error.into());
        let name: ApplicationName = self.name.parse().map_err(bad)?;
        let env: Environment = self.env.parse().map_err(bad)?;
        let added = registry.ask_or_create(async |registry| {
            let mut application = Application::new(name.clone(), env, now);
            application.contact = self.contact.unwrap_or_default();
            application.notes = self.notes.unwrap_or_default();
            registry.insert_application(application).await
        })?;
        let printed = registry.print(|| object(&added), || format!("{}\n", added.name));
        printed.map_err(|failure| {
            failure.with_hint(format_args!(
                "the application was added; `countersign app show {name}{db}` prints it"
            ))
        })?;
        note(format_args!(
            "added; give it a key with `countersign key add --app {name} --public-key FILE.pub{db}`"
        ));
        Ok(())
    }
}
