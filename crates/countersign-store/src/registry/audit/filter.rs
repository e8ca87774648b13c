use countersign::{KeyId, Timestamp};

use super::{
    act::Action,
    entry::{AuditEntry, StoredEntry},
};
use crate::{
    credential::application::ApplicationName,
    registry::{
        Registry, actor::Actor, error::RegistryError, query::Query, row::seconds, statements,
    },
};

/// Which entries of an audit log are wanted. The default is all of them; each setter leaves fewer.
///
/// ```
/// use countersign_store::{Action, AuditFilter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let revocations = AuditFilter::default().application(&"shop".parse()?).action(Action::RevokeKey);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    application: Option<String>,
    key: Option<[String; 2]>,
    actor: Option<String>,
    action: Option<Action>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl AuditFilter {
    /// Leaves the entries about an application and its keys.
    pub fn application(mut self, name: &ApplicationName) -> Self {
        self.application = Some(name.to_string());
        self
    }

    /// Leaves the entries about a key. An entry names the publishable key; where that was damaged, it names the thumbprint, which
    /// a publishable key includes here.
    pub fn key(mut self, key: &KeyId) -> Self {
        let thumbprint = match key {
            KeyId::Publishable(key) => key.thumbprint().map(KeyId::Thumbprint),
            KeyId::Thumbprint(_) => None,
        };
        self.key = Some([key.to_string(), thumbprint.unwrap_or(*key).to_string()]);
        self
    }

    /// Leaves the entries of changes that this actor made.
    pub fn actor(mut self, actor: &Actor) -> Self {
        self.actor = Some(actor.to_string());
        self
    }

    /// Leaves the entries of this kind of change.
    pub const fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Leaves the entries of changes made at this time or later.
    pub const fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Leaves the entries of changes made before this time.
    pub const fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }
}

impl Registry {
    /// Returns the latest entries of the audit log that a filter leaves, the oldest of them first: at most `limit`, before the
    /// entry with the number `before`, if there is one. The number of the first entry asks for the page before.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn latest_audit_entries(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let AuditFilter { application, key, actor, action, since, until } = filter.clone();
        let [key, thumbprint] = key.map_or([None, None], |names| names.map(Some));
        let query = Query::new(statements::LATEST_AUDIT_ENTRIES)
            .bind(before)
            .bind(application)
            .bind(key)
            .bind(thumbprint)
            .bind(actor)
            .bind(action.map(|action| action.as_str().to_owned()))
            .bind(since.map(seconds))
            .bind(until.map(seconds))
            .bind(i64::from(limit));
        let mut connection = self.shared.database.connection().await?;
        let rows = connection.session().fetch_all(query).await?;
        rows.iter().rev().map(|row| Ok(AuditEntry::of(StoredEntry::read(row)?))).collect()
    }
}
