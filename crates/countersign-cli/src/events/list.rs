use clap::Args;
use countersign::Timestamp;
use countersign_store::UsageEvent;
use serde_json::{Value, json};

use super::{
    filter::FilterArgs,
    shown::{cells, object},
};
use crate::{
    failure::Failure,
    moment,
    output::note,
    pages::{PageArgs, note_next},
    printable::one_line,
    progress::waiting,
    registry_args::RegistryArgs,
    table::columns,
};

/// Lists events, the latest first
///
/// VERIFIED counts the times with a valid signature and a fresh nonce: only the holder of the private key can cause them.
///
/// With --json, prints a list of events; with --limit as well, an object with the list in `events` and the place of the
/// next page in `next`.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only events that last happened before this time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
}

impl List {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let mut filter = self.filter.filter();
        if let Some(time) = self.until {
            filter = filter.until(time);
        }
        let (events, next) = registry.ask(async |registry| {
            waiting("reading events", self.page.events(registry, &filter)).await
        })?;
        let object = || {
            let events: Value = events.iter().map(object).collect();
            match self.page.is_limited() {
                true => json!({ "events": events, "next": next.map(|next| next.to_string()) }),
                false => events,
            }
        };
        registry.print(object, || listing(&events))?;
        note_next(next);
        if events.is_empty() {
            note("no such events");
        }
        Ok(())
    }
}

fn listing(events: &[UsageEvent]) -> String {
    let row = |event: &UsageEvent| {
        let [application, label, kind, detail] = cells(event);
        [
            moment::show(event.count.last),
            kind,
            application,
            label,
            detail,
            event.count.count.to_string(),
            event.count.verified.to_string(),
            moment::show(event.count.first),
            one_line(event.key.as_deref().unwrap_or("-")),
        ]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    columns(
        ["LAST", "KIND", "APPLICATION", "LABEL", "DETAIL", "COUNT", "VERIFIED", "FIRST", "KEY"],
        &rows,
    )
}
