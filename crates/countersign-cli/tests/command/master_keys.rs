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

/// A desk with a registry that has an HMAC key, `shop.key`, without a master key; and its publishable key.
fn with_plain_secret() -> (Desk, String) {
    let desk = Desk::with_registry();
    let key = desk.run(["keygen", "--alg", "hmac-sha256", "--out", "shop.key"]).done();
    let added = desk.run(["key", "add", "--app", "shop", "--hmac-key", "shop.key"]);
    assert!(added.stderr.contains("lies in the registry as it is"), "{added:?}");
    added.done();
    for name in ["old", "new"] {
        let file = format!("{name}.master");
        desk.run(["master-key", "generate", "--out", &file]).done();
    }
    (desk, key.trim().to_owned())
}

const OLD: [&str; 2] = ["--master-key", "old.master"];
const NEW: [&str; 2] = ["--master-key", "new.master"];

#[test]
fn the_first_command_with_a_master_key_seals_and_says_so() {
    let (desk, key) = with_plain_secret();
    let secret = desk.read("shop.key");
    let listed = desk.run(["key", "list"].iter().chain(&OLD));
    assert!(
        listed.stderr.contains("sealed the plain HMAC secrets of the registry, 1 of"),
        "{listed:?}"
    );
    assert!(!listed.stderr.contains(secret.trim()));
    assert!(listed.done().contains("active"));
    let again = desk.run(["key", "list"].iter().chain(&OLD));
    assert_eq!(again.stderr, "");
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "two.key"]).done();
    let added =
        desk.run(["key", "add", "--app", "shop", "--hmac-key", "two.key"].iter().chain(&OLD));
    assert!(!added.stderr.contains("as it is"), "{added:?}");
    added.done();
    // Without the master key.
    let id = desk.run(["master-key", "show", "old.master"]).done();
    let id = id.trim();
    let listed = desk.run(["key", "list"]);
    let warning = format!("warning: 2 keys are sealed with master key {id}");
    assert!(
        listed.stderr.starts_with(&warning) && listed.stderr.lines().count() == 1,
        "{listed:?}"
    );
    assert_eq!(listed.done().matches("sealed").count(), 2);
    let shown = desk.run(["key", "show", &key]);
    assert!(shown.stderr.contains("1 key is sealed"), "{shown:?}");
    let shown = shown.done();
    assert!(shown.contains("sealed with:") && shown.contains(id), "{shown}");
    let json = desk.run(["key", "show", &key, "--json"]).done();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["state"], &json["sealed_with"]), (&"sealed".into(), &id.into()));
    desk.run(["key", "scope", &key, "--add", "a"]).failed(
        1,
        "no master key is given",
        "--master-key FILE",
    );
    let wrong = ["key", "scope", &key, "--add", "a", "--master-key", "new.master"];
    desk.run(wrong).failed(1, "is sealed with master key", "--master-key FILE");
    let revoked = desk.run(["key", "revoke", &key]);
    assert!(revoked.stderr.contains("revoked for ever"), "{revoked:?}");
    revoked.done();
    assert_eq!(desk.run(["key", "list"]).done().matches("revoked").count(), 1);
    let listed = desk.run(["key", "list", "--json"].iter().chain(&OLD)).done();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&"revoked".into(), &"active".into()));
}

#[test]
fn a_master_key_is_replaced_and_what_is_left_has_an_exit_code() {
    let (desk, _) = with_plain_secret();
    desk.run(["key", "rewrap"]).failed(1, "no master key is given", "--master-key FILE");
    assert_eq!(desk.run(["key", "rewrap"].iter().chain(&OLD)).done(), "moved 1, left 0\n");
    let refused = desk.run(["key", "rewrap"].iter().chain(&NEW));
    assert_eq!((refused.code, &*refused.stdout), (1, "moved 0, left 1\n"), "{refused:?}");
    assert!(
        refused.stderr.contains("hint: give that one with --previous-master-key"),
        "{refused:?}"
    );
    let both = [&NEW[..], &["--previous-master-key", "old.master"]].concat();
    let moved = desk.run(["key", "rewrap", "--batch", "1"].iter().chain(&both));
    assert!(moved.stderr.contains("1 of 1"), "{moved:?}");
    assert_eq!(moved.done(), "moved 1, left 0\n");
    let again = desk.run(["key", "rewrap", "--json"].iter().chain(&both)).done();
    assert_eq!(again, "{\"moved\":0,\"left\":0}\n");
    assert!(desk.run(["key", "list"].iter().chain(&NEW)).done().contains("active"));
    desk.run(["key", "list", "--previous-master-key", "old.master"]).failed(
        1,
        "only the previous master key",
        "--master-key",
    );
    desk.run(["key", "rewrap", "--batch", "0"].iter().chain(&NEW)).failed(1, "--batch", "--help");
}

#[test]
fn the_master_keys_of_a_registry_come_from_the_environment() {
    let (desk, _) = with_plain_secret();
    let [old, new] = ["old.master", "new.master"].map(|file| desk.read(file));
    desk.run(["key", "list"].iter().chain(&OLD)).done();
    let desk = desk.variable("COUNTERSIGN_MASTER_KEY", new.trim());
    let desk = desk.variable("COUNTERSIGN_PREVIOUS_MASTER_KEY", old.trim());
    let listed = desk.run(["key", "list"]);
    assert_eq!(listed.stderr, "");
    assert!(listed.done().contains("active"));
    assert_eq!(desk.run(["key", "rewrap"]).done(), "moved 1, left 0\n");
    let desk = desk.variable("COUNTERSIGN_MASTER_KEY", "");
    desk.run(["key", "list"]).failed(
        1,
        "COUNTERSIGN_MASTER_KEY holds no master key",
        "COUNTERSIGN_MASTER_KEY",
    );
}
