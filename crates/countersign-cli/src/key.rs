mod add;
mod change;
mod due;
mod key_arg;
mod limit_args;
mod list;
mod new_key_arg;
mod own_key_args;
mod prune;
mod quarantine;
mod replace;
mod restrict;
mod restriction_args;
mod revoke;
mod revoke_own;
mod rewrap;
mod rotate;
mod scope;
mod set;
mod show;

use clap::{Args, Subcommand};

use self::{
    add::Add,
    due::Due,
    list::List,
    prune::Prune,
    quarantine::{Quarantine, Release},
    replace::Replace,
    restrict::Restrict,
    revoke::Revoke,
    revoke_own::RevokeOwn,
    rewrap::Rewrap,
    rotate::Rotate,
    scope::Scope,
    set::Set,
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
    List(Box<List>),
    Show(Show),
    Set(Box<Set>),
    Scope(Scope),
    Restrict(Restrict),
    Replace(Box<Replace>),
    Due(Due),
    Quarantine(Quarantine),
    Release(Release),
    Revoke(Revoke),
    RevokeOwn(RevokeOwn),
    Rotate(Rotate),
    Rewrap(Rewrap),
    Prune(Prune),
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
            Command::Set(set) => set.run(&registry),
            Command::Replace(replace) => replace.run(&registry),
            Command::Due(due) => return due.run(&registry),
            Command::Quarantine(quarantine) => quarantine.run(&registry),
            Command::Release(release) => release.run(&registry),
            Command::Prune(prune) => prune.run(&registry),
            Command::Revoke(revoke) => revoke.run(&registry),
            Command::RevokeOwn(revoke) => revoke.run(&registry),
            Command::Rotate(rotate) => rotate.run(&registry),
            Command::Rewrap(rewrap) => return rewrap.run(&registry),
        }?;
        Ok(Exit::Done)
    }
}
