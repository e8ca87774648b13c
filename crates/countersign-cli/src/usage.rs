mod breakdown;
mod csv;
mod declared_routes;
mod dimension;
mod filter;
mod headroom;
mod overview;
#[cfg(feature = "plot")]
mod plot;
mod question;
mod range;
mod routes;
mod sparkline;
mod table_args;
mod unused_scopes;

use clap::{Args, Subcommand};

#[cfg(feature = "plot")]
use self::plot::Plot;
use self::{
    filter::FilterArgs, headroom::Headroom, question::Question, range::RangeArgs, routes::Routes,
    table_args::TableArgs, unused_scopes::UnusedScopes,
};
use crate::{
    failure::{Exit, Failure},
    registry_args::{ReadArgs, RegistryArgs},
};

/// Calls by caller, route, network and outcome
///
/// Servers that count usage save it every 5 s. Without --by, prints an overview. Unless a server is set otherwise, counts by
/// minute are kept for 2 days, by hour for 90 days, by day for 3 years: times further back are extended to whole hours or days.
/// docs/how-to/see-usage.md has the details.
///
/// Unused keys: `countersign key list --unused 90d`; `countersign key prune` revokes them.
#[derive(Args, Debug)]
#[command(subcommand_value_name = "WHAT", subcommand_help_heading = "More")]
pub(crate) struct Usage {
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    table: TableArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Routes(Routes),
    Scopes(UnusedScopes),
    Headroom(Headroom),
    #[cfg(feature = "plot")]
    Plot(Plot),
}

impl Usage {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { read, range, filter, table, command } = self;
        let registry = RegistryArgs::from(read);
        let question = Question::new(range.range()?, filter);
        match command {
            Some(_) if !table.is_empty() => Err(Failure::local(
                "--by, --step, --top, --latencies and --csv are for `countersign usage` alone",
                "leave them out, or write them behind the word",
            )),
            Some(Command::Routes(routes)) => routes.run(&registry, &question),
            Some(Command::Scopes(scopes)) => scopes.run(&registry, &question),
            Some(Command::Headroom(headroom)) => headroom.run(&registry, &question),
            #[cfg(feature = "plot")]
            Some(Command::Plot(plot)) => plot.run(&registry, &question),
            None => table.run(&registry, &question),
        }?;
        Ok(Exit::Done)
    }
}
