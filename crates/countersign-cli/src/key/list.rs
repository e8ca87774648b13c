use std::time::Duration;

use clap::Args;
use countersign_store::{CredentialFilter, Stage};
use serde_json::{Value, json};

use crate::{
    credential::{listed_object, listing, warn_of_damage},
    duration_arg,
    failure::Failure,
    moment,
    output::note,
    pages::{PageArgs, note_next},
    registry_args::RegistryArgs,
};

/// Lists the keys that match all options
///
/// With --json, prints a list of keys; with --limit as well, an object with the list in `keys` and the place of the next
/// page in `next`.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Keys of this application
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Keys in this state: active, retiring, quarantined, expired or revoked
    #[arg(long, value_name = "STATE")]
    state: Option<Stage>,
    /// Keys with this text in the label or in the name of the application
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Keys that never expire
    #[arg(long)]
    never_expires: bool,
    /// Keys without restrictions
    #[arg(long)]
    unrestricted: bool,
    /// Keys that were not used for so long, like 90d, and are not revoked
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    unused: Option<Duration>,
    /// Keys that are this old, in use, and not replaced yet
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    due: Option<Duration>,
    /// Keys that expire within this time
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    expiring: Option<Duration>,
    #[command(flatten)]
    page: PageArgs,
}

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let filter = self.filter();
        let (keys, next) = registry
            .ask(async |registry| self.page.credentials(registry, &filter, moment::now()).await)?;
        let object = || {
            let keys: Value = keys.iter().map(listed_object).collect();
            match self.page.is_limited() {
                true => json!({ "keys": keys, "next": next.map(|next| next.to_string()) }),
                false => keys,
            }
        };
        registry.print(object, || listing(&keys))?;
        warn_of_damage(&keys);
        note_next(next);
        if keys.is_empty() && filter == CredentialFilter::default() {
            note(format_args!(
                "no keys; `countersign key add --app NAME --public-key FILE.pub{}` adds one",
                registry.db_option()
            ));
        } else if keys.is_empty() {
            note("no keys match");
        }
        Ok(())
    }

    fn filter(&self) -> CredentialFilter {
        let mut filter = CredentialFilter::default();
        if let Some(name) = &self.app {
            filter = filter.application(name);
        }
        if let Some(stage) = self.state {
            filter = filter.stage(stage);
        }
        if let Some(text) = &self.search {
            filter = filter.search(text);
        }
        if self.never_expires {
            filter = filter.never_expires();
        }
        if self.unrestricted {
            filter = filter.unrestricted();
        }
        if let Some(time) = self.unused {
            filter = filter.unused_for(time);
        }
        if let Some(age) = self.due {
            filter = filter.due_after(age);
        }
        if let Some(time) = self.expiring {
            filter = filter.expiring_within(time);
        }
        filter
    }
}
