use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use crate::failure::Failure;

/// Creates the file that `--out` names, with a mode. After an error no part of it is left.
pub(crate) fn create(path: &Path, mode: u32, content: &[u8]) -> Result<(), Failure> {
    let mut file = open_new(path, mode).map_err(|error| {
        let path = path.display();
        match error.kind() {
            ErrorKind::AlreadyExists => Failure::local(
                format!("{path} exists and is not overwritten"),
                "name another file with --out, or move that one away",
            ),
            _ => Failure::local(
                format!("cannot create {path}: {error}"),
                "name a file in a directory that exists and is yours with --out",
            ),
        }
    })?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|error| {
        drop(fs::remove_file(path));
        Failure::local(
            format!("cannot write {}: {error}", path.display()),
            "make room on the disk, or name a file elsewhere with --out",
        )
    })
}

fn open_new(path: &Path, mode: u32) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _: u32 = mode;
    options.open(path)
}
