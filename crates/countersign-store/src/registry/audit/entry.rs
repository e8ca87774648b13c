use countersign::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{act::Act, hash::AuditHash};
use crate::registry::{actor::Actor, query::Row, row::seconds};

/// An entry as it is stored. Every column is in its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct StoredEntry {
    pub(in super::super) number: i64,
    pub(in super::super) at: i64,
    pub(in super::super) actor: String,
    pub(in super::super) action: String,
    pub(in super::super) application: Option<String>,
    pub(in super::super) key_id: Option<String>,
    pub(in super::super) before: Option<String>,
    pub(in super::super) after: Option<String>,
    pub(in super::super) hash: AuditHash,
}

impl StoredEntry {
    /// Makes the entry that follows another.
    pub(in super::super) fn following(
        previous: AuditHash,
        number: i64,
        actor: &Actor,
        act: &Act,
    ) -> Self {
        let mut entry = Self {
            number,
            at: seconds(act.at),
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
    pub(in super::super) fn read(row: &Row) -> Result<Self, sqlx::Error> {
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
    pub(in super::super) fn hash_after(&self, previous: AuditHash) -> AuditHash {
        let mut hash = Sha256::new_with_prefix("countersign audit v1\n");
        hash.update(previous.as_bytes());
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
        AuditHash::of(hash.finalize().into())
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number: the number of the change.
    pub number: i64,
    /// When the change was made, by the clock of the program that made it. A time before 1970 was written by hand, and reads as
    /// 1970: a check of the log finds it.
    pub at: Timestamp,
    /// Who made it, as the program said.
    pub actor: String,
    /// What was done, as in [`Action::as_str`](crate::Action::as_str).
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
    pub(in super::super) fn of(entry: StoredEntry) -> Self {
        let at = Timestamp::from_unix(u64::try_from(entry.at).unwrap_or(0));
        let StoredEntry { number, at: _, actor, action, application, key_id, .. } = entry;
        let StoredEntry { before, after, hash, .. } = entry;
        Self { number, at, actor, action, application, key_id, before, after, hash }
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
