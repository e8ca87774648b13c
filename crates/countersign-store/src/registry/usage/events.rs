use countersign::{KeyId, Timestamp};

use crate::{
    credential::CredentialId,
    registry::{
        Registry,
        cursor::{Cursor, List, Place},
        error::RegistryError,
        page::Page,
        query::{Query, Row, Value},
        row::{seconds, time},
    },
    usage::event::{EventCount, EventKind},
};

/// Selects events. Conditions follow.
const EVENTS: &str =
    "SELECT e.id, e.credential, e.kind, e.detail, e.first, e.last, e.count, e.verified,
            c.publishable_key, c.label, a.name
     FROM countersign.usage_event e
     LEFT JOIN countersign.credential c ON c.id = e.credential
     LEFT JOIN countersign.application a ON a.id = c.application_id
     WHERE TRUE";

/// An incident of a credential, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageEvent {
    /// The number of the credential.
    pub credential: CredentialId,
    /// The name of its application; `None` if the credential is not in the registry.
    pub application: Option<String>,
    /// Its publishable key; `None` if the credential is not in the registry.
    pub key: Option<String>,
    /// Its label; `None` if the credential is not in the registry.
    pub label: Option<String>,
    /// The kind of the event.
    pub kind: EventKind,
    /// A network or a platform, for instance. `None` for details that the registry counts together.
    pub detail: Option<String>,
    /// The first and last time, and the number of incidents.
    pub count: EventCount,
}

/// Filters of a list of events. An event has to match every filter that is set. Default: no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    application: Option<String>,
    key: Option<KeyId>,
    kind: Option<EventKind>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    verified: bool,
}

impl EventFilter {
    /// Lists events of the credentials of an application.
    pub fn application(mut self, name: &str) -> Self {
        self.application = Some(name.to_owned());
        self
    }

    /// Lists events of a key.
    pub const fn key(mut self, key: KeyId) -> Self {
        self.key = Some(key);
        self
    }

    /// Lists events of this kind.
    pub const fn kind(mut self, kind: EventKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Lists events that last happened at this time or later. To wait for events, ask again from the time of the last event: it
    /// may have repeated in the same second.
    pub const fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Lists events that last happened before this time.
    pub const fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Lists events that happened at least once with a valid signature.
    pub const fn verified(mut self) -> Self {
        self.verified = true;
        self
    }

    fn query(&self, after: Option<Place>, limit: u32) -> Query {
        let mut text = EVENTS.to_owned();
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            text.push_str(" AND ");
            text.push_str(&condition.replace('?', &format!("${}", values.len())));
        };
        if let Some(name) = &self.application {
            add("a.name = ? AND a.removed_at IS NULL", name.as_str().into());
        }
        match &self.key {
            Some(key @ KeyId::Publishable(_)) => {
                add("c.publishable_key = ?", key.to_string().into());
            }
            Some(key @ KeyId::Thumbprint(_)) => add("c.thumbprint = ?", key.to_string().into()),
            None => {}
        }
        if let Some(kind) = self.kind {
            add("e.kind = ?", kind.as_str().into());
        }
        if let Some(since) = self.since {
            add("e.last >= ?", seconds(since).into());
        }
        if let Some(until) = self.until {
            add("e.last < ?", seconds(until).into());
        }
        if self.verified {
            add("e.verified > ?", 0.into());
        }
        if let Some(Place { time, number }) = after {
            add("e.last <= ?", time.into());
            // Numbers of this program, not texts of others.
            add(&format!("(e.last < ? OR e.id < {number})"), time.into());
        }
        values.push(i64::from(limit).saturating_add(1).into());
        text.push_str(&format!(" ORDER BY e.last DESC, e.id DESC LIMIT ${}", values.len()));
        values.into_iter().fold(Query::new(text), Query::bind)
    }
}

impl Registry {
    /// Returns a page of at most `limit` events that match a filter, the most recent first: from the beginning, or from the
    /// [next](Page::next) place of another page. An event that repeats meanwhile moves to the beginning. The list leaves out kinds of a
    /// later version.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] for the application or the key of the filter, [`RegistryError::Cursor`], or an error of the
    /// database.
    pub async fn events(
        &self,
        filter: &EventFilter,
        from: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<UsageEvent>, RegistryError> {
        if let Some(name) = &filter.application {
            self.require_application(name).await?;
        }
        if let Some(key) = &filter.key {
            self.require_key(key).await?;
        }
        let query = filter.query(Cursor::place_in(from, List::Events)?, limit);
        let mut connection = self.shared.database.connection().await?;
        let mut rows = connection.session().fetch_all(query).await?;
        drop(connection);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = rows.len() <= limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if !is_last => {
                let place = Place { time: last.get("last")?, number: last.get("id")? };
                Some(Cursor::new(List::Events, place))
            }
            _ => None,
        };
        let events = rows.iter().filter_map(|row| UsageEvent::read(row).transpose());
        Ok(Page { entries: events.collect::<Result<_, _>>()?, next })
    }
}

impl UsageEvent {
    /// Reads an event; `None` if this version does not know its kind.
    fn read(row: &Row) -> Result<Option<Self>, RegistryError> {
        let decode = |error| RegistryError::from(sqlx::Error::Decode(error));
        let Ok(kind) = row.get::<String>("kind")?.parse() else { return Ok(None) };
        let detail: String = row.get("detail")?;
        Ok(Some(Self {
            credential: CredentialId::new(row.get("credential")?),
            application: row.get("name")?,
            key: row.get("publishable_key")?,
            label: row.get("label")?,
            kind,
            detail: (!detail.is_empty()).then_some(detail),
            count: EventCount {
                first: time(row.get("first")?).map_err(decode)?,
                last: time(row.get("last")?).map_err(decode)?,
                count: row.get::<i64>("count")?.unsigned_abs(),
                verified: row.get::<i64>("verified")?.unsigned_abs(),
            },
        }))
    }
}
