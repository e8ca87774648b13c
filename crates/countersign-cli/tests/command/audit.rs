use std::{fs, process::Command};

use crate::{
    desk::Desk,
    registry::{json, sqlite},
};

/// With five entries in the audit log.
fn desk() -> Desk {
    let desk = Desk::with_registry();
    for (name, actor) in [("web", "ana@ops-1"), ("app", "bob"), ("old", "ana@ops-1")] {
        desk.run(["app", "add", name, "--actor", actor]).done();
    }
    desk.run(["app", "remove", "old", "--actor", "bob"]).done();
    desk
}

#[test]
fn every_change_says_who_made_it() {
    let desk = Desk::with_registry();
    desk.run(["app", "add", "a", "--actor", "ana@ops-1"]).done();
    desk.run(["--version"]).done();
    for bad in ["", "two\nlines", "x\u{202e}y"] {
        let refused = desk.run(["app", "add", "b", "--actor", bad]);
        refused.failed(1, "an actor has 1 to 128", "app add --help");
    }
    let desk = desk.variable("COUNTERSIGN_ACTOR", "deploy");
    desk.run(["app", "add", "b"]).done();
    desk.run(["app", "add", "c", "--actor", "eve"]).done();
    let entries = json(&desk.run(["audit", "list", "--json"]).done());
    let actors: Vec<_> =
        entries.as_array().unwrap().iter().map(|entry| entry["actor"].as_str().unwrap()).collect();
    let [first, rest @ ..] = actors.as_slice() else { panic!("{actors:?}") };
    assert!(first.starts_with("uid ") && first.contains('@'), "{first}");
    assert_eq!(rest, ["ana@ops-1", "deploy", "eve"]);
    let named = Desk::new().variable("COUNTERSIGN_DB", "sqlite:r.db").variable("USER", "carol");
    named.run(["app", "add", "a"]).done();
    assert!(named.run(["audit", "list"]).done().contains(" carol@"));
}

#[test]
fn entries_are_listed_by_what_they_are_about() {
    let desk = desk();
    let numbers = |options: &[&str]| {
        let entries = desk.run(["audit", "list", "--json"].iter().chain(options)).done();
        let numbers: Vec<_> = json(&entries)
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["number"].as_i64().unwrap())
            .collect();
        numbers
    };
    assert_eq!(numbers(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&["--actor", "ana@ops-1"]), [2, 4]);
    assert_eq!(numbers(&["--app", "old"]), [4, 5]);
    assert_eq!(numbers(&["--action", "app.remove"]), [5]);
    assert_eq!(numbers(&["--limit", "2"]), [4, 5]);
    assert_eq!(numbers(&["--limit", "2", "--before", "4"]), [2, 3]);
    assert!(numbers(&["--until", "2020-01-01T00:00:00Z"]).is_empty());
    assert_eq!(numbers(&["--since", "2020-01-01T00:00:00Z"]).len(), 5);
    let bad: [(&[&str], &str); 4] = [
        (&["--action", "key"], "a kind of change is"),
        (&["--key", "pk_x"], "pk_x"),
        (&["--limit", "0"], "0 is not in"),
        (&["--since", "monday"], "a time is like"),
    ];
    for (options, error) in bad {
        desk.run(["audit", "list"].iter().chain(options)).failed(1, error, "audit list --help");
    }
}

#[test]
fn a_log_that_was_edited_is_told_and_a_head_tells_that_it_was_rewritten() {
    let desk = desk();
    let head = desk.run(["audit", "verify"]).done();
    let head = head.trim();
    assert!(head.starts_with("5:") && head.len() == 66, "{head}");
    desk.run(["app", "add", "more"]).done();
    let later = desk.run(["audit", "verify", "--head", head]);
    assert!(later.stderr.contains("up to entry 5 as when"), "{later:?}");
    let later = later.done();
    fs::copy(desk.path("registry.db"), desk.path("copy.db")).unwrap();

    let edit = "DROP TRIGGER audit_entry_update";
    drop(sqlite(&desk, "registry.db", edit));
    drop(sqlite(&desk, "registry.db", "UPDATE audit_entry SET actor = 'bob' WHERE number = 2"));
    let found = desk.run(["audit", "verify"]);
    assert_eq!(found.code, 3, "{found:?}");
    assert_eq!(found.stdout, "changed: entry 2, or the one before it together with its hash\n");
    assert!(
        found.stderr.starts_with("error: the audit log is not as it was written: 1 fault\nhint: ")
    );
    let found = desk.run(["audit", "verify", "--json"]);
    assert_eq!(found.code, 3, "{found:?}");
    let found = json(&found.stdout);
    assert_eq!((&found["whole"], &found["entries"]), (&false.into(), &6.into()));
    assert_eq!(found["findings"][0]["kind"], "broken");
    assert_eq!(
        (&found["findings"][0]["from"], &found["findings"][0]["to"]),
        (&2.into(), &2.into())
    );

    // An earlier copy, to which something else was added.
    let db = ["--db", "sqlite:copy.db"];
    desk.run(["app", "remove", "more"].iter().chain(&db)).done();
    desk.run(["audit", "verify", "--head", later.trim()].iter().chain(&db)).done();
    let other = format!("6:{}", &head[2..]);
    let found = desk.run(["audit", "verify", "--head", &other].iter().chain(&db));
    assert_eq!(found.code, 3, "{found:?}");
    assert!(
        found.stdout.starts_with("rewritten: entry 6 or entries before it; noted: 6:"),
        "{found:?}"
    );
    let behind = format!("9:{}", &head[2..]);
    let found = desk.run(["audit", "verify", "--head", &behind].iter().chain(&db));
    assert!(found.code == 3 && found.stdout.starts_with("lost: entry 9"), "{found:?}");
    desk.run(["audit", "verify", "--head", "5"]).failed(1, "a head is NUMBER:HASH", "--help");
}

#[test]
fn the_documented_program_computes_the_head_from_an_export() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/audit-log.md");
    let document = fs::read_to_string(document).unwrap();
    let (_, program) = document.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let desk = desk();
    let whole = desk.run(["audit", "export"]).done();
    assert_eq!(whole.lines().count(), 5);
    assert_eq!(desk.run(["audit", "export", "--after", "3"]).done().lines().count(), 2);
    let first = json(whole.lines().next().unwrap());
    assert!(first["after"].is_string() && first["at"].is_u64() && first["key_id"].is_null());
    if Command::new("python3").arg("--version").output().is_err() {
        // The program is not needed for anything else.
        return;
    }
    desk.write("verify.py", program, 0o644);
    let verify = |log: &str| {
        desk.write("log.jsonl", log, 0o644);
        let output = desk.command("python3").args(["verify.py", "log.jsonl"]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(verify(&whole), (true, desk.run(["audit", "verify"]).done()));
    for edited in [
        whole.replace("bob", "eve"),
        whole.lines().skip(1).map(|line| format!("{line}\n")).collect(),
        whole.replacen("\"after\":\"", "\"after\":\" ", 1),
    ] {
        assert!(!verify(&edited).0, "{edited}");
    }
}
