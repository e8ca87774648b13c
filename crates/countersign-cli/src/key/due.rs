use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use countersign_store::CredentialFilter;
use serde_json::Value;

use crate::{
    credential::{Listed, listed_object, listing, number, warn_of_damage},
    duration_arg,
    failure::{Exit, Failure},
    moment,
    output::note,
    pages::ALL,
    registry_args::RegistryArgs,
};

/// Lists the keys due for replacement, and exits with 5 if there are any
///
/// A key is due if it is in use, was registered long enough ago, and was not replaced yet.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 no key is due · 5 keys are due.")]
pub(super) struct Due {
    /// The application [default: all]
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// How old a key may become: 90 to 180 days are usual
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration_arg::parse)]
    age: Duration,
    /// List keys as well that expire within this time
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    within: Option<Duration>,
}

impl Due {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<Exit, Failure> {
        let Self { app, age, within } = self;
        let all = app.iter().fold(CredentialFilter::default(), |all, name| all.application(name));
        let mut filters = vec![all.clone().due_after(age)];
        filters.extend(within.map(|within| all.expiring_within(within)));
        let due = registry.ask(async |registry| {
            let mut due = BTreeMap::new();
            for filter in &filters {
                let (keys, _) = ALL.credentials(registry, filter, moment::now()).await?;
                due.extend(keys.into_iter().map(|key| (number(&key), key)));
            }
            Ok(due)
        })?;
        let due: Vec<Listed> = due.into_values().collect();
        registry.print(|| due.iter().map(listed_object).collect::<Value>(), || listing(&due))?;
        warn_of_damage(&due);
        if due.is_empty() {
            return Ok(Exit::Done);
        }
        note(format_args!(
            "replace each with `countersign key replace KEY --public-key NEW.pub{}`",
            registry.db_option()
        ));
        Ok(Exit::Pending)
    }
}
