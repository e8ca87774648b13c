use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

use super::error::OwnKeyError;

/// How long to wait for another process. Its requests have time limits, so that it is done by then.
const PATIENCE: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(50);

/// The right to change a key file, which one process has at a time: a lock on `FILE.lock`, which ends with the process.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "the lock is held until the file is closed")] File,
);

impl Lock {
    /// Waits until no other process, and no other task of this one, has the lock.
    pub(super) async fn acquire(key_file: &Path) -> Result<Self, OwnKeyError> {
        let path = key_file.with_added_extension("lock");
        let failed = |source| OwnKeyError::File { path: path.clone(), source };
        let file = open(&path).map_err(failed)?;
        for _ in 0..PATIENCE {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(OwnKeyError::Busy { path })
    }
}

/// The file is never removed: another process could be waiting for its lock.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
