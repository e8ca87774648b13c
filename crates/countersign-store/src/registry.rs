//! Applications and credentials in a database: an SQLite file, or PostgreSQL.
//!
//! Reads and changes are in [`applications`] and [`credentials`], the statements of both in [`statements`]. They are written
//! once, and [`query`] runs them on either database. Every change goes through [`change`]. A row becomes a value in [`row`], and
//! is damaged if it cannot. What is true of one database alone is in [`sqlite`] and [`postgres`]: the address, the connections,
//! the meaning of errors, the schema (of PostgreSQL beside this room, for the nonces have tables there as well).

pub(crate) mod actor;
pub(crate) mod applications;
pub(crate) mod audit;
mod cache;
mod ceiling;
mod change;
mod contact;
pub(crate) mod credential_settings;
pub(crate) mod credentials;
pub(crate) mod cursor;
pub(crate) mod damaged;
mod database;
mod early_check;
pub(crate) mod error;
mod flights;
mod follower;
mod held_keys;
mod if_missing;
mod key_store;
mod last_change;
mod last_use;
pub(crate) mod new_credential;
mod opening;
pub(crate) mod options;
pub(crate) mod page;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod quarantine;
mod query;
mod readers;
pub(crate) mod rotation;
mod row;
pub(crate) mod sealing;
pub(crate) mod secrets;
mod session;
mod shared;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod statements;
mod stored_limits;
mod stored_restrictions;
#[cfg(feature = "registry-text")]
pub(crate) mod text;
mod unopened;
pub(crate) mod usage;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::{actor::Actor, shared::Shared};

/// The applications and credentials of a service, in an SQLite file or in PostgreSQL.
///
/// The address of a registry is `sqlite:FILE` or, with the feature `postgres`, `postgres://USER@HOST/DATABASE`, with the
/// parameters of libpq that the driver knows, such as `?sslmode=verify-full`. A registry behaves the same in both. In PostgreSQL
/// its tables are in a schema of their own, `countersign`, in a database that other programs can use as well.
///
/// A change takes effect at once in this registry, and within 1 s in other processes that have the same registry open. Keys that
/// were looked up are kept in memory, and the first lookup starts a task that follows the changes of others: by a look at the
/// number of the last change every 0.2 s in a file and every 0.5 s on a server, and there also by its notices. Rows that are
/// edited by hand, past the registry, take effect within 60 s.
///
/// While the database cannot be reached, keys that are known are found for as long as [`Registry::stale_for`] says; after that,
/// and for other keys, [`KeyStore::find`](crate::KeyStore::find) fails. The log has a line at the beginning and one at the end of
/// an outage, and the metric `countersign_registry_contact_age_seconds` tells how long it lasts.
///
/// For Ed25519 a registry holds only public keys. HMAC secrets are sealed with the master key of
/// [`RegistryOptions::master_keys`](crate::RegistryOptions::master_keys). Without a master key they lie in the registry as they are, and opening it logs a warning:
/// a reader of the database can sign. Only the owner may then open the file of a registry, and the files that SQLite keeps beside
/// it. If other users can read or write one of them, opening the registry takes that right from them, and logs a warning with the
/// names of the files. [`Registry::closed_files`] returns the names.
///
/// `sqlite:FILE?mode=rwc` means the same as `sqlite:FILE`; with `?mode=rw` the file is never made. Any other parameter is
/// refused, `?mode=ro` included.
///
/// A registry is cheap to clone: clones share connections and cache.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    actor: Actor,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.shared.name)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl Registry {
    fn of(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), actor: Actor::program() }
    }

    /// Names who makes the changes that are made with this registry, for its audit log. Default: the name of the program.
    pub fn acting_as(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Sets how long keys are found that were looked up before, when the database cannot be reached: the longest time in which
    /// this server may not know of a revocation. Default: 10 s. With zero nothing is kept in memory, and every lookup asks the
    /// database.
    ///
    /// The setting is shared with clones of this registry.
    pub fn stale_for(self, stale_for: Duration) -> Self {
        self.shared.cache.contact().set_stale_for(stale_for);
        self
    }

    /// Returns the name of a registry, for messages: its address without the password and the parameters. `None` if the address
    /// is not one of a registry.
    pub fn name_of(url: &str) -> Option<String> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            return postgres::address::Address::parse(url).ok().map(|address| address.name);
        }
        #[cfg(feature = "sqlite")]
        if let Some(file) = Self::file_of(url) {
            return Some(format!("sqlite:{}", file.display()));
        }
        let _ = url;
        None
    }

    /// Returns an address without its password, for messages that repeat it. `None` if the address is not one of a registry.
    pub fn without_password(url: &str) -> Option<String> {
        #[cfg(feature = "postgres")]
        if postgres::address::Address::is_named_by(url) {
            let address = postgres::address::Address::parse(url).ok();
            return address.map(|address| address.without_password);
        }
        Self::file_of(url).map(|_| url.to_owned())
    }

    /// Returns the file of an address, for messages: the text between `sqlite:` and the parameters.
    pub fn file_of(url: &str) -> Option<&Path> {
        #[cfg(feature = "sqlite")]
        return sqlite::address::Address::file_of(url);
        #[cfg(not(feature = "sqlite"))]
        {
            let _ = url;
            None
        }
    }

    /// Returns the name of this registry, for messages: its address without the password and the parameters.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the file of this registry; `None` if it is in PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        self.shared.file.as_deref()
    }

    /// Returns the files of this registry that other users could read or write before it was opened. They held HMAC secrets,
    /// so opening closed them to other users.
    ///
    /// A program with an open file goes on reading it, and a user who has read a secret can sign. Stop the servers, run
    /// `(umask 077; cp FILE FILE.new && mv FILE.new FILE)` as the owner of the file, then revoke the HMAC keys and register
    /// new ones. A registry that was closed in order has no `FILE-wal`.
    pub fn closed_files(&self) -> &[PathBuf] {
        &self.shared.closed_files
    }

    /// Saves which keys were used, and closes the connections of the registry, also for its clones. SQLite then folds the write-ahead log into the file, so that
    /// the file can be copied alone.
    pub async fn close(self) {
        if let Err(error) = self.shared.save_last_uses().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "which keys were used in the last 30 s could not be saved");
        }
        self.shared.watch.end().await;
        self.shared.readers.close().await;
        self.shared.database.close().await;
    }
}
