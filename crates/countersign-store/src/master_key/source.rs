use std::{
    env, fmt,
    fs::{File, Metadata},
    io::{self, Read},
    path::PathBuf,
    str::FromStr,
};

use zeroize::Zeroizing;

use super::{MasterKey, bad_master_key::BadMasterKey};

/// The largest source that is read, in bytes. A master key has 44, and may have blanks around it.
const LARGEST: usize = 4096;

/// The source of a [`MasterKey`]: a file, an environment variable or a file descriptor.
///
/// Parses from `FILE`, `env:NAME` and `fd:N`, so that a setting of a server can name any of them. The source has the text of
/// the key.
///
/// ```no_run
/// use countersign_store::{MasterKeySource, MasterKeys};
///
/// let source: MasterKeySource = "/run/secrets/registry.master".parse()?;
/// let keys = MasterKeys::new(source.read()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MasterKeySource {
    /// A file. Only its owner may be allowed to open it (mode 600 or 400).
    File(PathBuf),
    /// The environment variable with this name.
    Variable(String),
    /// An open file descriptor with this number, on Unix.
    Descriptor(u32),
}

impl MasterKeySource {
    /// Reads the master key. Blocks until a descriptor or pipe ends, so call it before the server starts.
    ///
    /// # Errors
    ///
    /// [`MasterKeyError`], which names the source.
    pub fn read(&self) -> Result<MasterKey, MasterKeyError> {
        let content = self.content()?;
        let text = str::from_utf8(&content).map_err(|_| BadMasterKey::NotText);
        text.and_then(str::parse).map_err(|bad| MasterKeyError::Bad(self.clone(), bad))
    }

    fn content(&self) -> Result<Zeroizing<Vec<u8>>, MasterKeyError> {
        let unreadable = |error| MasterKeyError::Unreadable(self.clone(), error);
        let file = match self {
            Self::Variable(name) => {
                let set = env::var_os(name).ok_or_else(|| MasterKeyError::NotSet(name.clone()))?;
                return Ok(Zeroizing::new(set.into_encoded_bytes()));
            }
            Self::Descriptor(number) => {
                File::open(format!("/dev/fd/{number}")).map_err(unreadable)?
            }
            Self::File(path) => {
                let file = File::open(path).map_err(unreadable)?;
                let metadata = file.metadata().map_err(unreadable)?;
                if let Some(open_to) = open_to_others(&metadata).filter(|_| metadata.is_file()) {
                    return Err(MasterKeyError::Exposed { file: path.clone(), open_to });
                }
                file
            }
        };
        // Reserved at once, so that a growing buffer leaves no copy behind.
        let mut content = Zeroizing::new(Vec::with_capacity(2 * LARGEST));
        let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut content).map_err(unreadable)?;
        match content.len() {
            0..=LARGEST => Ok(content),
            _ => Err(MasterKeyError::TooLarge(self.clone())),
        }
    }
}

/// Returns what other users can do with a file.
#[cfg(unix)]
fn open_to_others(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt;
    match metadata.permissions().mode() {
        mode if mode & 0o044 != 0 => Some("readable"),
        mode if mode & 0o022 != 0 => Some("writable"),
        mode if mode & 0o011 != 0 => Some("executable"),
        _ => None,
    }
}

#[cfg(not(unix))]
fn open_to_others(_: &Metadata) -> Option<&'static str> {
    None
}

impl FromStr for MasterKeySource {
    type Err = BadMasterKeySource;

    fn from_str(text: &str) -> Result<Self, BadMasterKeySource> {
        if text.is_empty() {
            return Err(BadMasterKeySource::Empty);
        }
        if let Some(number) = text.strip_prefix("fd:") {
            let number = number.parse().map_err(|_| BadMasterKeySource::Descriptor)?;
            return Ok(Self::Descriptor(number));
        }
        match text.strip_prefix("env:") {
            Some("") => Err(BadMasterKeySource::Variable),
            Some(name) if name.contains(['=', '\0']) => Err(BadMasterKeySource::Variable),
            Some(name) => Ok(Self::Variable(name.to_owned())),
            // A setting is no place for a secret, and the message about a missing file would show it.
            None => match text.parse::<MasterKey>() {
                Ok(_) | Err(BadMasterKey::Hex | BadMasterKey::PrivateKey) => {
                    Err(BadMasterKeySource::IsKey)
                }
                Err(_) => Ok(Self::File(text.into())),
            },
        }
    }
}

impl fmt::Display for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => name.fmt(f),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
        }
    }
}

/// Why a text does not name a [`MasterKeySource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMasterKeySource {
    /// The text is empty.
    #[error("the name of the master key's source is empty")]
    Empty,
    /// `fd:` without a number.
    #[error("fd: is followed by the number of a descriptor")]
    Descriptor,
    /// `env:` without the name of a variable.
    #[error("env: is followed by the name of a variable")]
    Variable,
    /// The text is a key itself, not the name of its source.
    #[error("it is a key itself, not the name of the file that holds the master key")]
    IsKey,
}

/// Why a master key cannot be read from its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// The variable with this name is not set.
    #[error("{0} is not set")]
    NotSet(String),
    /// The file or descriptor cannot be read.
    #[error("cannot read the master key from {0}")]
    Unreadable(MasterKeySource, #[source] io::Error),
    /// Other users can open the file.
    #[error("{} is {open_to} by other users", .file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// What other users can do with it: `readable`, `writable` or `executable`.
        open_to: &'static str,
    },
    /// The source is larger than 4 KiB.
    #[error("{0} is larger than any master key")]
    TooLarge(MasterKeySource),
    /// The source has another text than a master key.
    #[error("{0} holds no master key")]
    Bad(MasterKeySource, #[source] BadMasterKey),
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fs, path::Path};

    use super::*;

    const TEXT: &str = "mhxU8L59KGPgfxuTxdimTuJxDJ9bOEat8Z4nwItdajQ=";

    fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
        fs::write(path, content).unwrap();
        #[cfg(unix)]
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        #[cfg(not(unix))]
        let _: u32 = mode;
    }

    #[test]
    fn a_source_is_a_file_a_variable_or_a_descriptor() {
        let file = |name: &str| Ok(MasterKeySource::File(name.into()));
        let table = [
            ("registry.master", file("registry.master")),
            ("/run/secrets/master", file("/run/secrets/master")),
            ("./fd:3", file("./fd:3")),
            ("fd:3", Ok(MasterKeySource::Descriptor(3))),
            ("env:MASTER", Ok(MasterKeySource::Variable("MASTER".into()))),
            ("", Err(BadMasterKeySource::Empty)),
            ("fd:", Err(BadMasterKeySource::Descriptor)),
            ("fd:-1", Err(BadMasterKeySource::Descriptor)),
            ("env:", Err(BadMasterKeySource::Variable)),
            ("env:A=B", Err(BadMasterKeySource::Variable)),
            (TEXT, Err(BadMasterKeySource::IsKey)),
            (&"9a1c54f0be7d2863".repeat(4), Err(BadMasterKeySource::IsKey)),
            (
                "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8",
                Err(BadMasterKeySource::IsKey),
            ),
        ];
        for (text, source) in table {
            assert_eq!(text.parse::<MasterKeySource>(), source, "{text}");
        }
    }

    #[test]
    fn a_master_key_is_read_from_a_file_and_anything_else_in_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master");
        let source = MasterKeySource::File(path.clone());
        write(&path, format!("{TEXT}\n"), 0o600);
        assert_eq!(*source.read().unwrap().expose_text(), TEXT);
        let table: [(&[u8], BadMasterKey); 4] = [
            (b"", BadMasterKey::Empty),
            (b"hello\n", BadMasterKey::Length(5)),
            (&[0x9a; 32], BadMasterKey::NotText),
            (b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", BadMasterKey::Guessable),
        ];
        for (content, expected) in table {
            write(&path, content, 0o600);
            let error = source.read().unwrap_err();
            assert!(matches!(error, MasterKeyError::Bad(_, bad) if bad == expected), "{error:?}");
            assert_eq!(error.to_string(), format!("{} holds no master key", path.display()));
            assert_eq!(error.source().unwrap().to_string(), expected.to_string());
        }
        write(&path, " ".repeat(LARGEST - TEXT.len()) + TEXT, 0o600);
        assert!(source.read().is_ok());
        write(&path, " ".repeat(LARGEST - TEXT.len() + 1) + TEXT, 0o600);
        assert!(matches!(source.read(), Err(MasterKeyError::TooLarge(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(source.read(), Err(MasterKeyError::Unreadable(..))));
        let folder = MasterKeySource::File(folder.path().into());
        assert!(matches!(folder.read(), Err(MasterKeyError::Unreadable(..))));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_other_users_can_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master");
        for mode in [0o600, 0o400] {
            write(&path, TEXT, mode);
            assert!(MasterKeySource::File(path.clone()).read().is_ok(), "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
        let table =
            [(0o640, "readable"), (0o604, "readable"), (0o620, "writable"), (0o610, "executable")];
        for (mode, expected) in table {
            write(&path, TEXT, mode);
            let error = MasterKeySource::File(path.clone()).read().unwrap_err();
            let said = format!("{} is {expected} by other users", path.display());
            assert_eq!(error.to_string(), said);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_master_key_is_read_from_a_descriptor_and_its_file_may_have_any_mode() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master");
        write(&path, TEXT, 0o644);
        let file = File::open(path).unwrap();
        let source: MasterKeySource = format!("fd:{}", file.as_raw_fd()).parse().unwrap();
        assert_eq!(*source.read().unwrap().expose_text(), TEXT);
        let closed = MasterKeySource::Descriptor(u32::MAX);
        assert!(matches!(closed.read(), Err(MasterKeyError::Unreadable(..))));
    }

    #[test]
    fn a_variable_that_is_not_set_or_holds_another_text_is_named() {
        let source = MasterKeySource::Variable("COUNTERSIGN_NOT_SET".into());
        let error = source.read().unwrap_err();
        assert_eq!(error.to_string(), "COUNTERSIGN_NOT_SET is not set");
        // Cargo sets this variable.
        let source = MasterKeySource::Variable("CARGO_PKG_NAME".into());
        let error = source.read().unwrap_err();
        assert_eq!(error.to_string(), "CARGO_PKG_NAME holds no master key");
        assert!(matches!(error, MasterKeyError::Bad(_, BadMasterKey::Length(17))), "{error:?}");
    }
}
