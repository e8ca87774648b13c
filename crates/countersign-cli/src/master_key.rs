mod generate;
mod show;

use clap::{Args, Subcommand};

use self::{generate::Generate, show::Show};
use crate::failure::{Exit, Failure};

/// The master key: it seals the HMAC secrets in a registry
#[derive(Args, Debug)]
pub(crate) struct MasterKey {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Generate),
    Show(Show),
}

impl MasterKey {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Generate(generate) => generate.run(),
            Command::Show(show) => show.run(),
        }?;
        Ok(Exit::Done)
    }
}
