use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{
    Cli,
    failure::{Exit, Failure},
    output::print,
};

/// Prints the completions of this command for a shell
///
/// For bash: `countersign completions bash > ~/.local/share/bash-completion/completions/countersign`. For zsh, write them
/// to a file `_countersign` in a folder of `fpath`; for fish, to `~/.config/fish/completions/countersign.fish`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "countersign", &mut script);
        print(script)?;
        Ok(Exit::Done)
    }
}
