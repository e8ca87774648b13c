#[cfg(feature = "sqlite")]
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::postgres;
use super::{
    Registry,
    database::Database,
    error::RegistryError,
    if_missing::IfMissing,
    last_change::LastChange,
    options::RegistryOptions,
    shared::{History, Shared},
};
#[cfg(feature = "sqlite")]
use super::{
    query::Query,
    sqlite::file::{self, FileError},
    statements,
};
use crate::master_key::MasterKeys;

impl Registry {
    /// Opens an existing registry without a master key, and brings its schema up to date. [`RegistryOptions`] opens it with one.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; the registry is left as it was.
    pub async fn open(url: &str) -> Result<Self, RegistryError> {
        RegistryOptions::new().open(url).await
    }

    /// Opens a registry. If it is missing, makes it: a file that its owner alone can read, or a schema in the database. With
    /// `?mode=rw` behind a file this is [`Registry::open`].
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; an existing registry is left as it was.
    pub async fn open_or_create(url: &str) -> Result<Self, RegistryError> {
        RegistryOptions::new().open_or_create(url).await
    }

    pub(super) async fn open_as(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        let registry = Self::open_any(url, if_missing, master_keys).await?;
        // Others may change anything from here on that is looked up.
        let last = LastChange::current(&registry.shared.database).await?;
        registry.shared.watch.set_last(last);
        Ok(registry)
    }

    async fn open_any(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            return Self::open_server(url, if_missing, master_keys).await;
        }
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Self::open_file(url, if_missing, master_keys).await;
        }
        let _ = (url, if_missing, master_keys);
        Err(RegistryError::UnsupportedUrl)
    }

    #[cfg(feature = "postgres")]
    async fn open_server(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        use super::postgres::pool::Pool;
        use crate::postgres_schema::Made;

        let address = postgres::address::Address::parse(url)?;
        let (pool, made) = Pool::open(&address, if_missing).await?;
        let history = match made {
            Made::Now => History::New,
            Made::Before => History::Unknown,
        };
        let mut shared = Shared::new(address.name, history, Database::Postgres(pool));
        shared.master_keys = master_keys;
        Ok(Self::of(shared))
    }

    #[cfg(feature = "sqlite")]
    async fn open_file(
        url: &str,
        if_missing: IfMissing,
        master_keys: Option<Arc<MasterKeys>>,
    ) -> Result<Self, RegistryError> {
        use super::sqlite::{
            address::{self, Address},
            file::FileKind,
            pool::Pool,
        };

        let Address { file, if_missing: of_address } = Address::parse(url)?;
        let may_create =
            if_missing == IfMissing::Create && of_address == address::IfMissing::MayCreate;
        if may_create {
            file::create(&file)?;
        }
        let history = match FileKind::of(&file)? {
            FileKind::Registry => History::Unknown,
            FileKind::Empty if may_create => History::New,
            FileKind::Empty => return Err(FileError::Empty.into()),
        };
        let database = Database::Sqlite(Pool::open(&file).await?);
        match close_secrets(&file, &database).await {
            Ok(closed_files) => {
                let name = format!("sqlite:{}", file.display());
                let mut shared = Shared::new(name, history, database);
                (shared.file, shared.closed_files) = (Some(file), closed_files);
                shared.master_keys = master_keys;
                Ok(Self::of(shared))
            }
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }
}

/// Closes the files of a registry with HMAC secrets to other users, and returns the files that were open.
#[cfg(feature = "sqlite")]
async fn close_secrets(file: &Path, database: &Database) -> Result<Vec<PathBuf>, RegistryError> {
    // Looking at the files first: a registry that nobody else can open need not be searched.
    if file::exposed(file)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = database.connection().await?;
    let row = connection.session().fetch_one(Query::new(statements::HAS_SECRETS)).await?;
    drop(connection);
    if !row.get::<bool>("has_secrets")? {
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
