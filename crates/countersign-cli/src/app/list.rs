use clap::Args;
use countersign_store::ApplicationFilter;
use serde_json::{Value, json};

use crate::{
    application::{listed_object, listing, warn_of_damage},
    failure::Failure,
    output::note,
    pages::{PageArgs, note_next},
    registry_args::RegistryArgs,
};

/// Lists the applications that match all options
///
/// With --json, prints a list of applications; with --limit as well, an object with the list in `applications` and the
/// place of the next page in `next`.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Applications with this environment
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Applications with this text in the name, the contact or the notes
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let mut filter = ApplicationFilter::default();
        if let Some(env) = &self.env {
            filter = filter.environment(env);
        }
        if let Some(text) = &self.search {
            filter = filter.search(text);
        }
        let (all, next) =
            registry.ask(async |registry| self.page.applications(registry, &filter).await)?;
        let object = || {
            let all: Value = all.iter().map(listed_object).collect();
            match self.page.is_limited() {
                true => json!({ "applications": all, "next": next.map(|next| next.to_string()) }),
                false => all,
            }
        };
        registry.print(object, || listing(&all))?;
        warn_of_damage(&all);
        note_next(next);
        if all.is_empty() && filter == ApplicationFilter::default() {
            let db = registry.db_option();
            note(format_args!("no applications; `countersign app add NAME{db}` adds one"));
        } else if all.is_empty() {
            note("no applications match");
        }
        Ok(())
    }
}
