use std::process::Stdio;

use crate::desk::Desk;

const TEXT: &str = "mhxU8L59KGPgfxuTxdimTuJxDJ9bOEat8Z4nwItdajQ=";
const ID: &str = "78f7663650a8e940\n";

#[test]
fn a_master_key_is_made_for_its_owner_alone_and_never_overwritten() {
    let desk = Desk::new();
    let generate = |file| desk.run(["master-key", "generate", "--out", file]);
    let made = generate("registry.master");
    assert!(made.stderr.contains("registry.master opens every secret"), "{made:?}");
    let id = made.done();
    let text = desk.read("registry.master");
    assert!(!id.contains(text.trim()), "{id}");
    assert_eq!((desk.mode("registry.master"), text.len()), (0o600, 45));
    assert_eq!(desk.run(["master-key", "show", "registry.master"]).done(), id);
    generate("registry.master").failed(1, "registry.master exists", "--out");
    assert_eq!(desk.read("registry.master"), text);
    assert_ne!(generate("other.master").done(), id);
    generate("no/such/folder").failed(1, "cannot create", "directory");
    generate("-").failed(1, "not written to stdout", "./-");

    let json = desk.run(["master-key", "generate", "--json"]).done();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["file"], "countersign.master");
    let shown = desk.run(["master-key", "show", "countersign.master", "--json"]).done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["id"], shown["id"]);
}

#[test]
fn a_master_key_comes_from_a_file_a_variable_a_descriptor_or_stdin() {
    let desk = Desk::new().variable("MASTER", TEXT);
    desk.write("registry.master", format!("{TEXT}\n"), 0o400);
    for source in ["registry.master", "./registry.master", "env:MASTER"] {
        assert_eq!(desk.run(["master-key", "show", source]).done(), ID, "{source}");
    }
    assert_eq!(desk.run_with(["master-key", "show", "-"], TEXT.as_bytes()).done(), ID);
    let mut shell = desk.command("sh");
    let run = "exec \"$1\" master-key show fd:9 9< registry.master";
    shell.args(["-c", run, "sh", env!("CARGO_BIN_EXE_countersign")]).stderr(Stdio::inherit());
    assert_eq!(shell.output().unwrap().stdout, ID.as_bytes());
    let openssl = desk.command("openssl").args(["rand", "-base64", "32"]).output().unwrap();
    desk.run_with(["master-key", "show", "-"], &openssl.stdout).done();
    let desk = desk.variable("COUNTERSIGN_MASTER_KEY", TEXT);
    assert_eq!(desk.run(["master-key", "show"]).done(), ID);
}

#[test]
fn a_source_without_a_master_key_is_told_in_one_line_and_shows_nothing_of_it() {
    let desk = Desk::new().variable("HEX", &"9a1c54f0be7d2863".repeat(4));
    let show = |source| desk.run(["master-key", "show", source]);
    desk.run(["master-key", "show"]).failed(1, "COUNTERSIGN_MASTER_KEY is not set", "name the");
    show("none").failed(1, "cannot read the master key from none: No such file", "generate");
    show(".").failed(1, "cannot read the master key from .: Is a directory", "name the");
    show("fd:99").failed(1, "descriptor 99", "9< FILE");
    show("fd:x").failed(1, "the number of a descriptor", "fd:N");
    show("env:").failed(1, "the name of a variable", "env:NAME");
    show("").failed(1, "empty", "name a file");
    show("env:HEX").failed(1, "HEX holds no master key: it is written in hex", "xxd -r -p");
    for mode in [0o440, 0o604, 0o620] {
        desk.write("open", TEXT, 0o600);
        desk.set_mode("open", mode);
        show("open").failed(1, "open is", "run `chmod 600 open`");
        assert_eq!(
            desk.run_with(["master-key", "show", "-"], desk.read("open").as_bytes()).done(),
            ID
        );
    }
    let table = [
        ("", "it is empty", "copy it again"),
        (&TEXT[..40], "it has 40 characters", "44 characters"),
        (&TEXT.replace('9', "_"), "its character 8 cannot stand there", "copy it again"),
        (&format!("{TEXT}\n{TEXT}"), "several lines", "one line"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "it can be guessed", "make a random one"),
        (
            "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8",
            "it is the private key of a caller",
            "name the master key's file",
        ),
    ];
    for (text, error, hint) in table {
        desk.write("wrong", text, 0o600);
        let refused = show("wrong");
        assert!(text.is_empty() || !refused.stderr.contains(text), "{refused:?}");
        refused.failed(1, error, hint);
    }
}

#[test]
fn a_master_key_on_the_command_line_is_not_said_again() {
    let desk = Desk::new();
    let hex = "9a1c54f0be7d2863".repeat(4);
    for arguments in [["master-key", "show", TEXT].as_slice(), &["master-key", "show", &hex]] {
        let refused = desk.run(arguments);
        assert!(!refused.stderr.contains(arguments[2]), "{refused:?}");
        refused.failed(1, "a key on the command line can be read", "COUNTERSIGN_MASTER_KEY");
    }
}
