use std::{
    fmt,
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use countersign::{KeyError, KeyFile, Passphrase, PrivateKey};
use zeroize::Zeroizing;

use crate::error::Error;

/// More bytes than any key file has.
const MOST: u64 = 64 * 1024;

/// Where a private key is kept. The key itself has any form: `sk_…`, PKCS#8 PEM, JWK, or OpenSSH.
///
/// A setting of your program can name the place in one text: `shop.key` or `/run/secrets/shop` is a file, `env:SHOP_KEY` an
/// environment variable, `fd:3` a descriptor, and with the feature `keyring`, `keyring:shop/laptop` is the entry of the user
/// `laptop` for the service `shop`.
///
/// ```
/// use countersign_client::KeySource;
///
/// let source: KeySource = "env:SHOP_KEY".parse()?;
/// assert_eq!(source, KeySource::Environment("SHOP_KEY".into()));
/// assert_eq!("shop.key".parse::<KeySource>()?, KeySource::from("shop.key"));
/// # Ok::<(), countersign_client::BadKeySource>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file that only its owner can read or change.
    File(PathBuf),
    /// The environment variable of this name. Other programs that this process starts see it as well.
    Environment(String),
    /// The open descriptor of this number, which is read to its end: it works once.
    Descriptor(u32),
    /// An entry in the keyring of the system. Your program chooses the keyring with `keyring_core::set_default_store`.
    #[cfg(feature = "keyring")]
    Keyring {
        /// The service that the entry is for.
        service: String,
        /// The user of the entry.
        user: String,
    },
}

/// Why a text names no place of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeySource {
    /// The text is empty.
    #[error("the place of the key is empty")]
    Empty,
    /// `fd:` without a number.
    #[error("`fd:` is followed by the number of a descriptor")]
    Descriptor,
    /// `keyring:` without a service and a user.
    #[error("`keyring:` is followed by a service, a slash and a user")]
    Keyring,
    /// `keyring:` without the feature.
    #[error("the keyring is read with the feature `keyring` of countersign-client")]
    NoKeyring,
    /// The text is a key. The text is not repeated.
    #[error(
        "this is a private key itself, and not its place; name a file, or `env:` and a variable"
    )]
    Secret,
}

impl KeySource {
    /// Reads the private key. It may block: on the disk, and on a question of the keyring.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`], [`Error::KeyFileMode`], [`Error::KeySource`], [`Error::Key`].
    pub fn read(&self, passphrase: Option<&Passphrase>) -> Result<PrivateKey, Error> {
        let unusable = |source| Error::Key { from: self.clone(), source };
        let (content, metadata) = match self {
            Self::File(path) => {
                let unreadable = |source| Error::KeyFile { path: path.clone(), source };
                let (content, metadata) = read_file(path).map_err(unreadable)?;
                (content, Some((path, metadata)))
            }
            _ => {
                let unreadable = |source| Error::KeySource { from: self.clone(), source };
                (self.content().map_err(unreadable)?, None)
            }
        };
        let parsed = KeyFile::parse(&content, passphrase);
        let locked = matches!(parsed, Err(KeyError::Encrypted | KeyError::WrongPassphrase));
        if let Some((path, metadata)) = metadata
            && (locked || matches!(parsed, Ok(KeyFile::Private(_))))
            && is_open(&metadata)
        {
            return Err(Error::KeyFileMode { path: path.clone() });
        }
        parsed.and_then(KeyFile::into_private).map_err(unusable)
    }

    /// The content of a source that is not a named file.
    fn content(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::File(path) => read_file(path).map(|(content, _)| content),
            Self::Descriptor(number) => {
                read_file(Path::new(&format!("/dev/fd/{number}"))).map(|(content, _)| content)
            }
            Self::Environment(name) => {
                let text = std::env::var(name).map_err(|error| match error {
                    std::env::VarError::NotPresent => io::Error::from(io::ErrorKind::NotFound),
                    // The error would show the value.
                    std::env::VarError::NotUnicode(_) => io::ErrorKind::InvalidData.into(),
                })?;
                Ok(Zeroizing::new(text.into_bytes()))
            }
            #[cfg(feature = "keyring")]
            Self::Keyring { service, user } => {
                let entry = keyring_core::Entry::new(service, user);
                let secret = entry.and_then(|entry| entry.get_secret());
                secret.map(Zeroizing::new).map_err(|error| keyring_error(&error))
            }
        }
    }
}

impl FromStr for KeySource {
    type Err = BadKeySource;

    fn from_str(text: &str) -> Result<Self, BadKeySource> {
        if text.is_empty() {
            return Err(BadKeySource::Empty);
        }
        if PrivateKey::is_shown_in(text) {
            return Err(BadKeySource::Secret);
        }
        if let Some(name) = text.strip_prefix("env:") {
            let named = (!name.is_empty()).then(|| Self::Environment(name.to_owned()));
            return named.ok_or(BadKeySource::Empty);
        }
        if let Some(number) = text.strip_prefix("fd:") {
            return number.parse().map(Self::Descriptor).map_err(|_| BadKeySource::Descriptor);
        }
        if let Some(entry) = text.strip_prefix("keyring:") {
            return in_keyring(entry);
        }
        Ok(Self::File(text.into()))
    }
}

#[cfg(feature = "keyring")]
fn in_keyring(entry: &str) -> Result<KeySource, BadKeySource> {
    match entry.split_once('/') {
        Some((service, user)) if !service.is_empty() && !user.is_empty() => {
            Ok(KeySource::Keyring { service: service.to_owned(), user: user.to_owned() })
        }
        _ => Err(BadKeySource::Keyring),
    }
}

#[cfg(not(feature = "keyring"))]
const fn in_keyring(_: &str) -> Result<KeySource, BadKeySource> {
    Err(BadKeySource::NoKeyring)
}

impl<P: AsRef<Path> + ?Sized> From<&P> for KeySource {
    /// A file, whatever its name is.
    fn from(path: &P) -> Self {
        Self::File(path.as_ref().to_owned())
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the key file {}", path.display()),
            Self::Environment(name) => write!(f, "the key in the environment variable {name}"),
            Self::Descriptor(number) => write!(f, "the key of descriptor {number}"),
            #[cfg(feature = "keyring")]
            Self::Keyring { service, user } => {
                write!(f, "the key of {user} for {service} in the keyring")
            }
        }
    }
}

fn read_file(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Room for any key at once: a growing buffer leaves copies of its content behind.
    let mut content = Zeroizing::new(Vec::with_capacity(128 * 1024));
    file.take(MOST.saturating_add(1)).read_to_end(&mut content)?;
    Ok((content, metadata))
}

/// An error of the keyring without the secret that some of its variants hold.
#[cfg(feature = "keyring")]
fn keyring_error(error: &keyring_core::Error) -> io::Error {
    use keyring_core::Error;
    match error {
        Error::NoEntry => io::Error::new(io::ErrorKind::NotFound, "the keyring has no such entry"),
        Error::NoDefaultStore => io::Error::other(
            "no keyring is chosen; the program has to call keyring_core::set_default_store first",
        ),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            io::Error::new(io::ErrorKind::InvalidData, "the keyring's entry is damaged")
        }
        error => io::Error::other(error.to_string()),
    }
}

/// Whether others than its owner may do anything with a file.
#[cfg(unix)]
fn is_open(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.is_file() && metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open(_: &Metadata) -> bool {
    false
}
