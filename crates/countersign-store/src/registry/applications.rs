use countersign::Timestamp;
use serde_json::{Value, json};

use super::{
    Registry,
    audit::{Act, ActSubject, Action},
    change::{Change, Transaction},
    damaged::DamagedApplication,
    error::{RegistryError, Subject},
    query::{Query, Session},
    row::seconds,
    statements,
};
use crate::credential::application::{Application, ApplicationName, Environment};

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
        self.make(Add(Application::new(name, environment, now))).await
    }

    /// Returns all applications, by name. A damaged row is an error in its place, and hides no other application.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn applications(
        &self,
    ) -> Result<Vec<Result<Application, Box<DamagedApplication>>>, RegistryError> {
        let mut connection = self.shared.database.connection().await?;
        let rows = connection.session().fetch_all(Query::new(statements::APPLICATIONS)).await?;
        let listed = rows
            .iter()
            .map(|row| Application::read(row).map_err(|error| DamagedApplication::of(row, error)));
        Ok(listed.collect())
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
            .bind(seconds(application.created_at));
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
