//! A registry as text: a TOML file that is read, compared with the registry, and applied to it.

mod apply;
mod entry;
pub(crate) mod plan;
mod read;
mod stored;
mod write;

use std::{collections::BTreeMap, str::FromStr};

use self::entry::{ApplicationEntry, KeyEntry};
use super::{Registry, error::RegistryError};
use crate::credential::application::ApplicationName;

/// The version of the text.
const VERSION: u32 = 1;

/// The applications and keys that a registry should have, as [`Registry::export`] writes them and people edit them.
///
/// ```toml
/// version = 1
///
/// [application.shop]
/// environment = "live"
/// contact = "ana@example.com"
/// notes = "The shop at https://shop.example"
///
/// [application.shop.key.pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUY]
/// label = "laptop"
/// state = "active"
/// created = 2026-01-31T09:00:00Z
/// expires = 2027-01-31T00:00:00Z
/// scopes = [
///     "orders:read",
///     "orders:write",
/// ]
/// allow.ip = [
///     "192.0.2.0/24",
/// ]
/// report_only = ["ip"]
/// ```
///
/// A line that is left out has the value of a new key: no label, state `active`, no expiry, no scopes, no restrictions. `created`,
/// `revoked` and `replaced_by` count only where a key is added; `reason` goes with the state `revoked`. A key that the registry does
/// not have yet needs `proof`, the content of its `.pub` file, or `insecure_unproven = true`.
///
/// The text holds public halves alone. An HMAC secret is named by its publishable key, and cannot be added by text.
///
/// ```
/// # use countersign_store::RegistryText;
/// let text: RegistryText = "version = 1\n[application.shop]\nenvironment = 'live'".parse()?;
/// let refused = "version = 1\n[application.shop]\nenvironment = 'LIVE'".parse::<RegistryText>();
/// let refused = refused.unwrap_err();
/// assert_eq!((refused.line, refused.column), (3, 15));
/// # Ok::<(), countersign_store::BadRegistryText>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegistryText {
    applications: BTreeMap<ApplicationName, TextApplication>,
}

/// Why a text is not one of a registry, or cannot be applied to this one; and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
#[non_exhaustive]
pub struct BadRegistryText {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn refuse(self, what: impl Into<String>) -> BadRegistryText {
        let Self { line, column } = self;
        BadRegistryText { line, column, what: what.into() }
    }
}

/// An application in a text.
#[derive(Clone, Debug)]
struct TextApplication {
    entry: ApplicationEntry,
    /// By publishable key, as text.
    keys: BTreeMap<String, TextKey>,
}

/// A key in a text.
#[derive(Clone, Debug)]
struct TextKey {
    place: Place,
    state_place: Place,
    reason_place: Place,
    replaced_by_place: Place,
    entry: KeyEntry,
    proof: Proof,
}

/// What a text has to show for a key that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Missing,
    /// A proof, which was checked.
    Given,
    /// The text says that there is no proof.
    Waived,
}

impl FromStr for RegistryText {
    type Err = BadRegistryText;

    fn from_str(text: &str) -> Result<Self, BadRegistryText> {
        read::read(text)
    }
}

impl Registry {
    /// Returns the applications and keys as text, in the form of [`RegistryText`]: sorted, one thing on a line, and the same
    /// for the same content. The keys of removed applications are left out.
    ///
    /// # Errors
    ///
    /// [`RegistryError::DamagedApplication`] or [`RegistryError::DamagedCredential`] for a damaged row, which the text would
    /// lose; or an error of the database.
    pub async fn export(&self) -> Result<String, RegistryError> {
        Ok(write::write(&self.stored().await?))
    }
}
