use std::sync::Arc;

use countersign::Timestamp;

use super::call::CallAccess;
use crate::credential::CredentialId;

/// The program of calls: an hour, a credential, a platform and a product.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The hour in which the calls began: its first second.
    pub hour: Timestamp,
    /// `None` if the caller named no key that is known.
    pub credential: Option<CredentialId>,
    /// What the program runs on.
    pub platform: Platform,
    /// The name of a library or browser, such as `okhttp`. `None` if it is not known, or beyond those that are counted apart.
    pub product: Option<Arc<str>>,
    /// A platform counts as a credential's own, and raises events, only where the signature was valid.
    pub access: CallAccess,
}

/// What a client runs on, as its `User-Agent` says. Anyone can send any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// An iPhone or iPad.
    Ios,
    /// An Android device.
    Android,
    /// A browser, on whatever system.
    Browser,
    /// A program on a server or a desk.
    Server,
    /// Something else, or not known.
    Other,
}

impl Platform {
    /// Returns the name, as in `ios`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Browser => "browser",
            Self::Server => "server",
            Self::Other => "other",
        }
    }
}
