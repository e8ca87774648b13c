//! The audit log: an entry for each change, chained by hash.

pub(crate) mod filter;
pub(crate) mod head;
pub(crate) mod report;

use std::{fmt, str::FromStr};

use countersign::{KeyId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Registry,
    actor::Actor,
    error::RegistryError,
    query::{Query, Row},
    row::time,
    statements,
};
use crate::credential::application::ApplicationName;

/// The hash of an entry of the audit log, which covers all entries before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditHash([u8; 32]);

impl AuditHash {
    /// The hash before the first entry.
    pub(super) const START: Self = Self([0; 32]);

    pub(super) fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads the lower-case hexadecimal digits that it prints as.
    fn from_hexadecimal(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
            b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks() else { return None };
        let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
        Self::from_stored(&bytes.collect::<Option<Vec<u8>>>()?)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was done to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// An application was added.
    AddApplication,
    /// The contact, notes or environment of an application were changed.
    ChangeApplication,
    /// An application was removed.
    RemoveApplication,
    /// A key was registered.
    AddKey,
    /// The label, scopes, restrictions, limits or expiry of a key were changed.
    ChangeKey,
    /// A key was replaced by another.
    RotateKey,
    /// A key was limited to reads.
    QuarantineKey,
    /// A key was made active again after a quarantine.
    ReleaseKey,
    /// A key was revoked.
    RevokeKey,
    /// An HMAC secret was encrypted with another master key, or for the first time.
    RewrapKey,
}

impl Action {
    /// All kinds of changes.
    pub const ALL: [Self; 10] = [
        Self::AddApplication,
        Self::ChangeApplication,
        Self::RemoveApplication,
        Self::AddKey,
        Self::ChangeKey,
        Self::RotateKey,
        Self::QuarantineKey,
        Self::ReleaseKey,
        Self::RevokeKey,
        Self::RewrapKey,
    ];

    /// Returns the name, like `key.revoke`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddApplication => "app.add",
            Self::ChangeApplication => "app.change",
            Self::RemoveApplication => "app.remove",
            Self::AddKey => "key.add",
            Self::ChangeKey => "key.change",
            Self::RotateKey => "key.rotate",
            Self::QuarantineKey => "key.quarantine",
            Self::ReleaseKey => "key.release",
            Self::RevokeKey => "key.revoke",
            Self::RewrapKey => "key.rewrap",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a kind of change is app.add, app.change, app.remove, key.add, key.change, key.rotate, key.quarantine, key.release, key.revoke \
     or key.rewrap"
)]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// What a change did, before it has a number.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) at: Timestamp,
    pub(super) action: Action,
    pub(super) subject: ActSubject,
    /// What was changed, before and after. Never a secret.
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Whom a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActSubject {
    /// The application; `None` if its row is damaged.
    pub(super) application: Option<ApplicationName>,
    /// The key, unless it is the application that was changed. A thumbprint, if the publishable key is damaged.
    pub(super) key: Option<KeyId>,
}

impl ActSubject {
    /// Everything.
    pub(super) const fn any() -> Self {
        Self { application: None, key: None }
    }
}

/// An entry as it is stored. Every column is in its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredEntry {
    pub(super) number: i64,
    pub(super) at: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) application: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) hash: AuditHash,
}

impl StoredEntry {
    /// Makes the entry that follows another.
    pub(super) fn following(previous: AuditHash, number: i64, actor: &Actor, act: &Act) -> Self {
        let mut entry = Self {
            number,
            at: super::row::seconds(act.at),
            actor: actor.to_string(),
            action: act.action.to_string(),
            application: act.subject.application.as_ref().map(ToString::to_string),
            key_id: act.subject.key.map(|key| key.to_string()),
            before: act.before.as_ref().map(Value::to_string),
            after: act.after.as_ref().map(Value::to_string),
            hash: AuditHash::START,
        };
        entry.hash = entry.hash_after(previous);
        entry
    }

    /// Reads an entry from its row.
    pub(super) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        let hash: Vec<u8> = row.get("hash")?;
        let hash = AuditHash::from_stored(&hash)
            .ok_or_else(|| sqlx::Error::Decode("the hash of an audit entry has 32 bytes".into()))?;
        Ok(Self {
            number: row.get("number")?,
            at: row.get("at")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            application: row.get("application")?,
            key_id: row.get("key_id")?,
            before: row.get("before")?,
            after: row.get("after")?,
            hash,
        })
    }

    /// Returns the hash that this entry has after an entry with that hash.
    ///
    /// SHA-256 of a name for this use, the hash before, and the columns in order. A number has 8 bytes; a text has its length in 8
    /// bytes in front, and a text that is not there the length 2^64 - 1: no two entries give the same bytes.
    pub(super) fn hash_after(&self, previous: AuditHash) -> AuditHash {
        let mut hash = Sha256::new_with_prefix("countersign audit v1\n");
        hash.update(previous.0);
        hash.update(self.number.to_be_bytes());
        hash.update(self.at.to_be_bytes());
        let columns = [
            Some(&self.actor),
            Some(&self.action),
            self.application.as_ref(),
            self.key_id.as_ref(),
            self.before.as_ref(),
            self.after.as_ref(),
        ];
        for column in columns {
            let length = column.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(0));
            hash.update(length.to_be_bytes());
            hash.update(column.map_or("", String::as_str));
        }
        AuditHash(hash.finalize().into())
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number: the number of the change.
    pub number: i64,
    /// When the change was made, by the clock of the program that made it.
    pub at: Timestamp,
    /// Who made it, as the program said.
    pub actor: String,
    /// What was done, as in [`Action::as_str`].
    pub action: String,
    /// The name of the application that it concerns.
    pub application: Option<String>,
    /// The key that it concerns: its publishable key or, if that is damaged, its JWK thumbprint.
    pub key_id: Option<String>,
    /// What was changed, as it was before, as JSON.
    pub before: Option<String>,
    /// What was changed, as it is after, as JSON.
    pub after: Option<String>,
    /// The hash over this entry and all before it.
    pub hash: AuditHash,
}

impl AuditEntry {
    pub(super) fn of(entry: StoredEntry) -> Result<Self, RegistryError> {
        let at = time(entry.at).map_err(RegistryError::Database)?;
        let StoredEntry { number, at: _, actor, action, application, key_id, .. } = entry;
        let StoredEntry { before, after, hash, .. } = entry;
        Ok(Self { number, at, actor, action, application, key_id, before, after, hash })
    }
}

impl Registry {
    /// Returns entries of the audit log, the oldest first: at most `limit`, after the entry with this number. Before the first
    /// entry is 0.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn audit_entries(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let query = Query::new(statements::AUDIT_ENTRIES).bind(after).bind(i64::from(limit));
        let mut connection = self.shared.database.connection().await?;
        let rows = connection.session().fetch_all(query).await?;
        rows.iter().map(|row| AuditEntry::of(StoredEntry::read(row)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> StoredEntry {
        let mut entry = StoredEntry {
            number: 1,
            at: 1_763_900_000,
            actor: "ana".into(),
            action: "key.revoke".into(),
            application: Some("shop".into()),
            key_id: None,
            before: Some("{}".into()),
            after: None,
            hash: AuditHash::START,
        };
        entry.hash = entry.hash_after(AuditHash::START);
        entry
    }

    #[test]
    fn the_hash_of_an_entry_is_the_same_in_every_version() {
        let known = "e78b6bfd15392cdaa16be9034eed78ddb2603c97fb2d3a3804aad3a843fb8ac0";
        assert_eq!(entry().hash.to_string(), known);
    }

    #[test]
    fn kinds_of_changes_print_as_they_are_read_and_the_error_names_them_all() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
            assert!(UnknownAction.to_string().contains(action.as_str()), "{action}");
        }
        assert_eq!("key".parse::<Action>(), Err(UnknownAction));
    }

    #[test]
    fn the_hash_of_an_entry_differs_with_every_part_and_with_what_came_before() {
        let table: [fn(&mut StoredEntry); 9] = [
            |entry| entry.number = 2,
            |entry| entry.at = 1_763_900_001,
            |entry| entry.actor = "bob".into(),
            |entry| entry.action = "key.add".into(),
            |entry| entry.application = None,
            |entry| entry.key_id = Some(String::new()),
            |entry| entry.before = None,
            |entry| (entry.before, entry.after) = (None, Some("{}".into())),
            |entry| (entry.actor, entry.action) = ("anak".into(), "ey.revoke".into()),
        ];
        for (row, change) in table.into_iter().enumerate() {
            let mut changed = entry();
            change(&mut changed);
            assert_ne!(changed.hash_after(AuditHash::START), entry().hash, "{row}");
        }
        assert_ne!(entry().hash_after(entry().hash), entry().hash);
    }
}
