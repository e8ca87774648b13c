use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

/// An error of the file of a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file does not exist.
    #[error("there is no registry file")]
    Missing,
    /// The file is empty: it never was a registry, or another process is creating the registry.
    #[error("the registry file is empty")]
    Empty,
    /// The file is an SQLite database of another program.
    #[error("the file is a database of another program")]
    Foreign,
    /// The file is a damaged SQLite database, or a file of another kind.
    #[error("the registry file is damaged, or no SQLite database")]
    Damaged,
    /// Other users can read or write the registry, and it holds HMAC secrets or is about to receive one.
    #[error("the registry is readable by other users, and HMAC secrets lie in it as they are")]
    Exposed {
        /// The files that other users can open: the registry's own file, and the files that SQLite keeps beside it.
        files: Vec<PathBuf>,
    },
    /// The file cannot be opened or created: its folder does not exist, or a permission is missing.
    #[error("the registry file cannot be opened")]
    CannotOpen(#[source] io::Error),
    /// Another process has locked the database.
    #[error("the registry is locked by another process")]
    Locked,
    /// The file, its folder or its file system is read-only.
    #[error("the registry is read-only")]
    ReadOnly,
    /// The disk is full.
    #[error("there is no room left on the registry's disk")]
    DiskFull,
    /// Since the registry was opened, its file was removed, or another was moved to its path. This program has the old one open.
    #[error("the registry file was removed or replaced while it was open")]
    Replaced,
}

/// The application id in the header of a registry's file (`PRAGMA application_id`): `cSgn` in ASCII.
pub(crate) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"cSgn");

/// Length of the header of a database and of the page header after it (<https://www.sqlite.org/fileformat2.html>), in bytes.
const HEADER: usize = 108;

/// The content of a file, read from its header alone. SQLite itself would first recover and fold in the journal or log that
/// the database's own program left beside it, before this check could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing yet: no bytes, or a database in which nothing was ever made.
    Empty,
    /// A registry.
    Registry,
}

impl FileKind {
    pub(crate) fn of(file: &Path) -> Result<Self, FileError> {
        let mut header = Vec::with_capacity(HEADER);
        let opened = File::open(file).and_then(|file| {
            let limit = u64::try_from(HEADER).unwrap_or(0);
            file.take(limit).read_to_end(&mut header)
        });
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => FileError::Missing,
            _ => FileError::CannotOpen(error),
        })?;
        if header.is_empty() {
            return Ok(Self::Empty);
        }
        let Some(header) = header.first_chunk().and_then(Header::parse) else {
            return Err(FileError::Damaged);
        };
        match header.application_id {
            APPLICATION_ID => Ok(Self::Registry),
            0 if header.is_blank() && !has_log(file) => Ok(Self::Empty),
            _ => Err(FileError::Foreign),
        }
    }
}

struct Header {
    /// 1 for a rollback journal, 2 for a write-ahead log.
    version: u8,
    pages: u32,
    user_version: u32,
    application_id: u32,
    /// Number of schema entries in the first page.
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

    /// Whether the database was never used. A file with a write-ahead log is not blank: its header would not become a
    /// registry's as soon as the registry is made.
    const fn is_blank(&self) -> bool {
        self.version == 1 && self.pages == 1 && self.user_version == 0 && self.entries == 0
    }
}

/// Whether a log or a journal lies beside the file, with data that the file may lack.
fn has_log(file: &Path) -> bool {
    [WAL, JOURNAL]
        .iter()
        .any(|suffix| !matches!(beside(file, suffix).and_then(|log| log.try_exists()), Ok(false)))
}

const WAL: &str = "-wal";
const SHM: &str = "-shm";
const JOURNAL: &str = "-journal";

/// Returns a file that SQLite keeps beside a database. If `file` is a link, the path is beside its target.
fn beside(file: &Path, suffix: &str) -> io::Result<PathBuf> {
    let mut name = fs::canonicalize(file)?.into_os_string();
    name.push(suffix);
    Ok(name.into())
}

/// Creates the file, readable by its owner alone, unless it exists.
pub(crate) fn create(file: &Path) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        opened => opened.map(drop).map_err(FileError::CannotOpen),
    }
}

/// Returns the files of a registry that other users can read or write, as far as the system tells: the registry's own file,
/// and the files that SQLite keeps beside it while it is open.
pub(crate) fn exposed(file: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut exposed = Vec::new();
    if mode(file).map_err(FileError::CannotOpen)? & OTHERS != 0 {
        exposed.push(file.to_owned());
    }
    for suffix in [WAL, SHM, JOURNAL] {
        let beside = beside(file, suffix).map_err(FileError::CannotOpen)?;
        match mode(&beside) {
            Ok(mode) if mode & OTHERS != 0 => exposed.push(beside),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(FileError::CannotOpen(error));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(exposed)
}

/// Takes from other users the right to open the files of a registry, and returns the files that they could open. A program
/// that has a file open already goes on reading it.
///
/// The registry's own file comes first: SQLite gives new files beside it the same mode.
pub(crate) fn close(file: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut closed = Vec::new();
    // The second pass finds files that SQLite made in the meantime.
    for _ in 0..2 {
        for exposed in exposed(file)? {
            if close_one(&exposed).is_ok() && !closed.contains(&exposed) {
                closed.push(exposed);
            }
        }
    }
    let files = exposed(file)?;
    if files.is_empty() { Ok(closed) } else { Err(FileError::Exposed { files }) }
}

/// The permission bits of the group and of everyone else.
const OTHERS: u32 = 0o077;

#[cfg(unix)]
fn close_one(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = match fs::metadata(file) {
        // SQLite has removed the file.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?.permissions(),
    };
    permissions.set_mode(permissions.mode() & !OTHERS);
    match fs::set_permissions(file, permissions) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        set => set,
    }
}

#[cfg(not(unix))]
fn close_one(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn mode(file: &Path) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(file)?.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> io::Result<u32> {
    Ok(0)
}
