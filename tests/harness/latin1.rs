//! Bytes as text in which one character is one byte (ISO 8859-1), so that most of what is sent can be read in JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes that are not text, or mostly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "self")] pub Vec<u8>);

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Bytes {
    fn from(bytes: &T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    bytes.iter().map(|byte| char::from(*byte)).collect::<String>().serialize(serializer)
}

pub(crate) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes: Result<_, _> = text.chars().map(u8::try_from).collect();
    bytes.map_err(|_| D::Error::custom("a character that is not one byte"))
}
