use std::path::{Path, PathBuf};

use super::RegistryError;

/// Where a registry is: `sqlite:FILE`, and behind that perhaps `?mode=rw` or `?mode=rwc`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) file: PathBuf,
    pub(super) if_missing: IfMissing,
}

/// What the address says to a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMissing {
    /// It may be made by whoever may make one.
    MayCreate,
    /// `mode=rw`: it is never made.
    Fail,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, RegistryError> {
        let file = url.strip_prefix("sqlite:").ok_or(RegistryError::UnsupportedUrl)?;
        let file = file.strip_prefix("//").unwrap_or(file);
        let (path, parameters) = match file.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (file, None),
        };
        match path {
            "" | ":memory:" => return Err(RegistryError::UnsupportedUrl),
            // SQLite takes such a name for a URI, and another file than the one that is checked here.
            path if path.starts_with("file:") => return Err(RegistryError::UnsupportedUrl),
            _ => {}
        }
        let if_missing = match parameters {
            None | Some("mode=rwc") => IfMissing::MayCreate,
            Some("mode=rw") => IfMissing::Fail,
            Some("mode=ro") => return Err(RegistryError::ReadOnlyMode),
            Some(_) => return Err(RegistryError::UnsupportedParameter),
        };
        // Where parameters were once taken for a part of the name, the registry is in that file.
        if parameters.is_some() && Path::new(file).exists() {
            return Err(RegistryError::NamedByParameters);
        }
        Ok(Self { file: path.into(), if_missing })
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
}
