use std::path::PathBuf;

use clap::Args;
use countersign_store::MasterKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    new_file::create,
    output::{note, print_line},
    random,
    shell::quote,
};

/// Makes a master key: FILE (mode 600) with the base64 of 32 random bytes in a line
///
/// Prints the id of the master key. The file is never overwritten. Keep a copy of it, apart from the backups of the
/// registry: without it its HMAC secrets are lost.
#[derive(Args, Debug)]
pub(super) struct Generate {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "countersign.master")]
    out: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.out.as_os_str() == "-" {
            return Err(Failure::local(
                "a master key is not written to stdout",
                "name a file with --out; `./-` is one of that name",
            ));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        random::fill(&mut *bytes)?;
        let key = MasterKey::new(&bytes).map_err(|error| {
            Failure::local(
                format!("the system's random bytes are no master key: {error}"),
                "try again; if it stays so, the random source of this machine is broken",
            )
        })?;
        // Reserved whole: a growing text would leave a copy behind.
        let mut line = Zeroizing::new(String::with_capacity(256));
        line.push_str(&key.expose_text());
        line.push('\n');
        create(&self.out, 0o600, line.as_bytes())?;
        let file = self.out.display().to_string();
        let printed = match self.json {
            true => print_line(json!({ "id": key.id().to_string(), "file": file })),
            false => print_line(key.id()),
        };
        printed.map_err(|failure| {
            let file = quote(&file);
            failure.with_hint(format_args!(
                "the master key was made; `countersign master-key show {file}` prints its id"
            ))
        })?;
        note(format_args!(
            "{file} opens every secret that it seals: keep a copy of it, apart from the backups of the registry"
        ));
        Ok(())
    }
}
