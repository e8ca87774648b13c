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
