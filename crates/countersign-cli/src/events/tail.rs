use std::{ops::ControlFlow, time::Duration};

use clap::Args;
use countersign_store::{EventCount, EventFeed, UsageEvent};

use super::{
    filter::FilterArgs,
    shown::{cells, object},
};
use crate::{
    failure::Failure,
    moment,
    output::{note, print_while_read},
    registry_args::RegistryArgs,
};

const BETWEEN: Duration = Duration::from_secs(2);

/// Prints events as they are saved, until it is stopped with Ctrl-C
///
/// A repeated event is printed again. Servers save events every 5 s. With --json, prints an object on each line. With
/// --since, begins with the events since then.
#[derive(Args, Debug)]
pub(super) struct Tail {
    #[command(flatten)]
    filter: FilterArgs,
}

impl Tail {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let since = self.filter.since.unwrap_or_else(moment::now);
        let mut feed = EventFeed::new(self.filter.filter(), since);
        registry.ask(async |open| {
            let printing = async {
                note("waiting for events; Ctrl-C ends it");
                loop {
                    for news in feed.next(open, moment::now()).await? {
                        match print_while_read(line(&news.event, registry.wants_json())) {
                            Ok(ControlFlow::Continue(())) => {}
                            Ok(ControlFlow::Break(())) => return Ok(Ok(())),
                            Err(failure) => return Ok(Err(failure)),
                        }
                    }
                    tokio::time::sleep(BETWEEN).await;
                }
            };
            tokio::select! {
                printed = printing => printed,
                _ = tokio::signal::ctrl_c() => Ok(Ok(())),
            }
        })?
    }
}

fn line(event: &UsageEvent, as_json: bool) -> String {
    match as_json {
        true => format!("{}\n", object(event)),
        false => {
            let [application, label, kind, detail] = cells(event);
            let EventCount { last, count, verified, .. } = event.count;
            let last = moment::show(last);
            format!(
                "{last}  {kind}  {application}  {label}  {detail}  count {count}, verified {verified}\n"
            )
        }
    }
}
