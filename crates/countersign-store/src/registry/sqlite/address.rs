use std::path::{Path, PathBuf};

use crate::registry::error::RegistryError;

/// The address of a registry: `sqlite:FILE`, optionally with `?mode=rw` or `?mode=rwc`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) file: PathBuf,
    pub(crate) if_missing: IfMissing,
}

/// Whether a missing file may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// `open_or_create` creates it.
    MayCreate,
    /// `mode=rw`: the file is never created.
    Fail,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, RegistryError> {
        let file = Self::named(url).ok_or(RegistryError::UnsupportedUrl)?;
        let (path, parameters) = Self::split(file);
        match path {
            "" | ":memory:" => return Err(RegistryError::UnsupportedUrl),
            // SQLite reads such a name as a URI, and would open another file than the file checked here.
            path if path.starts_with("file:") => return Err(RegistryError::UnsupportedUrl),
            _ => {}
        }
        let if_missing = match parameters {
            None | Some("mode=rwc") => IfMissing::MayCreate,
            Some("mode=rw") => IfMissing::Fail,
            Some("mode=ro") => return Err(RegistryError::ReadOnlyMode),
            Some(_) => return Err(RegistryError::UnsupportedParameter),
        };
        // Earlier versions read parameters as a part of the name. The registry may be in the file of that name.
        if parameters.is_some() && Path::new(file).exists() {
            return Err(RegistryError::NamedByParameters);
        }
        Ok(Self { file: path.into(), if_missing })
    }

    /// Returns the file of an address, even if other parts of the address are invalid.
    pub(crate) fn file_of(url: &str) -> Option<&Path> {
        let (path, _) = Self::split(Self::named(url)?);
        Some(Path::new(path))
    }

    /// Returns the part after the scheme: the file and its parameters.
    fn named(url: &str) -> Option<&str> {
        let file = url.strip_prefix("sqlite:")?;
        Some(file.strip_prefix("//").unwrap_or(file))
    }

    fn split(file: &str) -> (&str, Option<&str>) {
        match file.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (file, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_heeded_or_refused_and_never_a_part_of_the_name() {
        let parsed = |url| match Address::parse(url) {
            Ok(Address { file, if_missing }) => format!("{} {if_missing:?}", file.display()),
            Err(error) => format!("{error:?}"),
        };
        for (url, expected) in [
            ("sqlite:reg.db", "reg.db MayCreate"),
            ("sqlite:reg.db?mode=rwc", "reg.db MayCreate"),
            ("sqlite:reg.db?mode=rw", "reg.db Fail"),
            ("sqlite://reg.db?mode=rw", "reg.db Fail"),
            ("sqlite:///srv/reg.db?mode=rwc", "/srv/reg.db MayCreate"),
            ("sqlite:reg.db?mode=ro", "ReadOnlyMode"),
            ("sqlite:reg.db?mode=memory", "UnsupportedParameter"),
            ("sqlite:reg.db?", "UnsupportedParameter"),
            ("sqlite:reg.db?mode=rwc&cache=shared", "UnsupportedParameter"),
            ("sqlite:reg.db?immutable=1", "UnsupportedParameter"),
            ("sqlite:?mode=rwc", "UnsupportedUrl"),
            ("sqlite::memory:?mode=rwc", "UnsupportedUrl"),
        ] {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn messages_name_the_file_that_is_opened_also_for_addresses_that_are_refused() {
        for (url, file) in [
            ("sqlite:reg.db", Some("reg.db")),
            ("sqlite://reg.db?mode=rw", Some("reg.db")),
            ("sqlite:///srv/reg.db?mode=ro", Some("/srv/reg.db")),
            ("sqlite:reg.db?", Some("reg.db")),
            ("sqlite:", Some("")),
            ("postgres://me:secret@host/db", None),
        ] {
            assert_eq!(Address::file_of(url), file.map(Path::new), "{url}");
            if let Ok(Address { file: opened, .. }) = Address::parse(url) {
                assert_eq!(Some(&*opened), file.map(Path::new), "{url}");
            }
        }
    }
}
