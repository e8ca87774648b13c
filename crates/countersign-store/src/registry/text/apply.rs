use countersign::{KeyId, Timestamp};
use serde_json::Value;

use super::{
    entry::{ApplicationEntry, KeyEntry},
    plan::{Plan, Replacement, Step, Work},
    stored::last_change,
};
use crate::{
    credential::{
        Credential, State,
        application::{Application, ApplicationName},
    },
    registry::{
        Registry, applications,
        audit::{Act, ActSubject},
        change::{Change, Transaction},
        credentials::registered,
        error::RegistryError,
        query::Query,
        row::{seconds, thumbprint},
        statements, stored_restrictions,
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
        for step in steps {
            step.make(now, transaction).await?;
        }
        for Replacement { old, new } in replacements {
            let (old, new) = (old.to_string(), new.to_string());
            for statement in [statements::SET_REPLACED_BY, statements::SET_LINEAGE] {
                let query = Query::new(statement).bind(new.clone()).bind(old.clone());
                run(query, transaction).await?;
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
    async fn make(
        self,
        now: Timestamp,
        transaction: &mut Transaction,
    ) -> Result<(), RegistryError> {
        let Self { action, application, key, work, .. } = self;
        let id = key.map(KeyId::Publishable);
        let before = described(&application, id, transaction).await?;
        let name = application.as_str();
        let query = match work {
            Work::AddApplication(entry) => entry.add(name, now),
            Work::SetApplication(entry) => entry.set(name),
            Work::RemoveApplication => {
                Query::new(statements::REMOVE_APPLICATION).bind(seconds(now)).bind(name)
            }
            Work::AddKey { key, entry } => entry.add(name, thumbprint(&key), now),
            Work::SetKey { id, entry } => entry.set(id),
            Work::SetState { id, from, to } => {
                Query::new(statements::SET_STATE).bind(to.as_str()).bind(id).bind(from.as_str())
            }
            Work::Revoke { id, reason } => Query::new(statements::REVOKE_BY_TEXT)
                .bind(seconds(now))
                .bind(reason.map(|reason| reason.to_string()))
                .bind(id),
        };
        run(query, transaction).await?;
        let after = described(&application, id, transaction).await?;
        let subject = ActSubject { application: Some(application), key: id };
        transaction.record(Act { at: now, action, subject, before, after });
        Ok(())
    }
}

/// Describes a key, or else an application, for the audit log. `None` if there is none, before it is added or after it is removed.
async fn described(
    application: &ApplicationName,
    key: Option<KeyId>,
    transaction: &mut Transaction,
) -> Result<Option<Value>, RegistryError> {
    let master_keys = transaction.master_keys();
    let mut session = transaction.session();
    let described = match key {
        Some(id) => registered(&id, &mut session)
            .await
            .and_then(|row| Ok(Credential::read(&row, master_keys.as_deref())?.described())),
        None => {
            let application: Result<Application, _> =
                applications::named(application.as_str(), &mut session).await;
            application.map(|application| application.described())
        }
    };
    match described {
        Ok(described) => Ok(Some(described)),
        Err(RegistryError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
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
        Query::new(statements::SET_TEXT_APPLICATION)
            .bind(environment.as_str())
            .bind(contact.as_str())
            .bind(notes.as_str())
            .bind(name)
    }
}

impl KeyEntry {
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
            .bind(application)
    }

    fn set(self, id: i64) -> Query {
        Query::new(statements::SET_TEXT_CREDENTIAL)
            .bind(self.label.as_str())
            .bind(self.expires.map(seconds))
            .bind(self.scopes.to_string())
            .bind(stored_restrictions::write(&self.restrictions))
            .bind(id)
    }
}
