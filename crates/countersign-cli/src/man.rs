mod markdown;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use clap_mangen::Man as Page;

use crate::{
    failure::{Exit, Failure},
    output::print,
};

/// Prints the manual page of this command, or writes the pages of all subcommands
///
/// `countersign man | man -l -` shows the page. `countersign man --out DIR` writes `countersign.1` and a page for each
/// subcommand, such as `countersign-key-add.1`. `countersign man --markdown` prints all pages as one, in Markdown.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder to write all pages into
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print all subcommands and their options as one page of Markdown
    #[arg(long, conflicts_with = "out")]
    markdown: bool,
}

impl Man {
    pub(crate) fn run(self, mut command: Command) -> Result<Exit, Failure> {
        command.build();
        if self.markdown {
            print(markdown::page(&command))?;
            return Ok(Exit::Done);
        }
        match &self.out {
            None => print(page(&command, "countersign")?)?,
            Some(folder) => write_pages(folder, &command, "countersign")?,
        }
        Ok(Exit::Done)
    }
}

fn write_pages(folder: &Path, command: &Command, name: &str) -> Result<(), Failure> {
    let file = folder.join(format!("{name}.1"));
    fs::write(&file, page(command, name)?).map_err(|error| {
        Failure::local(
            format!("cannot write {}: {error}", file.display()),
            "name a folder that exists and is yours to write in",
        )
    })?;
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        if subcommand.get_name() != "help" {
            write_pages(folder, subcommand, &format!("{name}-{}", subcommand.get_name()))?;
        }
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    // Its date would differ in each build.
    let man = Page::new(command.clone()).title(name.to_uppercase()).date("");
    man.render(&mut page).map_err(|error| Failure::cannot_start(&error))?;
    Ok(page)
}
