//! The reference of the command as one page of Markdown. docs/reference/command.md is this page.

use std::collections::BTreeSet;

use clap::{Arg, Command};

const HEAD: &str = "\
# The command

`countersign` has a subcommand for each task, and this page lists all of them with their options. In a terminal, `--help` behind a subcommand shows its
part. [Troubleshooting](../troubleshoot/command.md) explains exit codes and common mistakes.

`countersign man --markdown` prints this page. To change it, change the help of an option in the program, and print the page again.
";

/// Returns the page. The command has to be built.
pub(super) fn page(command: &Command) -> String {
    let mut page = HEAD.to_owned();
    let name = command.get_name();
    let links = shown(command).map(|subcommand| {
        let subcommand = subcommand.get_name();
        format!("[`{subcommand}`](#{name}-{subcommand})")
    });
    push_text(&mut page, &links.collect::<Vec<_>>().join(" · "));
    page.push_str(&format!("\n## {name}\n"));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        push_text(&mut page, &about.to_string());
    }
    push_exit_codes(&mut page, command);
    for subcommand in shown(command) {
        push_command(&mut page, subcommand, command.get_name(), &BTreeSet::new());
    }
    page
}

/// Adds the section of a subcommand, then those of its own subcommands.
fn push_command(page: &mut String, command: &Command, parent: &str, inherited: &BTreeSet<String>) {
    let name = format!("{parent} {}", command.get_name());
    page.push_str(&format!("\n## {name}\n"));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        push_text(page, &about.to_string());
    }
    let usage = command.clone().bin_name(&name).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    page.push_str(&format!("\n```text\n{usage}\n```\n"));
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !is_of_clap(argument))
        .collect();
    let own =
        || arguments.iter().filter(|argument| !inherited.contains(argument.get_id().as_str()));
    if own().next().is_some() {
        page.push_str("\n| argument | meaning |\n| --- | --- |\n");
        own().for_each(|argument| page.push_str(&row(argument)));
    }
    if own().count() < arguments.len() {
        page.push_str(&format!("\nAlso takes the options of `{parent}`.\n"));
    }
    push_exit_codes(page, command);
    let global = arguments.iter().filter(|argument| argument.is_global_set());
    let mut inherited = inherited.clone();
    inherited.extend(global.map(|argument| argument.get_id().to_string()));
    for subcommand in shown(command) {
        push_command(page, subcommand, &name, &inherited);
    }
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    let mut subcommands: Vec<_> = command.get_subcommands().collect();
    subcommands.retain(|command| !command.is_hide_set() && command.get_name() != "help");
    subcommands.into_iter()
}

fn is_of_clap(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version")
}

/// Returns the row of an argument, with its variable and its values.
fn row(argument: &Arg) -> String {
    let mut meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let named: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        add(&mut meaning, "Values", &named.join(", "));
    }
    if !argument.is_hide_default_value_set() && argument.get_action().takes_values() {
        let defaults: Vec<_> = argument.get_default_values().iter().collect();
        let defaults: Vec<_> =
            defaults.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            add(&mut meaning, "Default", &defaults.join(", "));
        }
    }
    if let Some(variable) = argument.get_env() {
        add(&mut meaning, "Variable", &format!("`{}`", variable.to_string_lossy()));
    }
    let meaning = meaning.replace('\n', " ").replace('|', "\\|").replace('<', "\\<");
    format!("| `{}` | {meaning} |\n", form(argument).replace('|', "\\|"))
}

fn add(meaning: &mut String, what: &str, value: &str) {
    let end = if meaning.ends_with(['.', '!', '?']) || meaning.is_empty() { "" } else { "." };
    meaning.push_str(end);
    meaning.push_str(&format!(" {what}: {value}"));
}

/// Returns the form in which an argument is written.
fn form(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let values = match argument.get_action().takes_values() {
        true if names.is_empty() => argument.get_id().to_string().to_uppercase(),
        true => names.join(" "),
        false => String::new(),
    };
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let flags: Vec<_> = short.into_iter().chain(long).collect();
    match (flags.is_empty(), values.is_empty()) {
        (true, _) => values,
        (false, true) => flags.join(", "),
        (false, false) => format!("{} {values}", flags.join(", ")),
    }
}

fn push_exit_codes(page: &mut String, command: &Command) {
    if let Some(help) = command.get_after_help() {
        let help = help.to_string();
        match help.contains('\n') {
            true => page.push_str(&format!("\n```text\n{}\n```\n", help.trim_end())),
            false => push_text(page, &help),
        }
    }
}

fn push_text(page: &mut String, text: &str) {
    page.push_str(&format!("\n{}\n", text.trim_end()));
}
