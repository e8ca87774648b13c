use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::desk::Desk;

/// Registers a key of its own, and returns its publishable key.
fn add(desk: &Desk, label: &str) -> String {
    let public = public(desk, label);
    desk.run(["key", "add", "--app", "shop", "--public-key", &public]).done().trim().to_owned()
}

/// Makes a key pair, and returns the file of the public half.
fn public(desk: &Desk, label: &str) -> String {
    let file = format!("{label}.key");
    desk.run(["keygen", "--out", &file]).done();
    format!("{file}.pub")
}

fn raw(desk: &Desk, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", desk.path("registry.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn labels(text: &str) -> Vec<String> {
    let keys = json(text);
    let keys = keys.as_array().unwrap().iter();
    keys.map(|key| key["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_that_are_due_have_an_exit_code_until_they_are_replaced() {
    let desk = Desk::with_registry();
    let (old, _) = (add(&desk, "old"), add(&desk, "new"));
    assert_eq!(desk.run(["key", "due", "--json"]).done(), "[]\n");
    raw(&desk, "UPDATE credential SET created_at = created_at - 100 * 86400 WHERE label = 'old'");
    for (options, code, due) in [
        (&[] as &[&str], 5, &["old"] as &[&str]),
        (&["--age", "101d"], 0, &[]),
        (&["--age", "0"], 5, &["old", "new"]),
        (&["--app", "shop"], 5, &["old"]),
    ] {
        let outcome = desk.run(["key", "due", "--json"].iter().chain(options));
        assert_eq!(
            (outcome.code, labels(&outcome.stdout)),
            (code, due.iter().map(|&one| one.into()).collect()),
            "{options:?}"
        );
    }
    desk.run(["key", "due", "--app", "none"]).failed(1, "no such application", "app list");
    desk.run(["key", "due", "--age", "90"]).failed(1, "a duration is", "key due --help");
    let next = public(&desk, "next");
    let replaced =
        desk.run(["key", "replace", &old, "--public-key", &next, "--overlap", "1h", "--json"]);
    let replaced = json(&replaced.done());
    assert_eq!(replaced["old"]["state"], "retiring");
    assert_eq!(replaced["old"]["replaced_by"], replaced["new"]["publishable_key"]);
    assert_eq!(replaced["new"]["label"], "old");
    assert_eq!(desk.run(["key", "due"]).code, 0);
    // The overlap ends within two hours, and not within half of one.
    for (within, code) in [("2h", 5), ("30m", 0)] {
        assert_eq!(desk.run(["key", "due", "--within", within]).code, code);
    }
}

#[test]
fn a_key_is_replaced_by_the_command_that_adds_keys_as_well() {
    let desk = Desk::with_registry();
    let old = add(&desk, "old");
    let (next, other) = (public(&desk, "next"), public(&desk, "other"));
    let replaces = ["key", "add", "--replaces", &old, "--public-key"];
    desk.run(replaces.iter().chain(&[next.as_str(), "--app", "shop"])).failed(
        1,
        "--app",
        "key add --help",
    );
    desk.run(replaces.iter().chain(&[next.as_str(), "--allow-ip", "192.0.2.7"])).failed(
        1,
        "takes over the restrictions",
        "key restrict",
    );
    desk.run(["key", "add", "--app", "shop", "--overlap", "1h", "--public-key", &next]).failed(
        1,
        "--overlap is for a key",
        "--replaces",
    );
    for _ in 0..2 {
        desk.run(replaces.iter().chain(&[next.as_str(), "--overlap", "0"])).done();
    }
    let shown = json(&desk.run(["key", "show", &old, "--json"]).done());
    assert_eq!(
        (&shown["state"], &shown["revocation_reason"]),
        (&"revoked".into(), &"replaced".into())
    );
    desk.run(replaces.iter().chain(&[other.as_str()])).failed(
        1,
        "has taken over already",
        "replace that key",
    );
    let same = shown["replaced_by"].as_str().unwrap();
    desk.run(["key", "replace", same, "--public-key", &next]).failed(
        1,
        "same as the old one",
        "keygen",
    );
    desk.run(["key", "revoke", same]).done();
    desk.run(["key", "replace", same, "--public-key", &other]).failed(1, "is revoked", "key add");
}

#[test]
fn unused_keys_are_revoked_with_a_reason_once_they_were_shown() {
    let desk = Desk::with_registry();
    for label in ["unused", "used", "new"] {
        add(&desk, label);
    }
    raw(&desk, "UPDATE credential SET created_at = created_at - 100 * 86400 WHERE label <> 'new'");
    let prune = ["key", "prune", "--unused", "90d", "--json"];
    assert_eq!(desk.run(prune).done(), "[]\n", "nobody has recorded uses");
    raw(&desk, "INSERT INTO last_use SELECT 0, created_at FROM credential WHERE label = 'used'");
    raw(
        &desk,
        "INSERT INTO last_use SELECT id, created_at + 95 * 86400 FROM credential WHERE label = 'used'",
    );
    for _ in 0..2 {
        assert_eq!(labels(&desk.run(prune.iter().chain(&["--dry-run"])).done()), ["unused"]);
    }
    let pruned = json(&desk.run(prune).done());
    assert_eq!(
        (&pruned[0]["state"], &pruned[0]["revocation_reason"]),
        (&"revoked".into(), &"unused for 90d".into())
    );
    assert_eq!(desk.run(prune).done(), "[]\n");
    assert_eq!(
        labels(&desk.run(["key", "list", "--json", "--state", "active"]).done()),
        ["used", "new"]
    );
    desk.run(["key", "prune", "--unused", "23h"]).failed(1, "too short", "90d is usual");
    desk.run(["key", "prune"]).failed(1, "--unused", "key prune --help");
}

#[test]
fn lists_have_pages_that_go_on_where_the_one_before_ended() {
    let desk = Desk::with_registry();
    for label in ["a", "b", "c"] {
        add(&desk, label);
    }
    let (mut seen, mut from) = (Vec::new(), None);
    loop {
        let after: Vec<String> =
            from.iter().flat_map(|place: &String| ["--after".into(), place.clone()]).collect();
        let list = ["key", "list", "--limit", "2", "--json"].map(str::to_owned);
        let page = json(&desk.run(list.iter().chain(&after)).done());
        seen.extend(labels(&page["keys"].to_string()));
        match page["next"].as_str() {
            Some(next) => from = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert!(desk.run(["key", "list", "--limit", "2"]).stderr.contains("--after"));
    desk.run(["app", "add", "desk", "--contact", "ana@example.com", "--notes", "the till"]).done();
    let page = json(&desk.run(["app", "list", "--limit", "1", "--json"]).done());
    assert_eq!(page["applications"][0]["contact"], "ana@example.com");
    let next = page["next"].as_str().unwrap();
    let page = json(&desk.run(["app", "list", "--limit", "1", "--json", "--after", next]).done());
    assert_eq!(
        (&page["applications"][0]["name"], &page["next"]),
        (&"shop".into(), &serde_json::Value::Null)
    );
    desk.run(["key", "list", "--after", next]).failed(1, "the place in the list", "--after");
    desk.run(["app", "list", "--limit", "0"]).failed(1, "--limit", "app list --help");
    assert!(desk.run(["key", "list", "--search", "zzz"]).stderr.contains("no keys match"));
}

#[test]
fn what_an_application_says_of_itself_can_change() {
    let desk = Desk::with_registry();
    desk.run(["app", "set", "shop"]).failed(1, "--contact", "app set --help");
    desk.run(["app", "set", "none", "--env", "test"]).failed(1, "no such application", "app list");
    desk.run(["app", "set", "shop", "--env", "TEST"]).failed(
        1,
        "an environment has",
        "app set --help",
    );
    desk.run(["app", "set", "shop", "--env", "test", "--contact", "ana@example.com"]).done();
    let shown = json(&desk.run(["app", "show", "shop", "--json"]).done());
    assert_eq!(
        (&shown["environment"], &shown["contact"], &shown["notes"]),
        (&"test".into(), &"ana@example.com".into(), &"".into())
    );
}

#[test]
fn limits_of_a_key_are_set_and_removed() {
    let desk = Desk::with_registry();
    let key = add(&desk, "a");
    desk.run(["key", "set", &key]).failed(1, "no change is given", "--limit-signed");
    desk.run(["key", "set", &key, "--limit-signed", "5"]).failed(
        1,
        "a quota is like",
        "key set --help",
    );
    desk.run(["key", "set", &key, "--expires", "2020-01-01T00:00:00Z"]).failed(
        1,
        "in the past",
        "never",
    );
    let set = [
        "key",
        "set",
        &key,
        "--json",
        "--limit-signed",
        "600/1m:50",
        "--limit-signed",
        "9/1s",
        "--limit-reads",
        "1/1d",
    ];
    let limits = json(&desk.run(set).done())["limits"].clone();
    assert_eq!(limits["signed"].as_array().unwrap().len(), 2);
    assert_eq!(limits["reads"][0]["window_seconds"], 86_400);
    let limits =
        json(&desk.run(["key", "set", &key, "--json", "--no-limit-signed"]).done())["limits"]
            .clone();
    assert_eq!(
        (limits["signed"].as_array().unwrap().len(), limits["reads"].as_array().unwrap().len()),
        (0, 1)
    );
    assert!(desk.run(["key", "show", &key]).done().contains("limit reads:     1/1d"));
}
