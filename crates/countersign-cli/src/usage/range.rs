use std::time::Duration;

use clap::Args;
use countersign::Timestamp;

use crate::{duration_arg, failure::Failure, moment};

/// What is counted unless another time is asked for.
const USUAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The time whose calls are counted.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct RangeArgs {
    /// The last hours, days or weeks before the end, like 7d [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse, global = true)]
    last: Option<Duration>,
    /// Only calls at this time or later, like 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment::parse, global = true, conflicts_with = "last")]
    since: Option<Timestamp>,
    /// Only calls before this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment::parse, global = true)]
    until: Option<Timestamp>,
}

/// A time, from its beginning up to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// The time of this machine's clock.
    pub(super) now: Timestamp,
}

impl RangeArgs {
    pub(super) fn range(self) -> Result<Range, Failure> {
        let now = moment::now();
        let to = self.until.unwrap_or(now);
        let from = self.since.unwrap_or_else(|| to.minus(self.last.unwrap_or(USUAL)));
        match from < to {
            true => Ok(Range { from, to, now }),
            false => Err(Failure::local(
                "the time to count ends before it begins",
                "give --since before --until, or --last alone, like --last 7d",
            )),
        }
    }
}

impl Range {
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.to.unix().saturating_sub(self.from.unix()))
    }
}
