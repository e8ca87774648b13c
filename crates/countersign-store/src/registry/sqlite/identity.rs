use std::path::{Path, PathBuf};

use super::file::FileError;

/// Which file a registry was opened in, whatever lies at its path later.
///
/// A program goes on reading and writing a file that was removed, or that another was moved over. It would miss every later
/// change, revocations too, and confirm changes that nobody else ever sees.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    path: PathBuf,
    #[cfg(unix)]
    device_and_inode: (u64, u64),
}

impl Identity {
    /// Takes the file that is at this path now.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        #[cfg(unix)]
        let device_and_inode = device_and_inode(path).map_err(FileError::CannotOpen)?;
        Ok(Self {
            path: path.to_owned(),
            #[cfg(unix)]
            device_and_inode,
        })
    }

    /// Refuses to go on if the file is no longer at its path.
    pub(super) fn require_in_place(&self) -> Result<(), FileError> {
        #[cfg(unix)]
        let is_in_place =
            device_and_inode(&self.path).is_ok_and(|found| found == self.device_and_inode);
        // An open file can be neither removed nor replaced there.
        #[cfg(not(unix))]
        let is_in_place = self.path.exists();
        if is_in_place { Ok(()) } else { Err(FileError::Replaced) }
    }
}

#[cfg(unix)]
fn device_and_inode(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}
