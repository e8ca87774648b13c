use countersign::{PublishableKey, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The credential of a key, as its holder sees it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct OwnCredential {
    /// The publishable key.
    #[serde(deserialize_with = "key")]
    pub publishable_key: PublishableKey,
    /// The name of the application.
    pub application: String,
    /// The environment of the application.
    pub environment: String,
    /// Its name for people.
    pub label: String,
    /// `active`, `retiring`, `quarantined` or `revoked`.
    pub state: String,
    /// When it was added.
    #[serde(deserialize_with = "time")]
    pub created_at: Timestamp,
    /// When it is to be rotated. `None` if the operator sets no age, or if it cannot be rotated.
    #[serde(default, deserialize_with = "optional_time")]
    pub rotate_after: Option<Timestamp>,
    /// When it expires.
    #[serde(default, deserialize_with = "optional_time")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, deserialize_with = "optional_time")]
    pub revoked_at: Option<Timestamp>,
    /// The key that took over from it.
    #[serde(default, deserialize_with = "optional_key")]
    pub replaced_by: Option<PublishableKey>,
}

/// The answer to a request for a rotation.
#[derive(Debug, Deserialize)]
pub(super) struct RotationAnswer {
    pub(super) new: OwnCredential,
    pub(super) old: OwnCredential,
    #[serde(default, deserialize_with = "optional_time")]
    pub(super) old_ends_at: Option<Timestamp>,
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<PublishableKey, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn optional_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PublishableKey>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    u64::deserialize(from).map(Timestamp::from_unix)
}

fn optional_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<u64>::deserialize(from)?.map(Timestamp::from_unix))
}
