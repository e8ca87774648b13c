use std::io::{IsTerminal, stdout};

use clap::Args;

use super::{
    breakdown::{Breakdown, Parts},
    dimension::{Dimension, Step},
    overview::Overview,
    question::Question,
};
use crate::{
    failure::Failure,
    output::{note, print, print_line},
    registry_args::RegistryArgs,
};

/// How many rows a table has, unless another number is asked for.
const ROWS: u32 = 20;

/// How counts are divided and printed.
#[derive(Args, Clone, Debug)]
pub(super) struct TableArgs {
    /// Divide the calls by this, or by several, like application,outcome
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    by: Vec<Dimension>,
    /// Divide the calls by time as well
    #[arg(long)]
    step: Option<Step>,
    /// Print those with the most calls [default: 20 in a table, otherwise all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    top: Option<u32>,
    /// Print how long calls took: the median, and what 95 of 100 did not exceed
    #[arg(long)]
    latencies: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl TableArgs {
    pub(super) const fn is_empty(&self) -> bool {
        self.by.is_empty()
            && self.step.is_none()
            && self.top.is_none()
            && !self.latencies
            && !self.csv
    }

    pub(super) fn run(self, registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let Self { by, step, top, latencies, csv } = self;
        if by.is_empty() && step.is_none() {
            if csv || top.is_some() || latencies {
                return Err(Failure::local(
                    "--csv, --top and --latencies need to know by what calls are divided",
                    "add --by, like --by application, or --step hour",
                ));
            }
            return Overview::print(registry, question);
        }
        let is_table = !csv && !registry.wants_json();
        let parts = Parts {
            by,
            step,
            top: top.or(is_table.then_some(ROWS)),
            latencies,
            over_time: is_table && step.is_none() && stdout().is_terminal(),
        };
        let breakdown = registry.ask(async |open| Breakdown::ask(open, question, parts).await)?;
        match (csv, registry.wants_json()) {
            (true, _) => print(breakdown.csv()),
            (false, true) => print_line(breakdown.object()),
            (false, false) => print(breakdown.text()),
        }?;
        if breakdown.is_empty() {
            note("no such calls");
        } else if breakdown.has_more() {
            note("there are more: --top NUMBER prints more of them");
        }
        Ok(())
    }
}
