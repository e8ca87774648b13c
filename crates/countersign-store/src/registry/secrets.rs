//! The state of the HMAC secrets in a registry: plain, or sealed with a master key.

use std::fmt;

use super::{
    Registry,
    error::RegistryError,
    query::{Query, Row},
    shared::Shared,
    statements,
    unopened::MOST_MISSING,
};
use crate::master_key::{MasterKey, MasterKeyId, MasterKeys};

/// The number of HMAC secrets in a registry, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Secrets {
    /// The number of plain secrets, with which a reader of the database can sign.
    pub plain: u64,
    /// The sealed secrets, by master key.
    pub sealed: Vec<SealedSecrets>,
}

/// The HMAC secrets that one master key sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedSecrets {
    /// The id of the master key; `None` for sealed secrets that are cut short.
    pub master_key: Option<MasterKeyId>,
    /// The role of this master key in this registry.
    pub role: MasterKeyRole,
    /// The number of secrets.
    pub count: u64,
}

/// The role of a master key in an open registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKeyRole {
    /// The key that seals.
    Current,
    /// The key before it, which only opens.
    Previous,
    /// Not given: the credentials of the secrets that it sealed are refused.
    Missing,
}

impl MasterKeyRole {
    /// Returns the name, like `current`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Missing => "missing",
        }
    }

    fn of(key: Option<MasterKeyId>, keys: Option<&MasterKeys>) -> Self {
        let Some((key, keys)) = key.zip(keys) else { return Self::Missing };
        if key == keys.current().id() {
            Self::Current
        } else if Some(key) == keys.previous().map(MasterKey::id) {
            Self::Previous
        } else {
            Self::Missing
        }
    }
}

impl fmt::Display for MasterKeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Secrets {
    /// Returns the number of secrets that the current master key did not seal.
    pub fn left(&self) -> u64 {
        let others = self.sealed.iter().filter(|sealed| sealed.role != MasterKeyRole::Current);
        others.fold(self.plain, |left, sealed| left.saturating_add(sealed.count))
    }

    /// Returns the number of secrets whose master key is not given.
    pub fn unopened(&self) -> u64 {
        let missing = self.sealed.iter().filter(|sealed| sealed.role == MasterKeyRole::Missing);
        missing.fold(0, |count, sealed| count.saturating_add(sealed.count))
    }
}

impl Registry {
    /// Counts the HMAC secrets by state, including the secrets of revoked credentials.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn secrets(&self) -> Result<Secrets, RegistryError> {
        let mut connection = self.shared.database.connection().await?;
        let mut session = connection.session();
        let plain = session.fetch_one(Query::new(statements::COUNT_PLAIN_SECRETS)).await?;
        let rows = session.fetch_all(Query::new(statements::COUNT_SEALED_SECRETS)).await?;
        let count = |row: &Row| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.get::<i64>("count")?).unwrap_or(0))
        };
        let sealed = rows.iter().map(|row| {
            let master_key = master_key(row)?;
            let role = MasterKeyRole::of(master_key, self.shared.master_keys());
            Ok(SealedSecrets { master_key, role, count: count(row)? })
        });
        let sealed = sealed.collect::<Result<_, sqlx::Error>>()?;
        Ok(Secrets { plain: count(&plain)?, sealed })
    }
}

/// Reads the id of a master key; `None` if it is cut short.
fn master_key(row: &Row) -> Result<Option<MasterKeyId>, sqlx::Error> {
    let id: Vec<u8> = row.get("master_key")?;
    Ok(id.try_into().ok().map(MasterKeyId::from_bytes))
}

impl Shared {
    /// Whether there are plain secrets.
    pub(super) async fn has_plain_secrets(&self) -> Result<bool, RegistryError> {
        let mut connection = self.database.connection().await?;
        let row = connection.session().fetch_one(Query::new(statements::HAS_SECRETS)).await?;
        Ok(row.get("has_secrets")?)
    }

    /// Logs an error if secrets are sealed with master keys that are not given. Its time does not depend on the number of
    /// secrets.
    pub(super) async fn tell_of_missing_keys(&self) -> Result<(), RegistryError> {
        let mut connection = self.database.connection().await?;
        let mut after = Vec::new();
        for _ in 0..MOST_MISSING {
            let query = Query::new(statements::NEXT_MASTER_KEY).bind(after.as_slice());
            let Some(row) = connection.session().fetch_optional(query).await? else { break };
            if let Some(needed) = master_key(&row)?
                && MasterKeyRole::of(Some(needed), self.master_keys()) == MasterKeyRole::Missing
            {
                self.unopened.tell_once(needed, self.master_keys());
            }
            after = row.get("master_key")?;
        }
        Ok(())
    }
}
