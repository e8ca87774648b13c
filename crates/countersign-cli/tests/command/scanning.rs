use std::{fs, os::unix::fs::symlink};

use countersign::KeyFile;

use crate::desk::{Desk, Finished};

/// A desk with a key of its own, whose text is in `leak`, and its publishable key.
fn with_leak() -> (Desk, String, String) {
    let (desk, key) = Desk::with_key();
    let Ok(KeyFile::Private(private)) = KeyFile::parse(desk.read("id.key").as_bytes(), None) else {
        panic!("no private key")
    };
    (desk, key, private.expose_text().to_string())
}

fn found(outcome: &Finished, expected: &[String]) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), expected, "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome:?}");
    assert!(outcome.stderr.contains("found\nhint: "), "{outcome:?}");
}

#[test]
fn a_private_key_in_a_folder_is_told_by_its_place_and_its_publishable_key_alone() {
    let (desk, key, secret) = with_leak();
    fs::create_dir_all(desk.path("app/.git/objects")).unwrap();
    fs::create_dir_all(desk.path("app/.git/refs")).unwrap();
    fs::create_dir_all(desk.path("app/objects")).unwrap();
    for file in
        ["app/.git/HEAD", "app/.git/config", "app/.git/objects/pack", "app/b", "app/objects/c"]
    {
        desk.write(file, format!("1\n  KEY={secret}\n"), 0o600);
    }
    desk.write("app/binary", format!("\0{secret}"), 0o600);
    desk.write("app/pem", format!("é: {}", desk.read("id.key")), 0o600);
    desk.write("app/nothing", "sk_live_51H8a9b0c1d2e3f4", 0o600);
    symlink(desk.path("id.key"), desk.path("app/link")).unwrap();
    symlink(desk.path("app"), desk.path("app/round")).unwrap();
    symlink(desk.path("app/b"), desk.path("there")).unwrap();
    let scanned = desk.run(["scan", "app"]);
    assert!(!format!("{scanned:?}").contains(&secret[..20]));
    assert!(scanned.stderr.starts_with("error: 5 private keys were found"), "{scanned:?}");
    let place = |file: &str| format!("{file}:2:7: private key of {key}");
    let files = ["app/.git/HEAD", "app/.git/config", "app/b", "app/objects/c"];
    let mut places: Vec<_> = files.map(place).into();
    places.push(format!("app/pem:1:4: private key of {key}"));
    found(&scanned, &places);
    found(&desk.run(["scan", "there", "app/nothing"]), &[place("there")]);
    found(
        &desk.run(["scan", "--binary", "app/binary"]),
        &[format!("app/binary:1:2: private key of {key}")],
    );
    found(
        &desk.run_with(["scan", "-"], secret.as_bytes()),
        &[format!("-:1:1: private key of {key}")],
    );
    let json = desk.run(["scan", "--json", "app/b", "app/objects"]);
    let lines: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["file"], &lines[0]["line"], &lines[0]["column"]),
        (&"app/b".into(), &2.into(), &7.into())
    );
    assert_eq!(
        (&lines[0]["publishable_key"], &lines[0]["alg"]),
        (&(*key).into(), &"ed25519".into())
    );

    let none = desk.run(["scan", "app/nothing", "app/binary", "id.key.pub"]);
    assert_eq!(none.stderr, "no private key found; files read: 2, 1 binary left out\n");
    assert_eq!(none.done(), "");
    desk.run(["scan", "--ignore", &key, "app"]).done();
    desk.run(["scan", "--ignore", "pk_1", "app"]).failed(1, "--ignore", "--help");
    desk.run(["scan"]).failed(1, "<PATH>", "--help");
    let missing = desk.run(["scan", "missing", "app/nothing"]);
    assert_eq!((missing.code, missing.stderr.lines().count()), (1, 3), "{missing:?}");
    assert!(missing.stderr.starts_with("warning: cannot read missing: "), "{missing:?}");
}

#[test]
fn with_a_registry_a_key_that_is_found_is_told_as_its_credential() {
    let (desk, key, secret) = with_leak();
    let desk = desk.variable("COUNTERSIGN_DB", "sqlite:registry.db");
    desk.run(["app", "add", "shop"]).done();
    desk.write("leak", &secret, 0o600);
    let place = format!("leak:1:1: private key of {key}");
    found(&desk.run(["scan", "leak"]), &[format!("{place}, which is not in this registry")]);
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    let active =
        format!("{place}, \"id\" of shop, which is active: `countersign key revoke {key}`");
    found(&desk.run(["scan", "leak"]), &[active]);
    let json = desk.run(["scan", "leak", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json["registered"], &json["credential"]["application"]),
        (&"credential".into(), &"shop".into())
    );
    desk.run(["key", "revoke", &key]).done();
    found(&desk.run(["scan", "leak"]), &[format!("{place}, \"id\" of shop, which is revoked")]);

    let hmac = desk.run(["keygen", "--alg", "hmac-sha256", "--out", "hmac.key"]).done();
    desk.run(["master-key", "generate", "--out", "master"]).done();
    let add = ["key", "add", "--app", "shop", "--hmac-key", "hmac.key", "--master-key", "master"];
    desk.run(add).done();
    let sealed = desk.run(["scan", "hmac.key"]);
    assert!(sealed.stdout.contains("cannot be read: `countersign key show pk_"), "{sealed:?}");
    let opened = desk.run(["scan", "hmac.key", "--master-key", "master"]);
    assert!(opened.stdout.contains(&format!("key revoke {}", hmac.trim())), "{opened:?}");
}
