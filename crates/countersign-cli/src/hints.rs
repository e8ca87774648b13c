//! Checks that every command and option in a message exists. The test reads the messages from the source.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};

use crate::Cli;

/// Returns the commands that print the messages of a file. A message that names its command is checked for that
/// command.
fn commands_of(file: &str, text: &str) -> &'static [&'static str] {
    match file {
        // Only commands with `--key` read the variable.
        "key_source.rs" if text.contains("KEY_VARIABLE") || text.contains("COUNTERSIGN_KEY") => {
            &["sign", "curl", "verify", "explain"]
        }
        "key_source.rs" if text.starts_with("--key:") => &["sign", "curl", "verify", "explain"],
        "key_source.rs" if text.contains("two keys") || text.contains("--cert") => &["curl"],
        "keygen.rs" => &["keygen"],
        "new_file.rs" => &["keygen", "master-key generate"],
        "master_key/generate.rs" => &["master-key generate"],
        "master_key_source.rs" | "master_key.rs" | "master_key/show.rs" => &["master-key show"],
        "pubkey.rs" => &["pubkey"],
        "sign.rs" => &["sign"],
        file if file.starts_with("explain") => &["explain"],
        "audit/list.rs" => &["audit list"],
        "audit.rs" | "audit/verify.rs" => &["audit verify"],
        "audit/export.rs" => &["audit export"],
        "registry/export.rs" => &["registry export"],
        "registry.rs" => &["registry apply"],
        file if file.starts_with("registry/") => &["registry apply"],
        "actor.rs" => &["app add"],
        "app/list.rs" => &["app list"],
        file if file.starts_with("app") => &["app add"],
        "key/restrict.rs" => &["key restrict"],
        "key/list.rs" => &["key list"],
        "key/rotate.rs" => &["key rotate"],
        "key/revoke_own.rs" => &["key revoke-own"],
        "key/own_key_args.rs" => &["key rotate", "key revoke-own"],
        "scan.rs" => &["scan"],
        file if file.starts_with("scan/") => &["scan"],
        "key/rewrap.rs" => &["key rewrap"],
        "master_key_args.rs" => &["app add", "key add", "key rewrap"],
        "key/new_key_arg.rs" => &["key add", "key replace"],
        "key/prune.rs" => &["key prune"],
        "key/replace.rs" => &["key replace"],
        "key/set.rs" => &["key set"],
        "pages.rs" => &["key list", "app list"],
        "key/restriction_args.rs" => &["key add", "key restrict"],
        "credential.rs" => &["key add"],
        file if file.starts_with("key/") => &["key add"],
        // Its place is one of a list.
        "registry_args.rs" if text.contains("--after") => &["app list", "key list"],
        "registry_args.rs" if text.contains("--step") => &["usage"],
        "registry_args.rs" => &["app add", "app list", "key add", "key list", "key revoke"],
        file if file.starts_with("request") => &["sign", "curl"],
        "input.rs" => &["sign", "curl"],
        "key_source.rs" => &["sign", "curl", "verify", "pubkey", "key add"],
        "serve/config.rs" => &["serve config"],
        "serve/reload.rs" => &["serve reload"],
        file if file.starts_with("serve") => &["serve"],
        "completions.rs" => &["completions"],
        "man.rs" | "man/markdown.rs" => &["man"],
        file if file.starts_with("doctor") => &["doctor"],
        "progress.rs" | "environment.rs" | "failure.rs" | "main.rs" | "random.rs" | "output.rs"
        | "shell.rs" | "table.rs" | "field_type_arg.rs" | "duration_arg.rs" => &["sign"],
        "moment.rs" => &["key set", "key replace"],
        // A piece of a `countersign sign …`.
        "curl/response.rs" if text.starts_with(" --component") => &["sign"],
        file if file.starts_with("curl") => &["curl"],
        "usage/declared_routes.rs" => &["usage routes"],
        "usage/plot.rs" => &["usage plot"],
        "usage/routes.rs" => &["usage routes"],
        file if file.starts_with("usage") => &["usage"],
        file if file.starts_with("events") => &["events tail"],
        file if file.starts_with("verify") => &["verify", "explain"],
        other => panic!("which commands print what is in {other}?"),
    }
}

#[test]
fn no_message_names_a_command_or_an_option_that_is_not_there() {
    let cli = Cli::command();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in rust_files(&sources) {
        let name = file.strip_prefix(&sources).unwrap().to_str().unwrap().to_owned();
        if name == "hints.rs" {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        for text in messages(&source) {
            // The lines around a key in PEM form.
            if text.starts_with("-----") {
                continue;
            }
            seen += 1;
            let (commands, rest) = quoted_commands(&text);
            for command in commands {
                wrong.extend(
                    check_command(&cli, &command).map(|why| format!("{name}: {why}: {text}")),
                );
            }
            let options: Vec<_> = options(&rest).collect();
            for option in options {
                for command in commands_of(&name, &text) {
                    if !has_option(&cli, command, option) {
                        wrong.push(format!("{name}: {command} has no {option}: {text}"));
                    }
                }
            }
        }
    }
    assert!(seen > 200, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_or_an_option_that_is_not_there_is_found() {
    let cli = Cli::command();
    for (text, found) in [
        ("countersign sign --format http", false),
        ("countersign key add --app NAME --public-key FILE.pub", false),
        ("countersign key list --app {}", false),
        ("countersign app list{again}", false),
        ("countersign app lost{again}", true),
        ("countersign key lost", true),
        ("countersign lost", true),
        ("countersign pubkey --key FILE", true),
    ] {
        assert_eq!(check_command(&cli, text).is_some(), found, "{text}");
    }
    assert_eq!(
        options("name it with --key, or --no-such: --").collect::<Vec<_>>(),
        ["--key", "--no-such"]
    );
    assert!(
        has_option(&cli, "curl", "--data-binary") && !has_option(&cli, "verify", "--data-binary")
    );
    assert_eq!(
        quoted_commands("run `countersign keygen --out A` or `openssl x --y`, with --z").0,
        ["countersign keygen --out A"]
    );
    let source = "//! `--a`\nf(\"one --b\", 'x', r#\"two \"--c\"\"#); // \"--d\"\n#[cfg(test)]\nmod tests { \"--e\" }";
    assert_eq!(messages(source), ["one --b", "two \"--c\""]);
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns the string literals before a file's tests, without literals in comments and without curl's own arguments.
fn messages(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, here) = rest.split_at(at);
        let raw = before.ends_with("r#");
        rest = if here.starts_with("//") {
            here.split_once('\n').map_or("", |(_, rest)| rest)
        } else if raw {
            let (text, behind) = here[1..].split_once("\"#").unwrap();
            found.push(text.to_owned());
            behind
        } else if let Some(inside) = here.strip_prefix('"') {
            let (text, behind) = literal(inside);
            found.push(text);
            behind
        } else if let Some(behind) = here.strip_prefix("'\"'") {
            behind
        } else if here.starts_with("'\\") {
            // A character with an escape.
            here.get(2..).and_then(|rest| rest.split_once('\'')).map_or("", |(_, rest)| rest)
        } else {
            &here[1..]
        };
    }
    // A single word is a name, or an argument for another program.
    found.retain(|text| text.contains(' '));
    found
}

/// Returns the text of a literal, and the source after it.
fn literal(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = source.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, source.split_at(at).1.strip_prefix('"').unwrap_or_default()),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    (text, "")
}

/// Returns the commands in backquotes that begin with `countersign`, and the text without any command in backquotes.
fn quoted_commands(text: &str) -> (Vec<String>, String) {
    let (mut commands, mut rest) = (Vec::new(), String::new());
    for (at, piece) in text.split('`').enumerate() {
        match at % 2 {
            0 => rest.push_str(piece),
            _ if piece.starts_with("countersign ") => commands.push(piece.to_owned()),
            // A lone option counts as text; any other command belongs to another program.
            _ if piece.starts_with("--") => rest.push_str(piece),
            _ => {}
        }
    }
    (commands, rest)
}

fn check_command(cli: &Command, text: &str) -> Option<String> {
    let mut command = cli;
    let mut path = Vec::new();
    for word in text.split(' ').skip(1) {
        let Some(found) = command.find_subcommand(word) else {
            let word = word.split('{').next().unwrap_or_default();
            if command.find_subcommand(word).is_some() {
                path.push(word);
                break;
            }
            if command.has_subcommands() && !word.starts_with('-') && !word.is_empty() {
                return Some(format!("there is no {word}"));
            }
            break;
        };
        path.push(word);
        command = found;
    }
    let path = path.join(" ");
    let missing = options(text).find(|option| !has_option(cli, &path, option));
    missing.map(|option| format!("{path} has no {option}"))
}

fn has_option(cli: &Command, path: &str, option: &str) -> bool {
    let name = option.trim_start_matches("--");
    if path.starts_with("curl") && crate::curl::knows_flag(name) {
        return true;
    }
    let mut command = cli.clone();
    command.build();
    let mut command = &command;
    for word in path.split(' ').filter(|word| !word.is_empty()) {
        let Some(found) = command.find_subcommand(word) else { return false };
        command = found;
    }
    command.get_arguments().any(|argument| argument.get_long() == Some(name))
}

/// Returns the `--options` in a text. `--allow-…` and `--allow-{kind}` stand for several options, and are skipped.
fn options(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("--").filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        let name: &str = text[at..]
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.')))
            .next()?
            .trim_end_matches('.');
        let begins = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
        let whole = name.len() > 2 && !name.ends_with('-');
        (begins && whole && name != "--flag").then_some(name)
    })
}
