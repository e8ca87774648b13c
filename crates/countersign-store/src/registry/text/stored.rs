use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
};

use countersign::PublishableKey;

use super::entry::{ApplicationEntry, KeyEntry};
use crate::{
    credential::application::ApplicationName,
    registry::{
        Registry,
        change::{Change, Transaction},
        error::RegistryError,
        last_change::LastChange,
        query::{Query, Row},
        row::time,
        session::Session,
        statements, stored_limits, stored_restrictions,
    },
};

/// The applications and keys of a registry, as they are at one moment.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The last change before.
    pub(super) change: LastChange,
    pub(super) applications: BTreeMap<ApplicationName, StoredApplication>,
    /// The keys of removed applications, with the name that the application had.
    pub(super) removed: HashMap<PublishableKey, String>,
}

#[derive(Clone, Debug)]
pub(super) struct StoredApplication {
    pub(super) entry: ApplicationEntry,
    /// By publishable key, as text.
    pub(super) keys: BTreeMap<String, StoredKey>,
}

#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    /// The number of its row.
    pub(super) id: i64,
    pub(super) entry: KeyEntry,
}

/// How many rows are read at a time: no statement takes longer the more there are.
const BATCH: i64 = 5_000;

/// How often the registry is read while others change it, before they have to wait.
const ATTEMPTS: usize = 3;

impl Registry {
    /// Reads all applications and keys, as they are at one moment.
    pub(super) async fn stored(&self) -> Result<Stored, RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut connection = self.shared.database.connection().await?;
            let stored = Stored::read(&mut connection.session()).await?;
            if last_change(&mut connection.session()).await? == stored.change {
                return Ok(stored);
            }
        }
        self.make(Read).await
    }
}

/// Reads all applications and keys, while changes wait.
struct Read;

impl Change for Read {
    type Outcome = Stored;

    async fn apply(self, transaction: &mut Transaction) -> Result<Stored, RegistryError> {
        Stored::read(&mut transaction.session()).await
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Stored {
    /// Reads all applications and keys, without preparing the keys for use.
    async fn read(session: &mut Session<'_>) -> Result<Self, RegistryError> {
        let change = last_change(session).await?;
        let mut stored = Self { change, applications: BTreeMap::new(), removed: HashMap::new() };
        let mut after = None;
        while let Some(rows) = batch(statements::TEXT_APPLICATIONS, &mut after, session).await? {
            for row in rows {
                let (name, entry) = ApplicationEntry::read(&row).map_err(|source| {
                    let id = row.get("id").unwrap_or_default();
                    RegistryError::DamagedApplication { id, source }
                })?;
                let keys = BTreeMap::new();
                stored.applications.insert(name, StoredApplication { entry, keys });
            }
        }
        let mut after = None;
        while let Some(rows) = batch(statements::TEXT_CREDENTIALS, &mut after, session).await? {
            for row in rows {
                let id = row.get("id")?;
                let damaged = |source| RegistryError::DamagedCredential {
                    id,
                    what: "one of its columns",
                    source: Some(source),
                };
                stored.add(id, &row).map_err(damaged)?;
            }
        }
        Ok(stored)
    }

    fn add(&mut self, id: i64, row: &Row) -> Result<(), BoxError> {
        if row.get::<Option<i64>>("removed_at")?.is_some() {
            // The other columns count no more.
            if let Ok(key) = row.get::<String>("publishable_key")?.parse() {
                self.removed.insert(key, row.get("name")?);
            }
            return Ok(());
        }
        let entry = KeyEntry::read(row)?;
        let name: ApplicationName = row.get::<String>("name")?.parse()?;
        let application = self.applications.get_mut(&name).ok_or("its application is missing")?;
        application.keys.insert(entry.key.to_string(), StoredKey { id, entry });
        Ok(())
    }
}

/// Returns the next rows in the order of their numbers, and moves `after` to the last of them. `None` if there are no more.
async fn batch(
    statement: &'static str,
    after: &mut Option<i64>,
    session: &mut Session<'_>,
) -> Result<Option<Vec<Row>>, RegistryError> {
    let query = Query::new(statement).bind(after.unwrap_or(i64::MIN)).bind(BATCH);
    let rows = session.fetch_all(query).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    *after = Some(last.get("id")?);
    Ok(Some(rows))
}

/// Returns the last change.
pub(super) async fn last_change(session: &mut Session<'_>) -> Result<LastChange, RegistryError> {
    LastChange::read(&session.fetch_one(Query::new(statements::LAST_CHANGE)).await?)
}

impl ApplicationEntry {
    fn read(row: &Row) -> Result<(ApplicationName, Self), BoxError> {
        let text = |column| row.get::<String>(column);
        let entry = Self {
            environment: text("environment")?.parse()?,
            contact: text("contact")?.parse()?,
            notes: text("notes")?.parse()?,
            created: Some(time(row.get("created_at")?)?),
        };
        Ok((text("name")?.parse()?, entry))
    }
}

impl KeyEntry {
    pub(super) fn read(row: &Row) -> Result<Self, BoxError> {
        let text = |column| row.get::<String>(column);
        let optional = |column| row.get::<Option<String>>(column);
        let optional_time = |column| row.get::<Option<i64>>(column)?.map(time).transpose();
        let reason = optional("revocation_reason")?;
        Ok(Self {
            key: text("publishable_key")?.parse()?,
            label: text("label")?.parse()?,
            state: text("state")?.parse()?,
            reason: reason.map(|reason| reason.parse()).transpose()?,
            created: Some(time(row.get("created_at")?)?),
            expires: optional_time("expires_at")?,
            revoked: optional_time("revoked_at")?,
            replaced_by: optional("replaced_by")?.map(|key| key.parse()).transpose()?,
            scopes: text("scopes")?.parse()?,
            restrictions: stored_restrictions::read(&text("restrictions")?)?,
            limits: stored_limits::read(optional("limits")?.as_deref())?,
        })
    }
}
