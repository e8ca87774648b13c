use clap::Args;
use countersign_store::{Application, CredentialFilter};
use serde_json::Value;

use crate::{
    application,
    credential::{self, listed_object, listing, warn_of_damage},
    failure::Failure,
    moment,
    pages::ALL,
    registry_args::RegistryArgs,
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
            let filter = CredentialFilter::default().application(&self.name);
            let (keys, _) = ALL.credentials(registry, &filter, moment::now()).await?;
            Ok((application, keys))
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
    let facts = application::shown(application);
    match keys {
        [] => facts,
        keys => format!("{facts}\n{}", listing(keys)),
    }
}
