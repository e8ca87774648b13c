use std::collections::HashMap;

use countersign::{KeyId, PublishableKey, Timestamp};
use serde_json::{Value, json};

use super::{
    entry::{ApplicationEntry, KeyEntry},
    plan::{Plan, Replacement, Step, Work},
    stored::last_change,
};
use crate::{
    credential::{State, application::ApplicationName, reason::Reason},
    registry::{
        Registry, applications,
        audit::act::{Act, ActSubject},
        change::{Change, Transaction},
        error::RegistryError,
        query::Query,
        row::{seconds, thumbprint},
        statements, stored_limits, stored_restrictions,
    },
};

impl Registry {
    /// Makes the changes of a plan, all of them or none, each with its entry in the audit log.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Outdated`] if the registry was changed after the plan was made; or an error of the database.
    pub async fn apply(&self, plan: Plan, now: Timestamp) -> Result<(), RegistryError> {
        match plan.steps.is_empty() {
            true => Ok(()),
            false => self.make(Apply { plan, now }).await,
        }
    }
}

struct Apply {
    plan: Plan,
    now: Timestamp,
}

impl Change for Apply {
    type Outcome = ();

    async fn apply(self, transaction: &mut Transaction) -> Result<(), RegistryError> {
        let Self { plan: Plan { change, steps, replacements, .. }, now } = self;
        if last_change(&mut transaction.session()).await? != change {
            return Err(RegistryError::Outdated);
        }
        let replaced: HashMap<_, _> = replacements.iter().map(|one| (one.new, one.old)).collect();
        for step in steps {
            step.make(&replaced, now, transaction).await?;
        }
        for Replacement { old, new, both_are_added } in replacements {
            let (old, new) = (old.to_string(), new.to_string());
            let bind = |statement| Query::new(statement).bind(new.clone()).bind(old.clone());
            run(bind(statements::SET_REPLACED_BY), transaction).await?;
            if both_are_added {
                run(bind(statements::SET_LINEAGE), transaction).await?;
            }
        }
        Ok(())
    }
}

/// Runs a statement that changes a row.
async fn run(query: Query, transaction: &mut Transaction) -> Result<(), RegistryError> {
    match transaction.session().execute(query).await? {
        0 => Err(RegistryError::Outdated),
        _ => Ok(()),
    }
}

impl Step {
    /// Makes the change. `replaced` has the keys that new keys replaced.
    async fn make(
        self,
        replaced: &HashMap<PublishableKey, PublishableKey>,
        now: Timestamp,
        transaction: &mut Transaction,
    ) -> Result<(), RegistryError> {
        let Self { action, application, key, work, .. } = self;
        let before = described(&application, key, transaction).await?;
        let name = application.as_str();
        let mut links = Vec::new();
        if let Work::AddKey { entry, .. } = &work {
            // Made when all keys are there, so that the rows do not say them yet.
            links.extend(entry.replaced_by.map(|new| ("replaced_by", new)));
            links.extend(replaced.get(&entry.key).map(|old| ("replaces", *old)));
        }
        let query = match work {
            Work::AddApplication(entry) => entry.add(name, now),
            Work::SetApplication(entry) => entry.set(name),
            Work::RemoveApplication => {
                Query::new(statements::REMOVE_APPLICATION).bind(seconds(now)).bind(name)
            }
            Work::AddKey { key, entry } => entry.add(name, thumbprint(&key), now),
            Work::SetKey { id, entry } => entry.set(id),
            Work::SetState { id, from, to } => Query::new(statements::SET_STATE_FROM)
                .bind(to.as_str())
                .bind(id)
                .bind(from.as_str()),
            Work::Revoke { id, reason } => Query::new(statements::REVOKE_BY_TEXT)
                .bind(seconds(now))
                .bind(reason.map(|reason| reason.to_string()))
                .bind(id),
        };
        run(query, transaction).await?;
        let mut after = described(&application, key, transaction).await?;
        if let Some(after) = after.as_mut().and_then(Value::as_object_mut) {
            after
                .extend(links.into_iter().map(|(name, key)| (name.into(), key.to_string().into())));
        }
        let subject =
            ActSubject { application: Some(application), key: key.map(KeyId::Publishable) };
        transaction.record(Act { at: now, action, subject, before, after });
        Ok(())
    }
}

/// Describes a key, or else an application, for the audit log. `None` if there is none, before it is added or after it is removed.
async fn described(
    application: &ApplicationName,
    key: Option<PublishableKey>,
    transaction: &mut Transaction,
) -> Result<Option<Value>, RegistryError> {
    let mut session = transaction.session();
    let Some(key) = key else {
        return match applications::named(application.as_str(), &mut session).await {
            Ok(application) => Ok(Some(application.described())),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        };
    };
    // Without the secret: no master key is needed.
    let query = Query::new(statements::TEXT_CREDENTIAL).bind(key.to_string());
    let row = session.fetch_optional(query).await?;
    let entry = row.map(|row| KeyEntry::read(&row)).transpose().map_err(RegistryError::Database)?;
    Ok(entry.map(|entry| entry.described()))
}

impl ApplicationEntry {
    fn add(self, name: &str, now: Timestamp) -> Query {
        let Self { environment, contact, notes, created } = self;
        Query::new(statements::ADD_TEXT_APPLICATION)
            .bind(name)
            .bind(environment.as_str())
            .bind(contact.as_str())
            .bind(notes.as_str())
            .bind(seconds(created.unwrap_or(now)))
    }

    fn set(self, name: &str) -> Query {
        let Self { environment, contact, notes, created: _ } = self;
        Query::new(statements::SET_APPLICATION)
            .bind(environment.as_str())
            .bind(contact.as_str())
            .bind(notes.as_str())
            .bind(name)
    }
}

impl KeyEntry {
    /// Describes it as [`Credential::described`](crate::credential::Credential) does.
    fn described(&self) -> Value {
        json!({
            "label": self.label.as_str(),
            "state": self.state.as_str(),
            "expires_at": self.expires.map(Timestamp::unix),
            "scopes": self.scopes.to_string(),
            "restrictions": stored_restrictions::stored(&self.restrictions),
            "limits": stored_limits::stored(&self.limits),
            "replaced_by": self.replaced_by.map(|key| key.to_string()),
            "revocation_reason": self.reason.as_ref().map(Reason::as_str),
        })
    }

    fn add(self, application: &str, thumbprint: Option<String>, now: Timestamp) -> Query {
        let revoked = match self.state {
            State::Revoked => Some(self.revoked.unwrap_or(now)),
            State::Active | State::Retiring | State::Quarantined => None,
        };
        Query::new(statements::ADD_TEXT_CREDENTIAL)
            .bind(self.key.to_string())
            .bind(thumbprint)
            .bind(self.label.as_str())
            .bind(self.state.as_str())
            .bind(seconds(self.created.unwrap_or(now)))
            .bind(self.expires.map(seconds))
            .bind(revoked.map(seconds))
            .bind(self.reason.map(|reason| reason.to_string()))
            .bind(self.scopes.to_string())
            .bind(stored_restrictions::write(&self.restrictions))
            .bind(stored_limits::write(&self.limits))
            .bind(application)
    }

    fn set(self, id: i64) -> Query {
        Query::new(statements::SET_CREDENTIAL)
            .bind(self.label.as_str())
            .bind(self.expires.map(seconds))
            .bind(self.scopes.to_string())
            .bind(stored_restrictions::write(&self.restrictions))
            .bind(stored_limits::write(&self.limits))
            .bind(id)
    }
}
