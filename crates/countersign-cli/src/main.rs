//! The `countersign` command: keys, signing, verifying, the registry of applications, and the service that protects others.

mod actor;
mod app;
mod application;
mod audit;
mod completions;
mod credential;
mod curl;
mod doctor;
mod duration_arg;
mod environment;
mod events;
mod explain;
mod failure;
mod field_type_arg;
#[cfg(test)]
mod hints;
mod input;
mod key;
mod key_source;
mod keygen;
mod man;
mod master_key;
mod master_key_args;
mod master_key_source;
mod moment;
mod new_file;
mod output;
mod pages;
mod printable;
mod progress;
mod pubkey;
mod random;
mod registry;
mod registry_args;
mod request;
mod scan;
#[cfg(unix)]
mod serve;
mod shell;
mod sign;
mod table;
mod usage;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use self::failure::{Exit, Failure};

/// Makes keys, signs and verifies HTTP requests (RFC 9421), runs curl signed, and registers applications
///
/// Data goes to stdout, messages go to stderr. An error is one line `error: …`; a second line `hint: …` has the remedy.
/// Give a private key as a file of mode 600, in COUNTERSIGN_KEY or by a file descriptor, never as an argument.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  wrong usage, or a fault on this machine; a private key was found (`scan`)
  2  the server, the network, or the server of a registry's database failed
  3  refused by the server (401, 403), or not verified: a signature, or an audit log (`audit verify`)
  4  limited by the server (429)
  5  a registry differs from a text (`registry diff`, `registry apply --dry-run`), or keys are due to be replaced (`key due`)
The help of a subcommand has its own exit codes, where they say more.";

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Keygen),
    Pubkey(pubkey::Pubkey),
    Sign(sign::Sign),
    Curl(curl::Curl),
    Verify(verify::Verify),
    Explain(explain::Explain),
    App(app::App),
    Key(key::Key),
    Usage(usage::Usage),
    Events(events::Events),
    Audit(audit::Audit),
    Registry(registry::Registry),
    MasterKey(master_key::MasterKey),
    Scan(scan::Scan),
    #[cfg(unix)]
    Serve(serve::Serve),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Keygen(command) => command.run(),
            Command::Pubkey(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Curl(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::App(command) => command.run(),
            Command::Key(command) => command.run(),
            Command::Usage(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Registry(command) => command.run(),
            Command::MasterKey(command) => command.run(),
            Command::Scan(command) => command.run(),
            #[cfg(unix)]
            Command::Serve(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Completions(command) => command.run(Cli::command()),
            Command::Man(command) => command.run(Cli::command()),
        },
        Err(error) => help_or_usage(&error),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::fail(&failure);
            failure.exit.into()
        }
    }
}

/// Turns an error of clap into an error of this command. Help and version are data; everything else is wrong usage.
fn help_or_usage(error: &clap::Error) -> Result<Exit, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(error.render().to_string())?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let hint = format!("run `{} --help`", asked_command());
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::local("a subcommand is missing", hint));
    }
    let text = error.render().to_string();
    let said = text.split("\n\n").next().unwrap_or(&text);
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    Err(Failure::local(said, hint))
}

/// Returns the subcommands at the beginning of the arguments, such as `countersign key add`.
fn asked_command() -> String {
    let mut name = "countersign".to_owned();
    let mut command = Cli::command();
    for argument in std::env::args_os().skip(1) {
        let Some(subcommand) = argument.to_str().and_then(|word| command.find_subcommand(word))
        else {
            break;
        };
        name.push(' ');
        name.push_str(subcommand.get_name());
        command = subcommand.clone();
    }
    name
}
