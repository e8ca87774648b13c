mod add;
mod list;
mod remove;
mod set;
mod show;

use clap::{Args, Subcommand};

use self::{add::Add, list::List, remove::Remove, set::Set, show::Show};
use crate::{
    failure::{Exit, Failure},
    registry_args::RegistryArgs,
};

/// Applications: the programs that call the API; each has keys
#[derive(Args, Debug)]
pub(crate) struct App {
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Show(Show),
    Set(Set),
    Remove(Remove),
}

impl App {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { registry, command } = self;
        match command {
            Command::Add(add) => add.run(&registry),
            Command::List(list) => list.run(&registry),
            Command::Show(show) => show.run(&registry),
            Command::Set(set) => set.run(&registry),
            Command::Remove(remove) => remove.run(&registry),
        }?;
        Ok(Exit::Done)
    }
}
