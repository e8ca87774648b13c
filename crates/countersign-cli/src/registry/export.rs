use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    failure::{Exit, Failure},
    output::print,
    registry_args::RegistryArgs,
};

/// Prints the applications and keys of a registry as TOML
///
/// Sorted, an item a line, and the same for the same content. It holds public halves alone: an HMAC secret is named by
/// its publishable key. Comments of an earlier file are not kept.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// Write to this file, and replace it if it exists [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<Exit, Failure> {
        let text = registry.ask(async |registry| registry.export().await)?;
        match self.out {
            None => print(text)?,
            Some(file) => replace(&file, text.as_bytes()).map_err(|error| {
                Failure::local(
                    format!("cannot write {}: {error}", file.display()),
                    "name a file in a directory that exists and is yours with --out, and make room on its disk",
                )
            })?,
        }
        Ok(Exit::Done)
    }
}

/// Replaces a file as a whole: a reader finds the old content or the new one.
fn replace(file: &Path, content: &[u8]) -> std::io::Result<()> {
    // Replaces the file itself, not a link to it.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".countersign-export-");
    #[cfg(unix)]
    builder.permissions(match fs::metadata(&file) {
        Ok(replaced) => replaced.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o666),
    });
    let mut new = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    Ok(())
}
