use countersign::Timestamp;
use serde_json::{Value, json};

use super::{
    Registry,
    audit::act::{Act, ActSubject, Action},
    change::{Change, Transaction},
    error::{RegistryError, Subject},
    query::Query,
    row::seconds,
    session::Session,
    statements,
};
use crate::credential::application::{Application, ApplicationName, Contact, Environment, Notes};

impl Registry {
    /// Adds an application.
    ///
    /// # Errors
    ///
    /// [`RegistryError::BadName`], [`RegistryError::Exists`], or an error of the database.
    pub async fn add_application(
        &self,
        name: impl TryInto<ApplicationName, Error: Into<RegistryError>>,
        environment: impl TryInto<Environment, Error: Into<RegistryError>>,
        now: Timestamp,
    ) -> Result<Application, RegistryError> {
        let name = name.try_into().map_err(Into::into)?;
        let environment = environment.try_into().map_err(Into::into)?;
        self.insert_application(Application::new(name, environment, now)).await
    }

    /// Adds an application with contact and notes.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Exists`], or an error of the database.
    pub async fn insert_application(
        &self,
        application: Application,
    ) -> Result<Application, RegistryError> {
        self.make(Add(application)).await
    }

    /// Changes the settings of an application: at once here, and within 1 s in other processes. If two processes change an
    /// application at the same time, the second receives the settings that the first has made.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedApplication`], or an error of the database.
    pub async fn change_application(
        &self,
        name: &str,
        now: Timestamp,
        change: impl FnOnce(&mut ApplicationSettings) + Send + 'static,
    ) -> Result<Application, RegistryError> {
        self.make(Set { name: name.to_owned(), change, now }).await
    }

    /// Returns an application.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedApplication`], or an error of the database.
    pub async fn application(&self, name: &str) -> Result<Application, RegistryError> {
        named(name, &mut self.shared.database.connection().await?.session()).await
    }

    /// Removes an application whose credentials are all revoked. Its name is free again. Its keys stay known and cannot be
    /// registered again.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InUse`], [`RegistryError::NotFound`], [`RegistryError::DamagedApplication`], or an error of the
    /// database.
    pub async fn remove_application(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        self.make(Remove { name: name.to_owned(), now }).await
    }
}

/// Returns the application with this name.
pub(super) async fn named(
    name: &str,
    session: &mut Session<'_>,
) -> Result<Application, RegistryError> {
    let row = session.fetch_optional(Query::new(statements::APPLICATION).bind(name)).await?;
    Application::read(&row.ok_or(RegistryError::NotFound(Subject::Application))?)
}

impl Application {
    /// Describes it for the audit log.
    pub(super) fn described(&self) -> Value {
        json!({
            "environment": self.environment.as_str(),
            "contact": self.contact.as_str(),
            "notes": self.notes.as_str(),
        })
    }

    fn subject(&self) -> ActSubject {
        ActSubject { application: Some(self.name.clone()), key: None }
    }
}

struct Add(Application);

impl Change for Add {
    type Outcome = Application;

    async fn apply(self, transaction: &mut Transaction) -> Result<Application, RegistryError> {
        let Self(application) = self;
        let query = Query::new(statements::ADD_APPLICATION)
            .bind(application.name.as_str())
            .bind(application.environment.as_str())
            .bind(seconds(application.created_at))
            .bind(application.contact.as_str())
            .bind(application.notes.as_str());
        if transaction.session().execute(query).await? == 0 {
            return Err(RegistryError::Exists(Subject::Application));
        }
        transaction.record(Act {
            at: application.created_at,
            action: Action::AddApplication,
            subject: application.subject(),
            before: None,
            after: Some(application.described()),
        });
        Ok(application)
    }
}

/// What can be changed of an application with [`Registry::change_application`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplicationSettings {
    /// Its environment, `live` or `test` or another.
    pub environment: Environment,
    /// Whom to ask about it.
    pub contact: Contact,
    /// What its operators noted about it.
    pub notes: Notes,
}

struct Set<F> {
    name: String,
    change: F,
    now: Timestamp,
}

impl<F: FnOnce(&mut ApplicationSettings) + Send + 'static> Change for Set<F> {
    type Outcome = Application;

    async fn apply(self, transaction: &mut Transaction) -> Result<Application, RegistryError> {
        let before = named(&self.name, &mut transaction.session()).await?;
        let Application { environment, contact, notes, .. } = before.clone();
        let mut settings = ApplicationSettings { environment, contact, notes };
        (self.change)(&mut settings);
        let ApplicationSettings { environment, contact, notes } = settings;
        let after = Application { environment, contact, notes, ..before.clone() };
        if after == before {
            return Ok(after);
        }
        let query = Query::new(statements::SET_APPLICATION)
            .bind(after.environment.as_str())
            .bind(after.contact.as_str())
            .bind(after.notes.as_str())
            .bind(self.name);
        transaction.session().execute(query).await?;
        transaction.record(Act {
            at: self.now,
            action: Action::ChangeApplication,
            subject: after.subject(),
            before: Some(before.described()),
            after: Some(after.described()),
        });
        Ok(after)
    }
}

struct Remove {
    name: String,
    now: Timestamp,
}

impl Change for Remove {
    type Outcome = ();

    async fn apply(self, transaction: &mut Transaction) -> Result<(), RegistryError> {
        let application = named(&self.name, &mut transaction.session()).await?;
        let query =
            Query::new(statements::REMOVE_APPLICATION).bind(seconds(self.now)).bind(self.name);
        if transaction.session().execute(query).await? == 0 {
            return Err(RegistryError::InUse);
        }
        transaction.record(Act {
            at: self.now,
            action: Action::RemoveApplication,
            subject: application.subject(),
            before: Some(application.described()),
            after: None,
        });
        Ok(())
    }
}
