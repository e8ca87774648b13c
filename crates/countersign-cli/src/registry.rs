mod apply;
mod diff;
mod export;
mod planned;

use clap::{Args, Subcommand};

use self::{apply::Apply, diff::Diff, export::Export};
use crate::{
    failure::{Exit, Failure},
    registry_args::RegistryArgs,
};

/// A registry as text: a TOML file for version control
#[derive(Args, Debug)]
pub(crate) struct Registry {
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(Export),
    Diff(Diff),
    Apply(Apply),
}

impl Registry {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { registry, command } = self;
        match command {
            Command::Export(export) => export.run(&registry),
            Command::Diff(diff) => diff.run(&registry),
            Command::Apply(apply) => apply.run(&registry),
        }
    }
}
