use countersign::{KeyId, Timestamp};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Registry,
    change::Change,
    damaged::DamagedApplication,
    error::{RegistryError, Subject},
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
        let mut connection = self.pool.connection().await?;
        let rows: Vec<SqliteRow> =
            sqlx::query(statements::APPLICATIONS).fetch_all(&mut *connection).await?;
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
        named(name, &mut *self.pool.connection().await?).await
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
        self.make(Remove { name, now }).await
    }
}

/// Returns the application with this name.
pub(super) async fn named(
    name: &str,
    connection: &mut SqliteConnection,
) -> Result<Application, RegistryError> {
    let row: Option<SqliteRow> =
        sqlx::query(statements::APPLICATION).bind(name).fetch_optional(connection).await?;
    Application::read(&row.ok_or(RegistryError::NotFound(Subject::Application))?)
}

struct Add(Application);

impl Change for Add {
    type Outcome = Application;

    fn credential(&self) -> Option<KeyId> {
        None
    }

    async fn apply(self, transaction: &mut SqliteConnection) -> Result<Application, RegistryError> {
        let Self(application) = self;
        let added = sqlx::query(statements::ADD_APPLICATION)
            .bind(application.name.as_str())
            .bind(application.environment.as_str())
            .bind(seconds(application.created_at))
            .execute(transaction)
            .await?;
        match added.rows_affected() {
            0 => Err(RegistryError::Exists(Subject::Application)),
            _ => Ok(application),
        }
    }
}

struct Remove<'a> {
    name: &'a str,
    now: Timestamp,
}

impl Change for Remove<'_> {
    type Outcome = ();

    fn credential(&self) -> Option<KeyId> {
        None
    }

    async fn apply(self, transaction: &mut SqliteConnection) -> Result<(), RegistryError> {
        named(self.name, transaction).await?;
        let removed = sqlx::query(statements::REMOVE_APPLICATION)
            .bind(seconds(self.now))
            .bind(self.name)
            .execute(transaction)
            .await?;
        if removed.rows_affected() == 0 { Err(RegistryError::InUse) } else { Ok(()) }
    }
}
