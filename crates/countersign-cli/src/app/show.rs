use clap::Args;
use countersign_store::Application;
use serde_json::Value;

use crate::{
    application,
    credential::{self, listed_object, listing, warn_of_damage},
    failure::Failure,
    moment,
    registry_args::RegistryArgs,
    table::facts,
};

/// Shows an application and its keys
#[derive(Args, Debug)]
pub(super) struct Show {
    /// Its name
    name: String,
}

impl Show {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (application, keys) = registry.ask(async |registry| {
            let application = registry.application(&self.name).await?;
            Ok((application, registry.credentials(Some(&self.name)).await?))
        })?;
        registry.print(|| object(&application, &keys), || shown(&application, &keys))?;
        warn_of_damage(&keys);
        Ok(())
    }
}

fn object(application: &Application, keys: &[credential::Listed]) -> Value {
    let mut object = application::object(application);
    if let Some(object) = object.as_object_mut() {
        object.insert("keys".to_owned(), keys.iter().map(listed_object).collect());
    }
    object
}

fn shown(application: &Application, keys: &[credential::Listed]) -> String {
    let facts = facts([
        ("name", Some(application.name.to_string())),
        ("environment", Some(application.environment.to_string())),
        ("added", Some(moment::show(application.created_at))),
        ("keys", keys.is_empty().then(|| "none".to_owned())),
    ]);
    match keys {
        [] => facts,
        keys => format!("{facts}\n{}", listing(keys)),
    }
}
