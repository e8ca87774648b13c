use std::time::Duration;

use countersign::{KeyId, Timestamp};

use super::{
    kept::Kept,
    selection::Selection,
    span::{Resolution, Span},
    table::{LATENCIES, Subject},
    usage_query::UsageQuery,
};
use crate::{
    registry::{
        Registry,
        error::{RegistryError, Subject as RegistrySubject},
        query::{Query, Row},
        row::time,
        statements,
    },
    usage::{call::CallCount, latency::LatencyHistogram},
};

/// The calls of a range of time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// When the range begins. It was extended to whole minutes, or to whole hours or days if only these are kept.
    pub from: Timestamp,
    /// When the range ends.
    pub to: Timestamp,
    /// The counts: with a step the earliest first, then by the number of calls.
    pub rows: Vec<UsageRow>,
}

/// Calls with a common count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageRow {
    /// When the minute, hour or day begins, if a step was asked for.
    pub at: Option<Timestamp>,
    /// The value of each requested dimension, in the same order.
    pub group: Vec<Option<String>>,
    /// The counts. Bytes and durations are zero for networks, platforms and products, and so are latencies unless they were asked
    /// for.
    pub count: CallCount,
    /// When the last minute, hour or day with calls begins. It is a day for times long ago.
    pub last: Timestamp,
}

impl Registry {
    /// Counts calls.
    ///
    /// Whole days are read from the counts by day, the rest from hours and minutes. A range that begins or ends where these are
    /// not kept any more is extended; see [`Usage::from`]. With a step, only counts of that resolution are there. Servers
    /// save their counts every few seconds.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Usage`], [`RegistryError::NotFound`] for the application or the key of the query, or an error of the database.
    pub async fn usage(&self, query: &UsageQuery, now: Timestamp) -> Result<Usage, RegistryError> {
        let subject = query.subject()?;
        if let Some(name) = &query.application {
            self.require_application(name).await?;
        }
        if let Some(key) = &query.key {
            self.require_key(key).await?;
        }
        let finest = subject.finest();
        let mut connection = self.shared.database.connection().await?;
        let retention = self.shared.usage.retention();
        let kept = Kept::read(&retention, now, &mut connection.session()).await?;
        let (from, to) = kept.outward(query.from, query.to, finest, now);
        let coarsest = query.step.map_or(Resolution::Day, |step| step.resolution());
        let spans = Span::cover(from, to, coarsest, finest);
        let mut usage = Usage { from, to, rows: Vec::new() };
        if spans.is_empty() {
            return Ok(usage);
        }
        let lists_times = !self.shared.database.has_partitions();
        let selection = Selection::new(query, subject, lists_times).over(&spans);
        for row in connection.session().fetch_all(selection).await? {
            usage.rows.push(UsageRow::read(&row, query, subject)?);
        }
        Ok(usage)
    }

    /// Returns an error if no credential has this key. A damaged credential is there.
    pub(super) async fn require_key(&self, key: &KeyId) -> Result<(), RegistryError> {
        let statement = match key {
            KeyId::Publishable(_) => statements::CREDENTIAL_OF_KEY,
            KeyId::Thumbprint(_) => statements::CREDENTIAL_OF_THUMBPRINT,
        };
        let mut connection = self.shared.database.connection().await?;
        let found = connection
            .session()
            .fetch_optional(Query::new(statement).bind(key.to_string()))
            .await?;
        found.map(drop).ok_or(RegistryError::NotFound(RegistrySubject::Credential))
    }
}

impl UsageRow {
    fn read(row: &Row, query: &UsageQuery, subject: Subject) -> Result<Self, RegistryError> {
        let decode = |error| RegistryError::from(sqlx::Error::Decode(error));
        let count = |column: &str| row.get::<i64>(column).map(i64::unsigned_abs);
        let mut read = Self {
            at: match query.step {
                Some(_) => Some(time(row.get("at")?).map_err(decode)?),
                None => None,
            },
            group: Vec::with_capacity(query.groups.len()),
            count: CallCount { calls: count("calls")?, ..CallCount::default() },
            last: time(row.get("last")?).map_err(decode)?,
        };
        for number in 0..query.groups.len() {
            read.group.push(row.get(&format!("group{number}"))?);
        }
        if subject == Subject::Calls {
            read.count.bytes_in = count("bytes_in")?;
            read.count.bytes_out = count("bytes_out")?;
            read.count.duration = Duration::from_micros(count("duration")?);
        }
        if query.with_latencies {
            let mut latencies = [0; LatencyHistogram::COUNT];
            for (latency, column) in latencies.iter_mut().zip(LATENCIES) {
                *latency = count(column)?;
            }
            read.count.latencies = LatencyHistogram::of(latencies);
        }
        Ok(read)
    }
}
