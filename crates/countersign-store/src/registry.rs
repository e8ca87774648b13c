mod cache;
mod damaged;
mod error;
mod new_credential;
mod row;
mod sqlite;
mod stored_restrictions;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{KeyError, KeyId, PublishableKey, Timestamp};
use sqlx::{
    SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use self::{
    cache::Cache,
    row::seconds,
    sqlite::{
        address::{Address, IfMissing},
        file::{self, Content},
        schema,
    },
};
pub use self::{
    damaged::{DamagedApplication, DamagedCredential},
    error::{BadName, RegistryError, Subject},
    new_credential::NewCredential,
    sqlite::file::FileError,
};
use crate::{
    credential::{Application, Credential, State, restrictions::Restrictions, scope::Scopes},
    error::StoreError,
    key_store::KeyStore,
    nonces::{Ceiling, Owner},
};

/// How long a write waits for another process that holds the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The applications and credentials that a service knows, in an SQLite file.
///
/// Lookups are cached for 5 s: what this registry changes takes effect at once here, and within 5 s in other processes
/// that have the same file open.
///
/// For Ed25519 the file holds nothing that could sign. HMAC secrets lie in it unencrypted, and in the files that SQLite keeps
/// beside an open registry; a reader of these files can sign. So a registry with HMAC secrets belongs to its owner alone: if
/// other users can read or write one of its files, opening the registry takes that right from them, and logs a warning with
/// the names of the files. [`Registry::closed_files`] returns the names.
///
/// The address of a registry is `sqlite:FILE`. `sqlite:FILE?mode=rwc` means the same; with `?mode=rw` the file is never made.
/// Any other parameter is refused, `?mode=ro` included.
#[derive(Debug)]
pub struct Registry {
    file: PathBuf,
    origin: Origin,
    closed_files: Vec<PathBuf>,
    pool: SqlitePool,
    cache: Cache,
}

/// Where the registry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was made when it was opened.
    MadeHere,
    /// It was there, and may be a copy.
    Found,
}

impl Registry {
    /// Opens an existing registry, `sqlite:FILE`, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the file is left as it was.
    pub async fn open(url: &str) -> Result<Self, RegistryError> {
        let Address { file, .. } = Address::parse(url)?;
        match Content::of(&file)? {
            Content::Registry => Self::connect(file, Origin::Found).await,
            Content::Empty => Err(FileError::Empty.into()),
        }
    }

    /// Opens a registry, `sqlite:FILE`, and makes it if the file is empty or there is none: readable by its owner alone. With
    /// `?mode=rw` behind the file this is [`Registry::open`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing file is left as it was.
    pub async fn open_or_create(url: &str) -> Result<Self, RegistryError> {
        let Address { file, if_missing } = Address::parse(url)?;
        if if_missing == IfMissing::Fail {
            return Self::open(url).await;
        }
        file::create(&file)?;
        match Content::of(&file)? {
            Content::Registry => Self::connect(file, Origin::Found).await,
            Content::Empty => Self::connect(file, Origin::MadeHere).await,
        }
    }

    async fn connect(file: PathBuf, origin: Origin) -> Result<Self, RegistryError> {
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            // A revocation or a ceiling that was confirmed survives the loss of power.
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(PATIENCE.saturating_mul(2))
            .connect_with(options)
            .await?;
        let prepared = async {
            schema::prepare(&pool).await?;
            close_secrets(&file, &pool).await
        };
        match prepared.await {
            Ok(closed_files) => {
                Ok(Self { file, origin, closed_files, pool, cache: Cache::default() })
            }
            Err(error) => {
                // What SQLite keeps beside the file goes with the last connection.
                pool.close().await;
                Err(error)
            }
        }
    }

    /// The file of an address, for messages: the text between `sqlite:` and the parameters.
    pub fn file_of(url: &str) -> Option<&Path> {
        Address::file_of(url)
    }

    /// The file of this registry: its address without `sqlite:` and the parameters.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The files of this registry that other users could read or write until this opening closed them, because HMAC secrets
    /// lie in them.
    ///
    /// A program that has the file open goes on reading it, and a user who has read a secret can sign. Stop the servers, run
    /// `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the file, then revoke the HMAC keys and register new
    /// ones. A registry that was stopped in order has no `FILE-wal`.
    pub fn closed_files(&self) -> &[PathBuf] {
        &self.closed_files
    }

    /// Closes the file, and folds what was written lately into it, so that it can be copied alone.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Adds an application.
    ///
    /// # Errors
    ///
    /// [`RegistryError::BadName`], [`RegistryError::Exists`], or the database's.
    pub async fn add_application(
        &self,
        name: &str,
        environment: &str,
        now: Timestamp,
    ) -> Result<Application, RegistryError> {
        Application::check(name, environment)?;
        let added = sqlx::query(
            "INSERT INTO application (name, environment, created_at) VALUES (?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(environment)
        .bind(seconds(now))
        .execute(&self.pool)
        .await?;
        if added.rows_affected() == 0 {
            return Err(RegistryError::Exists(Subject::Application));
        }
        Ok(Application { name: name.into(), environment: environment.into(), created_at: now })
    }

    /// The applications, by name. A damaged row is an error in its place, and hides no other application.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn applications(
        &self,
    ) -> Result<Vec<Result<Application, Box<DamagedApplication>>>, RegistryError> {
        let rows: Vec<SqliteRow> = sqlx::query(
            "SELECT id, name, environment, created_at FROM application
             WHERE removed_at IS NULL ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?;
        let listed = rows
            .iter()
            .map(|row| Application::read(row).map_err(|error| DamagedApplication::of(row, error)));
        Ok(listed.collect())
    }

    /// One application.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedApplication`], or the database's.
    pub async fn application(&self, name: &str) -> Result<Application, RegistryError> {
        application_in(&mut *self.pool.acquire().await?, name).await
    }

    /// Removes an application whose credentials are all revoked. Its name is free again; its keys stay known, so that
    /// nobody can register them as their own.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InUse`], [`RegistryError::NotFound`], [`RegistryError::DamagedApplication`], or the database's.
    pub async fn remove_application(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        application_in(&mut transaction, name).await?;
        let removed = sqlx::query(
            "UPDATE application SET removed_at = ? WHERE name = ? AND removed_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM credential
                             WHERE application_id = application.id AND state <> 'revoked')",
        )
        .bind(seconds(now))
        .bind(name)
        .execute(&mut *transaction)
        .await?;
        if removed.rows_affected() == 0 {
            return Err(RegistryError::InUse);
        }
        Ok(transaction.commit().await?)
    }

    /// Registers a key for an application. It is active at once.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Exists`] if any application ever had this key, [`RegistryError::NotFound`] or
    /// [`RegistryError::DamagedApplication`] for the application,
    /// [`RegistryError::Key`] for a key that others can sign with: a published test key, or an HMAC secret that can be guessed;
    /// [`RegistryError::BadName`] for the label, [`RegistryError::Exposed`] for an HMAC secret in a file that others can
    /// read, or the database's.
    pub async fn add_credential(
        &self,
        new: NewCredential<'_>,
        now: Timestamp,
    ) -> Result<Arc<Credential>, RegistryError> {
        let NewCredential { application, label, key, expires_at, scopes, restrictions } = new;
        row::check_label(label)?;
        let key = key.key();
        key.require_secret().map_err(RegistryError::Key)?;
        if key.hmac_secret().is_some() {
            let files = file::exposed(&self.file)?;
            if !files.is_empty() {
                return Err(FileError::Exposed { files }.into());
            }
        }
        let publishable_key = key.publishable_key();
        // It may have been asked for before, and be remembered as unknown.
        let changing = self.cache.changing(KeyId::Publishable(publishable_key));
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        application_in(&mut transaction, application).await?;
        let added: Vec<SqliteRow> = sqlx::query(concat!(
            "INSERT INTO credential (application_id, publishable_key, thumbprint, hmac_secret,
                                     label, state, created_at, expires_at, scopes, restrictions)
             SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM application
             WHERE name = ? AND removed_at IS NULL
             ON CONFLICT DO NOTHING",
            row::returning_credential!()
        ))
        .bind(publishable_key.to_string())
        .bind(row::thumbprint(key))
        .bind(key.hmac_secret())
        .bind(label)
        .bind(State::Active.as_str())
        .bind(seconds(now))
        .bind(expires_at.map(seconds))
        .bind(scopes.to_string())
        .bind(stored_restrictions::write(&restrictions))
        .bind(application)
        .fetch_all(&mut *transaction)
        .await?;
        let row = added.first().ok_or(RegistryError::Exists(Subject::Credential))?;
        let credential = Credential::read(row)?;
        transaction.commit().await?;
        drop(changing);
        Ok(Arc::new(credential))
    }

    /// The credentials of an application, or of all applications, the oldest first. A damaged row is an error in its place,
    /// and hides no other credential.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] for the application, or the database's.
    pub async fn credentials(
        &self,
        application: Option<&str>,
    ) -> Result<Vec<Result<Arc<Credential>, Box<DamagedCredential>>>, RegistryError> {
        if let Some(name) = application {
            match self.application(name).await {
                // Each of its credentials then tells of the damage.
                Ok(_) | Err(RegistryError::DamagedApplication { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let rows: Vec<SqliteRow> = sqlx::query(concat!(
            row::select_credential!(),
            " WHERE a.removed_at IS NULL AND (?1 IS NULL OR a.name = ?1) ORDER BY c.id"
        ))
        .bind(application)
        .fetch_all(&self.pool)
        .await?;
        let listed = rows.iter().map(|row| match Credential::read(row) {
            Ok(credential) => Ok(Arc::new(credential)),
            Err(error) => Err(DamagedCredential::of(row, error)),
        });
        Ok(listed.collect())
    }

    /// One credential, past every cache.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`], or the database's.
    pub async fn credential(&self, id: &KeyId) -> Result<Arc<Credential>, RegistryError> {
        let row = self.row(id).await?.ok_or(RegistryError::NotFound(Subject::Credential))?;
        Credential::read(&row).map(Arc::new)
    }

    /// Changes what a credential may do and where it may be used from: at once here, and within 5 s in other processes. Of
    /// two who change one credential at the same time, the second is given what the first has left.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`], or the database's.
    pub async fn change_credential(
        &self,
        key: &PublishableKey,
        change: impl FnOnce(&mut Scopes, &mut Restrictions) + Send,
    ) -> Result<Arc<Credential>, RegistryError> {
        let changing = self.cache.changing(KeyId::Publishable(*key));
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<SqliteRow> =
            sqlx::query(concat!(row::select_credential!(), " WHERE c.publishable_key = ?"))
                .bind(key.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
        let mut credential =
            Credential::read(&row.ok_or(RegistryError::NotFound(Subject::Credential))?)?;
        change(&mut credential.scopes, &mut credential.restrictions);
        sqlx::query("UPDATE credential SET scopes = ?, restrictions = ? WHERE id = ?")
            .bind(credential.scopes.to_string())
            .bind(stored_restrictions::write(&credential.restrictions))
            .bind(credential.id.get())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        drop(changing);
        Ok(Arc::new(credential))
    }

    /// The publishable key of a credential, also of one whose row is damaged elsewhere.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], [`RegistryError::DamagedRow`] if it is the key that is damaged, or the database's.
    pub async fn publishable_key(&self, id: &KeyId) -> Result<PublishableKey, RegistryError> {
        let KeyId::Publishable(key) = id else {
            let found: Option<(i64, String)> =
                sqlx::query_as("SELECT id, publishable_key FROM credential WHERE thumbprint = ?")
                    .bind(id.to_string())
                    .fetch_optional(&self.pool)
                    .await?;
            let (row, key) = found.ok_or(RegistryError::NotFound(Subject::Credential))?;
            return key.parse().map_err(|error: KeyError| RegistryError::DamagedRow {
                id: row,
                what: "its key",
                source: Some(error.into()),
            });
        };
        Ok(*key)
    }

    /// Revokes a key for ever: at once here, and within 5 s in other processes. One that is revoked already stays so,
    /// with the time at which it was.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`], or the database's. With [`RegistryError::DamagedRow`] it is revoked all the same.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<Revocation, RegistryError> {
        // A key that is damaged is known by its thumbprint alone, here and in the cache.
        let id = match self.publishable_key(id).await {
            Ok(key) => KeyId::Publishable(key),
            Err(RegistryError::DamagedRow { .. }) => *id,
            Err(error) => return Err(error),
        };
        let changing = self.cache.changing(id);
        let update = match id {
            KeyId::Publishable(_) => concat!(
                "UPDATE credential SET state = 'revoked', revoked_at = ?
                 WHERE publishable_key = ? AND state <> 'revoked'",
                row::returning_credential!()
            ),
            KeyId::Thumbprint(_) => concat!(
                "UPDATE credential SET state = 'revoked', revoked_at = ?
                 WHERE thumbprint = ? AND state <> 'revoked'",
                row::returning_credential!()
            ),
        };
        let revoked: Vec<SqliteRow> = sqlx::query(update)
            .bind(seconds(now))
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?;
        drop(changing);
        match revoked.into_iter().next() {
            Some(row) => Credential::read(&row).map(Arc::new).map(Revocation::Revoked),
            None => self.credential(&id).await.map(Revocation::WasRevoked),
        }
    }

    async fn row(&self, id: &KeyId) -> Result<Option<SqliteRow>, RegistryError> {
        let query = match id {
            KeyId::Publishable(_) => {
                concat!(row::select_credential!(), " WHERE c.publishable_key = ?")
            }
            KeyId::Thumbprint(_) => concat!(row::select_credential!(), " WHERE c.thumbprint = ?"),
        };
        Ok(sqlx::query(query).bind(id.to_string()).fetch_optional(&self.pool).await?)
    }
}

/// The application of this name, unless its row is damaged.
async fn application_in(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Application, RegistryError> {
    let row: Option<SqliteRow> = sqlx::query(
        "SELECT id, name, environment, created_at FROM application
         WHERE removed_at IS NULL AND name = ?",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Application::read(&row.ok_or(RegistryError::NotFound(Subject::Application))?)
}

/// Closes the files of a registry with HMAC secrets to other users, and returns the files that were open.
async fn close_secrets(file: &Path, pool: &SqlitePool) -> Result<Vec<PathBuf>, RegistryError> {
    // Looking at the files first: a registry that nobody else can open need not be searched.
    if file::exposed(file)?.is_empty() {
        return Ok(Vec::new());
    }
    let has_secrets: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM credential WHERE hmac_secret IS NOT NULL)",
    )
    .fetch_one(pool)
    .await?;
    if !has_secrets {
        return Ok(Vec::new());
    }
    let closed = file::close(file)?;
    tracing::warn!(
        registry = ?file,
        files = ?closed,
        "other users could read the registry and the HMAC secrets in it; these files are closed to them now, but a program that \
         has the file open goes on reading it, and a user who has read a secret can sign: stop the servers, run \
         `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the registry's FILE, then revoke the HMAC keys and \
         register new ones"
    );
    Ok(closed)
}

/// What a revocation found.
#[derive(Clone, Debug)]
pub enum Revocation {
    /// The credential is revoked now.
    Revoked(Arc<Credential>),
    /// It had been revoked before, and nothing changed.
    WasRevoked(Arc<Credential>),
}

impl KeyStore for Registry {
    async fn find(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        if let Some(known) = self.cache.get(id, now) {
            return Ok(known);
        }
        let question = self.cache.question(now);
        let unavailable = |error| StoreError::because("the registry cannot be read", error);
        let row = self.row(id).await.map_err(unavailable)?;
        let credential = match row.as_ref().map(Credential::read).transpose() {
            Ok(credential) => credential.map(Arc::new),
            // A row that somebody put there past the checks names nobody.
            Err(error) => {
                tracing::error!(%error, %id, "a registered key cannot be used");
                None
            }
        };
        self.cache.put(id, credential.clone(), question);
        Ok(credential)
    }
}

impl Ceiling for Registry {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let failed = "the replay ceiling cannot be taken over";
        let ceiling: Vec<Option<i64>> = sqlx::query_scalar(
            "INSERT INTO replay_ceiling (id, owner) VALUES (1, ?)
             ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING seconds",
        )
        .bind(owner.get())
        // To its end: a statement is committed when its last row was asked for.
        .fetch_all(&self.pool)
        .await
        .map_err(|error| StoreError::because(failed, error))?;
        let ceiling = ceiling.into_iter().flatten().next().map(u64::try_from).transpose();
        let ceiling = ceiling.map_err(|error| StoreError::because(failed, error))?;
        Ok(match (ceiling, self.origin) {
            (Some(ceiling), _) => Some(Timestamp::from_unix(ceiling)),
            (None, Origin::MadeHere) => None,
            // A copy from before the first ceiling looks the same as a registry that was never used.
            (None, Origin::Found) => Some(Timestamp::from_unix(0)),
        })
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        let raised = sqlx::query(
            "UPDATE replay_ceiling SET seconds = max(coalesce(seconds, 0), ?) WHERE owner = ?",
        )
        .bind(seconds(to))
        .bind(owner.get())
        .execute(&self.pool)
        .await
        .map_err(|error| StoreError::because("the replay ceiling cannot be written", error))?;
        if raised.rows_affected() == 0 {
            return Err(StoreError::new("another server has taken over the replay ceiling"));
        }
        Ok(())
    }
}
