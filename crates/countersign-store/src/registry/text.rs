//! A registry as text: a TOML file that is read, compared with the registry, and applied to it.

mod apply;
pub(crate) mod bad_registry_text;
mod entry;
pub(crate) mod plan;
mod read;
mod stored;
mod write;

use std::{collections::BTreeMap, str::FromStr};

use self::{
    bad_registry_text::{BadRegistryText, Place},
    entry::{ApplicationEntry, KeyEntry},
};
use crate::credential::application::ApplicationName;

/// The version of the text.
const VERSION: u32 = 1;

/// The applications and keys that a registry should have, as [`Registry::export`](crate::Registry::export) writes them and people edit
/// them.
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
/// limit_signed = [
///     "600/1m:50",
/// ]
/// ```
///
/// A line that is left out has the value of a new key: no label, state `active`, no expiry, no scopes, no restrictions, no limits of
/// its own. `created`, `revoked` and `replaced_by` count only where a key is added; `reason` goes with the state `revoked`. A key that
/// the registry does not have yet needs `proof`, the content of its `.pub` file, or `insecure_unproven = true`.
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
