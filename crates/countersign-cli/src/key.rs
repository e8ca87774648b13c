mod add;
mod change;
mod key_arg;
mod list;
mod restrict;
mod restriction_args;
mod revoke;
mod rewrap;
mod scope;
mod show;

use clap::{Args, Subcommand};

use self::{
    add::Add, list::List, restrict::Restrict, revoke::Revoke, rewrap::Rewrap, scope::Scope,
    show::Show,
};
use crate::{
    failure::{Exit, Failure},
    registry_args::RegistryArgs,
};

/// Keys: the credentials of applications
#[derive(Args, Debug)]
pub(crate) struct Key {
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Box<Add>),
    List(List),
    Show(Show),
    Scope(Scope),
    Restrict(Restrict),
    Revoke(Revoke),
    Rewrap(Rewrap),
}

impl Key {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { registry, command } = self;
        match command {
            Command::Add(add) => add.run(&registry),
            Command::List(list) => list.run(&registry),
            Command::Show(show) => show.run(&registry),
            Command::Scope(scope) => scope.run(&registry),
            Command::Restrict(restrict) => restrict.run(&registry),
            Command::Revoke(revoke) => revoke.run(&registry),
            Command::Rewrap(rewrap) => return rewrap.run(&registry),
        }?;
        Ok(Exit::Done)
    }
}
