use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::{
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
    pub(crate) fn run(self, mut command: Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "countersign", &mut script);
        print(script)?;
        Ok(Exit::Done)
    }
}
