use serde_json::{Value, json};

use crate::desk::{Desk, Finished};

const SHA1: &str = "5A0B8C1D2E3F405162738495A6B7C8D9EAFB0C1D";

/// A registry in which there is a key, added with these arguments besides.
fn with_key(arguments: &[&str]) -> (Desk, String) {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--out", "id.key"]).done();
    let add = ["key", "add", "--app", "shop", "--public-key", "id.key.pub"];
    let key = desk.run(add.iter().chain(arguments)).done().trim().to_owned();
    (desk, key)
}

/// What is said of the key's scopes and restrictions.
fn said(desk: &Desk, key: &str) -> (Value, Value) {
    let shown = desk.run(["key", "show", key, "--json"]).done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let member = |name| shown.get(name).unwrap().clone();
    (member("scopes"), member("restrictions"))
}

fn restrict(desk: &Desk, key: &str, arguments: &[&str]) -> Finished {
    desk.run(["key", "restrict", key].iter().chain(arguments))
}

fn one(kind: &str, enforcement: &str, allow: &[&str]) -> Value {
    json!({ "kind": kind, "enforcement": enforcement, "allow": allow })
}

#[test]
fn a_key_has_what_it_was_added_with() {
    let android = format!("com.example.shop={SHA1}");
    let (desk, key) = with_key(&[
        "--scope",
        "orders:write",
        "--scope",
        "orders:read",
        "--allow-ip",
        "192.0.2.0/24",
        "--allow-ip",
        "2001:db8::/48",
        "--allow-origin",
        "https://Shop.example:443",
        "--allow-referrer",
        "https://shop.example/app/",
        "--allow-android",
        &android,
        "--allow-ios",
        "com.example.Shop",
        "--allow-sdk",
        "shop-sdk",
        "--report-only",
        "android",
        "--report-only",
        "ios",
    ]);
    let restrictions = [
        one("ip", "enforce", &["192.0.2.0/24", "2001:db8::/48"]),
        one("origin", "enforce", &["https://shop.example"]),
        one("referrer", "enforce", &["https://shop.example/app"]),
        one("android", "report", &[&android]),
        one("ios", "report", &["com.example.Shop"]),
        one("sdk", "enforce", &["shop-sdk"]),
    ];
    let expected = (json!(["orders:read", "orders:write"]), Value::from_iter(restrictions));
    assert_eq!(said(&desk, &key), expected);
    let shown = desk.run(["key", "show", &key]).done();
    for line in [
        "scopes:          orders:read,orders:write\n",
        "only ip:         192.0.2.0/24 2001:db8::/48\n",
        "only ios:        com.example.Shop (reported)\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    for listed in [&["key", "list"] as &[_], &["app", "show", "shop"]] {
        let listed = desk.run(listed).done();
        let expected = "ip,origin,referrer,android(reported),ios(reported),sdk";
        assert!(listed.contains(expected), "{listed}");
    }
}

#[test]
fn a_key_of_which_nothing_is_said_may_do_nothing_and_from_everywhere() {
    let (desk, key) = with_key(&[]);
    assert_eq!(said(&desk, &key), (json!([]), json!([])));
    let shown = desk.run(["key", "show", &key]).done();
    assert!(shown.contains("scopes:          none\nrestrictions:    none\n"), "{shown}");
}

#[test]
fn a_change_leaves_alone_what_it_does_not_name() {
    let (desk, key) =
        with_key(&["--scope", "a", "--scope", "b", "--allow-ip", "192.0.2.7", "--allow-sdk", "x"]);
    let scope = |arguments: &[&str]| {
        desk.run(["key", "scope", &key].iter().chain(arguments)).done();
        said(&desk, &key).0
    };
    assert_eq!(scope(&["--add", "c", "--remove", "a"]), json!(["b", "c"]));
    assert_eq!(scope(&["--add", "c", "--remove", "a"]), json!(["b", "c"]));
    assert_eq!(scope(&["--remove", "b", "--remove", "c"]), json!([]));
    let (ip, sdk) = (one("ip", "enforce", &["192.0.2.7/32"]), one("sdk", "enforce", &["x"]));
    let restricted = |arguments: &[&str]| {
        restrict(&desk, &key, arguments).done();
        said(&desk, &key).1
    };
    let origin = |enforcement, origin| one("origin", enforcement, &[origin]);
    let (first, second) = ("https://one.example", "https://two.example");
    assert_eq!(
        restricted(&["--allow-origin", first, "--report-only", "origin"]),
        json!([ip, origin("report", first), sdk])
    );
    assert_eq!(restricted(&["--enforce", "origin"]), json!([ip, origin("enforce", first), sdk]));
    assert_eq!(restricted(&["--report-only", "origin"]), json!([ip, origin("report", first), sdk]));
    assert_eq!(
        restricted(&["--allow-origin", second]),
        json!([ip, origin("enforce", second), sdk])
    );
    assert_eq!(restricted(&["--lift", "origin", "--lift", "sdk"]), json!([ip]));
}

#[test]
fn a_change_that_cannot_be_made_changes_nothing() {
    let android = format!("com.example.shop={}", SHA1.replacen('5', "", 1));
    let (desk, key) = with_key(&["--allow-ip", "192.0.2.0/24"]);
    let table: [(&[&str], &str, &str); 15] = [
        (&[], "no change is given", "--allow-"),
        (&["--lift", "sdk"], "no restriction of the kind `sdk`", "key show"),
        (&["--enforce", "sdk", "--allow-ip", "192.0.2.7"], "no restriction", "key show"),
        (&["--report-only", "sdk", "--lift", "ip"], "no restriction", "key show"),
        (&["--report-only", "ip", "--enforce", "ip"], "contradict each other", "name a kind with"),
        (&["--lift", "ip", "--enforce", "ip"], "contradict each other", "name a kind with"),
        (&["--lift", "ip", "--allow-ip", "::1"], "contradict each other", "name a kind with"),
        (&["--lift", "moon"], "a restriction is ip, origin", "key restrict --help"),
        (&["--allow-ip", "192.0.2.7/24"], "`192.0.2.7/24` is not an address", "192.0.2.0/24"),
        (&["--allow-origin", "https://a.test/x"], "is not a web origin", "https://shop.example"),
        (&["--allow-referrer", "https://a.test/?x"], "is not an origin", "`?`"),
        (&["--allow-android", &android], "is not a package", "apksigner"),
        (&["--allow-ios", "com.example.*"], "is not a bundle", "CFBundleIdentifier"),
        (&["--allow-sdk", "sdk/1"], "is not the name", "before the `/`"),
        (&["--allow-sdk", ""], "`` is not the name", "before the `/`"),
    ];
    for (arguments, error, hint) in table {
        restrict(&desk, &key, arguments).failed(1, error, hint);
    }
    let scope = |arguments: &[&str]| desk.run(["key", "scope", &key].iter().chain(arguments));
    scope(&[]).failed(1, "--add", "key scope --help");
    scope(&["--add", "a b"]).failed(1, "a scope has 1 to 64", "key scope --help");
    scope(&["--add", "a", "--remove", "a"]).failed(1, "added and removed", "name it once");
    let expected = (json!([]), json!([one("ip", "enforce", &["192.0.2.0/24"])]));
    assert_eq!(said(&desk, &key), expected);
    let other = desk.run(["keygen", "--out", "other.key"]).done();
    restrict(&desk, other.trim(), &["--allow-ip", "::1"]).failed(1, "no such key", "key list");
}

#[test]
fn a_key_that_would_be_added_wrong_is_not_added() {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--out", "id.key"]).done();
    let add = ["key", "add", "--app", "shop", "--public-key", "id.key.pub"];
    for (arguments, error, hint) in [
        (["--report-only", "sdk"], "no restriction of the kind `sdk`", "--allow-sdk"),
        (["--report-only", "SDK"], "a restriction is ip, origin", "key add --help"),
        (["--scope", "a b"], "a scope has 1 to 64", "key add --help"),
        (["--allow-ip", "192.0.2.0/33"], "is not an address", "192.0.2.0/24"),
    ] {
        desk.run(add.iter().chain(&arguments)).failed(1, error, hint);
    }
    assert_eq!(desk.run(["key", "list"]).done(), "");
}

#[test]
fn a_key_is_changed_by_its_thumbprint_too() {
    let (desk, key) = with_key(&[]);
    let shown = desk.run(["key", "show", &key, "--json"]).done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let thumbprint = shown["thumbprint"].as_str().unwrap();
    for command in [
        ["key", "scope", "--add", "a", "--json", "--", thumbprint],
        ["key", "restrict", "--allow-sdk", "x", "--json", "--", thumbprint],
    ] {
        let changed: Value = serde_json::from_str(&desk.run(command).done()).unwrap();
        assert_eq!(changed["publishable_key"], key);
    }
    assert_eq!(said(&desk, &key), (json!(["a"]), json!([one("sdk", "enforce", &["x"])])));
}
