use std::{
    fs::Metadata,
    io::{self, Read as _},
    path::Path,
};

use countersign::{KeyError, KeyFile, Passphrase, PrivateKey};
use zeroize::Zeroizing;

use crate::error::Error;

/// The private key in a file that only its owner can read or change.
pub(crate) fn read_private_key(
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<PrivateKey, Error> {
    let unreadable = |source| Error::KeyFile { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    // Room for any key at once: a growing buffer leaves copies of its content behind.
    let mut content = Zeroizing::new(Vec::with_capacity(128 * 1024));
    let most = 64 * 1024 + 1;
    file.by_ref().take(most).read_to_end(&mut content).map_err(unreadable)?;
    let parsed = KeyFile::parse(&content, passphrase);
    let locked = matches!(parsed, Err(KeyError::Encrypted | KeyError::WrongPassphrase));
    if (locked || matches!(parsed, Ok(KeyFile::Private(_)))) && is_open(&metadata) {
        return Err(Error::KeyFileMode { path: path.to_owned() });
    }
    let key = parsed.and_then(KeyFile::into_private);
    key.map_err(|source| Error::Key { path: path.to_owned(), source })
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
