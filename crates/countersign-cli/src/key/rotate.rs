use std::time::Duration;

use clap::Args;
use countersign_client::Rotated;
use serde_json::json;

use super::own_key_args::OwnKeyArgs;
use crate::{duration_arg, failure::Failure, moment, output::note, registry_args::RegistryArgs};

/// Replaces your own key by a new key, at the server and in its file
///
/// Needs no registry and no operator: the server lets the holder of a key replace it, with a request signed by the old
/// key. The new key is in FILE.next until the server has confirmed it; then it takes the place of FILE, in one step,
/// and FILE.pub is written. If this breaks off, run it again: it goes on where it was.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 the file has the new key · 1 wrong usage, or the key file · 2 the server or the network · 3 refused (401, 403, 409) · 4 a limit (429)."
)]
pub(super) struct Rotate {
    #[command(flatten)]
    own: OwnKeyArgs,
    /// For how long the old key stays valid, for programs that have it in memory, like 0, 1h, 24h or 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration_arg::parse)]
    overlap: Duration,
}

impl Rotate {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { own, overlap } = self;
        let rotated = own.ask(async |own| own.overlap(overlap).rotate().await)?;
        let Rotated { new, old, old_ends_at, .. } = &rotated;
        let (file, ends_at) = (own.file(), old_ends_at.map(moment::show));
        registry.print(
            || {
                json!({
                    "publishable_key": new.to_string(),
                    "replaces": old.to_string(),
                    "old_ends_at": ends_at,
                    "file": file.display().to_string(),
                    "public_file": file.with_added_extension("pub").display().to_string(),
                })
            },
            || format!("{new}\n"),
        )?;
        match ends_at {
            Some(ends_at) => note(format_args!(
                "{} has the new key; the old one ends at {ends_at}: have programs that read it before read it again",
                file.display()
            )),
            None => note(format_args!(
                "{} has the new key of an earlier run; the old one has ended",
                file.display()
            )),
        }
        Ok(())
    }
}
