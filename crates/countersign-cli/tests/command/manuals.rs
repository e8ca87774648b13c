use std::{fs, process::Stdio};

use crate::desk::Desk;

#[test]
fn each_shell_completes_every_subcommand() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.run(["completions", shell]).done();
        for word in ["doctor", "keygen", "passphrase-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    desk.write("countersign.bash", desk.run(["completions", "bash"]).done(), 0o644);
    let asked = "source countersign.bash; COMP_WORDS=(countersign doc); COMP_CWORD=1; _countersign countersign doc countersign; echo ${COMPREPLY[@]}";
    let bash = desk.command("bash").args(["-c", asked]).stderr(Stdio::inherit()).output().unwrap();
    assert_eq!(String::from_utf8(bash.stdout).unwrap(), "doctor\n");
    desk.run(["completions", "tcsh"]).failed(1, "tcsh", "completions --help");
}

#[test]
fn each_subcommand_has_a_manual_page() {
    let desk = Desk::new();
    let page = desk.run(["man"]).done();
    assert!(page.contains(".TH ") && page.contains("doctor"), "{page}");
    fs::create_dir(desk.path("man1")).unwrap();
    desk.run(["man", "--out", "man1"]).done();
    for name in ["countersign", "countersign-sign", "countersign-key-add", "countersign-doctor"] {
        let page = desk.read(&format!("man1/{name}.1"));
        assert!(page.contains(&name.replace('-', r"\-")) || page.contains(name), "{name}: {page}");
        assert!(page.contains(".SH OPTIONS") || page.contains(".SH SUBCOMMANDS"), "{name}");
    }
    desk.run(["man", "--out", "none"]).failed(1, "none", "name a folder");
}

#[cfg(feature = "plot")]
#[test]
fn the_reference_of_the_book_is_the_help_of_the_command() {
    let page = Desk::new().run(["man", "--markdown"]).done();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/command.md");
    let in_book = fs::read_to_string(file).unwrap();
    let differs = page.lines().zip(in_book.lines()).find(|(line, other)| line != other);
    assert!(
        page == in_book,
        "docs/reference/command.md is stale, at {differs:?}: run \
         `cargo run -p countersign-cli -- man --markdown > docs/reference/command.md`"
    );
}
