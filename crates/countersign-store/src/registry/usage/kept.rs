use countersign::Timestamp;

use super::span::Resolution;
use crate::{
    registry::{
        error::RegistryError,
        query::Query,
        row::{seconds, time},
        session::Session,
    },
    usage::retention::UsageRetention,
};

/// Since when each resolution is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    minutes: Timestamp,
    hours: Timestamp,
    days: Timestamp,
}

impl Kept {
    pub(super) fn by(retention: &UsageRetention, now: Timestamp) -> Self {
        let since = |resolution: Resolution, time| resolution.start(now.minus(time));
        Self {
            minutes: since(Resolution::Minute, retention.of_minutes()),
            hours: since(Resolution::Hour, retention.of_hours()),
            days: since(Resolution::Day, retention.of_days()),
        }
    }

    pub(super) const fn since(&self, resolution: Resolution) -> Timestamp {
        match resolution {
            Resolution::Minute => self.minutes,
            Resolution::Hour => self.hours,
            Resolution::Day => self.days,
        }
    }

    /// What is kept by this setting, and was not removed by a server with a shorter one.
    pub(super) async fn read(
        retention: &UsageRetention,
        now: Timestamp,
        session: &mut Session<'_>,
    ) -> Result<Self, RegistryError> {
        let mut kept = Self::by(retention, now);
        for row in session.fetch_all(Query::new(SELECT)).await? {
            let since = time(row.get("since")?)
                .map_err(|error| RegistryError::from(sqlx::Error::Decode(error)))?;
            match row.get::<String>("resolution")?.as_str() {
                "minute" => kept.minutes = kept.minutes.max(since),
                _ => kept.hours = kept.hours.max(since),
            }
        }
        Ok(kept)
    }

    /// Extends a range to what can be told apart: of a time whose minutes are not kept any more, to whole hours, and later to whole
    /// days. What is counted now ends with the day.
    pub(super) fn outward(
        &self,
        from: Timestamp,
        to: Timestamp,
        finest: Resolution,
        now: Timestamp,
    ) -> (Timestamp, Timestamp) {
        let known = |time: Timestamp| {
            let mut finer = [Resolution::Minute, Resolution::Hour].into_iter();
            finer.find(|one| *one >= finest && self.since(*one) <= time).unwrap_or(Resolution::Day)
        };
        let from = known(from).start(from);
        let to = match to > now {
            true => Resolution::Day.next_start(to),
            false => known(to).next_start(to),
        };
        (from, to)
    }

    /// Notes, before minutes and hours are removed, since when they are complete.
    pub(super) async fn note(&self, session: &mut Session<'_>) -> Result<(), RegistryError> {
        for (resolution, since) in [("minute", self.minutes), ("hour", self.hours)] {
            session.execute(Query::new(RAISE).bind(seconds(since)).bind(resolution)).await?;
        }
        Ok(())
    }
}

/// Columns: `resolution`, `since`.
const SELECT: &str = "SELECT resolution, since FROM countersign.usage_kept";

/// Parameters: `since`, `resolution`.
const RAISE: &str =
    "UPDATE countersign.usage_kept SET since = $1 WHERE resolution = $2 AND since < $1";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::usage::span::tests::at;

    #[test]
    fn a_range_grows_to_what_is_still_told_apart() {
        let now = at(100, 12, 30);
        let kept = Kept::by(&UsageRetention::default(), now);
        let known = |from, to| kept.outward(from, to, Resolution::Minute, now);
        let second = Duration::from_secs(1);
        assert_eq!(
            known(at(99, 1, 1).plus(second), at(99, 1, 2).plus(second)),
            (at(99, 1, 1), at(99, 1, 3))
        );
        assert_eq!(known(at(50, 1, 1), at(50, 2, 1)), (at(50, 1, 0), at(50, 3, 0)));
        assert_eq!(known(at(5, 1, 1), at(6, 2, 1)), (at(5, 0, 0), at(7, 0, 0)));
        assert_eq!(known(at(99, 1, 1), now.plus(second)), (at(99, 1, 1), at(101, 0, 0)));
    }
}
