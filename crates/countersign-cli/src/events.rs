mod filter;
mod list;
mod shown;
mod tail;

use clap::{Args, Subcommand};

use self::{list::List, tail::Tail};
use crate::{
    failure::{Exit, Failure},
    registry_args::{ReadArgs, RegistryArgs},
};

/// Events: signs of a stolen or forged key
///
/// Servers that count usage raise them. docs/how-to/see-usage.md ("Events") says what each kind means, and which of them a stranger can
/// cause.
#[derive(Args, Debug)]
pub(crate) struct Events {
    #[command(flatten)]
    read: ReadArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Tail(Tail),
}

impl Events {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { read, command } = self;
        let registry = RegistryArgs::from(read);
        match command {
            Command::List(list) => list.run(&registry),
            Command::Tail(tail) => tail.run(&registry),
        }?;
        Ok(Exit::Done)
    }
}
