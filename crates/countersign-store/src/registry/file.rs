use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::RegistryError;

/// What a registry calls itself in the header of its file (`PRAGMA application_id`): `cSgn` in ASCII.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"cSgn");

/// The header of a database, and the head of the page that it is in (<https://www.sqlite.org/fileformat2.html>).
const HEADER: usize = 108;

/// What a file is, by its header alone. SQLite is not asked: it would mend and fold in what the program that owns a database
/// has left beside it, before anyone could look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing yet: no bytes, or a database in which nothing was ever made.
    Empty,
    /// A registry.
    Registry,
}

impl Content {
    pub(super) fn of(file: &Path) -> Result<Self, RegistryError> {
        let mut header = Vec::with_capacity(HEADER);
        let opened = File::open(file).and_then(|file| {
            let limit = u64::try_from(HEADER).unwrap_or(0);
            file.take(limit).read_to_end(&mut header)
        });
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => RegistryError::Missing,
            _ => RegistryError::CannotOpen(error),
        })?;
        if header.is_empty() {
            return Ok(Self::Empty);
        }
        let Some(header) = header.first_chunk().and_then(Header::parse) else {
            return Err(RegistryError::Damaged);
        };
        match header.application_id {
            APPLICATION_ID => Ok(Self::Registry),
            0 if header.is_blank() && !has_log(file) => Ok(Self::Empty),
            _ => Err(RegistryError::Foreign),
        }
    }
}

struct Header {
    /// 1 with a rollback journal, 2 with a write-ahead log.
    version: u8,
    pages: u32,
    user_version: u32,
    application_id: u32,
    /// How many entries the schema has in the first page.
    entries: u16,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let u32_at =
            |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let entries = bytes.get(103..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        bytes.starts_with(b"SQLite format 3\0").then_some(())?;
        Some(Self {
            version: *bytes.get(19)?,
            pages: u32_at(28)?,
            user_version: u32_at(60)?,
            application_id: u32_at(68)?,
            entries,
        })
    }

    /// With a write-ahead log, the header would not be ours as soon as the registry is made.
    const fn is_blank(&self) -> bool {
        self.version == 1 && self.pages == 1 && self.user_version == 0 && self.entries == 0
    }
}

/// Whether there is a log beside the file, in which there may be more than in the file.
fn has_log(file: &Path) -> bool {
    ["-wal", "-journal"].iter().any(|suffix| {
        let mut log = file.as_os_str().to_owned();
        log.push(suffix);
        !matches!(Path::new(&log).try_exists(), Ok(false))
    })
}

/// The file of `sqlite:FILE`.
pub(super) fn of_url(url: &str) -> Result<PathBuf, RegistryError> {
    let file = url.strip_prefix("sqlite:").ok_or(RegistryError::UnsupportedUrl)?;
    match file.strip_prefix("//").unwrap_or(file) {
        "" | ":memory:" => Err(RegistryError::UnsupportedUrl),
        // SQLite takes such a name for a URI, and another file than the one that is checked here.
        file if file.starts_with("file:") => Err(RegistryError::UnsupportedUrl),
        file => Ok(file.into()),
    }
}

/// Makes the file if there is none: readable by its owner alone.
pub(super) fn create(file: &Path) -> Result<(), RegistryError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        opened => opened.map(drop).map_err(RegistryError::CannotOpen),
    }
}

/// Refuses a file that others can read or write, as far as the system tells.
pub(super) fn require_private(file: &Path) -> Result<(), RegistryError> {
    let mode = mode(file).map_err(RegistryError::CannotOpen)?;
    if mode & 0o077 == 0 { Ok(()) } else { Err(RegistryError::Exposed) }
}

#[cfg(unix)]
fn mode(file: &Path) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(file)?.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> io::Result<u32> {
    Ok(0)
}
