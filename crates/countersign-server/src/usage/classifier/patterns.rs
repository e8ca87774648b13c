use std::fmt;

use ua_parser::{Regexes, os, user_agent};

/// The patterns of uap-core for products and systems. Those for devices are left out: nothing here asks for a device.
const PATTERNS: &str = include_str!("uap-core/patterns.json");

/// Finds products and systems of clients.
pub(super) struct Patterns {
    products: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Patterns {
    /// Compiles the patterns, which takes a while.
    ///
    /// # Errors
    ///
    /// A text, if they are damaged.
    pub(super) fn load() -> Result<Self, String> {
        let regexes: Regexes<'static> =
            serde_json::from_str(PATTERNS).map_err(|error| error.to_string())?;
        let products = user_agent::Builder::new().push_all(regexes.user_agent_parsers);
        let products = products.map_err(|error| error.to_string())?.build();
        let systems = os::Builder::new().push_all(regexes.os_parsers);
        let systems = systems.map_err(|error| error.to_string())?.build();
        Ok(Self {
            products: products.map_err(|error| error.to_string())?,
            systems: systems.map_err(|error| error.to_string())?,
        })
    }

    /// Returns the name of the library, app or browser.
    pub(super) fn product(&self, text: &str) -> Option<String> {
        let found = self.products.extract(text)?.family;
        Some(found.into_owned()).filter(|family| family != "Other")
    }

    /// Returns the operating system.
    pub(super) fn system(&self, text: &str) -> Option<String> {
        Some(self.systems.extract(text)?.os.into_owned())
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns").finish_non_exhaustive()
    }
}
