use std::fs;

use crate::{desk::Desk, registry::json};

/// With a registry of one application and its key, and the text of it in `registry.toml`.
fn desk() -> Desk {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--out", "id.key"]).done();
    let add = ["key", "add", "--app", "shop", "--public-key", "id.key.pub", "--label", "laptop"];
    desk.run(add).done();
    desk.run(["registry", "export", "--out", "registry.toml"]).done();
    desk
}

fn edit(desk: &Desk, from: &str, to: &str) {
    let text = desk.read("registry.toml");
    assert!(text.contains(from), "{text}");
    desk.write("registry.toml", text.replacen(from, to, 1), 0o644);
}

#[test]
fn a_text_is_exported_compared_and_applied() {
    let desk = desk();
    assert_eq!(desk.run(["registry", "export"]).done(), desk.read("registry.toml"));
    let same = desk.run(["registry", "diff", "registry.toml"]);
    assert!(same.stderr.contains("as the text says"));
    assert_eq!(same.done(), "");
    edit(&desk, "label = \"laptop\"", "label = \"desk\"\nscopes = [\"orders:read\"]");
    for command in [
        &["registry", "diff", "registry.toml"] as &[&str],
        &["registry", "apply", "registry.toml", "--dry-run"],
    ] {
        let differs = desk.run(command);
        assert_eq!(differs.code, 5, "{differs:?}");
        assert!(differs.stdout.starts_with("change key pk_"), "{differs:?}");
        let lines =
            "    - label = \"laptop\"\n    + label = \"desk\"\n    + scopes = \"orders:read\"\n";
        assert!(differs.stdout.ends_with(lines), "{differs:?}");
    }
    assert!(desk.run(["key", "list"]).done().contains("laptop"));
    let applied = desk.run(["registry", "apply", "registry.toml", "--json", "--actor", "deploy"]);
    let applied = json(&applied.done());
    assert_eq!(applied["changes"][0]["action"], "key.change");
    assert_eq!(applied["changes"][0]["removed"][0], "label = \"laptop\"");
    assert!(desk.run(["key", "list"]).done().contains("desk"));
    assert!(desk.run(["audit", "list", "--actor", "deploy"]).done().contains("key.change"));
    desk.run(["registry", "apply", "registry.toml", "--dry-run"]).done();
    let text = fs::read(desk.path("registry.toml")).unwrap();
    desk.run_with(["registry", "diff", "-"], &text).done();
}

#[test]
fn a_text_that_is_wrong_is_refused_with_its_place_and_makes_nothing() {
    let desk = desk();
    let whole = desk.read("registry.toml");
    let table = [
        (
            "state = \"active\"",
            "state = \"retired\"",
            "registry.toml: line 11, column 9: a state is active",
        ),
        ("state = \"active\"", "state = active", "registry.toml: line 11, column "),
        (
            "state = \"active\"",
            "stat = \"active\"",
            "registry.toml: line 11, column 1: unknown field",
        ),
        (
            "version = 1",
            "version = 2",
            "registry.toml: line 3, column 11: this text has the version 2",
        ),
        (".key.pk_", ".key.pk_1", "registry.toml: line 9, column 23: "),
    ];
    for (from, to, error) in table {
        desk.write("registry.toml", &whole, 0o644);
        edit(&desk, from, to);
        for command in [["registry", "apply"], ["registry", "diff"]] {
            let refused = desk.run(command.iter().chain(&["registry.toml"]));
            refused.failed(1, error, "nothing was changed");
        }
        let missing = ["registry", "apply", "registry.toml", "--db", "sqlite:new.db"];
        desk.run(missing).failed(1, error, "nothing was changed");
        assert!(!desk.path("new.db").exists());
    }
    desk.write("registry.toml", b"\xff", 0o644);
    desk.run(["registry", "diff", "registry.toml"]).failed(1, "not UTF-8", "registry export");
    desk.run(["registry", "diff", "none.toml"]).failed(1, "cannot read none.toml", "export");
    let folder = ["registry", "export", "--out", "no/such/folder.toml"];
    desk.run(folder).failed(1, "cannot write no/such/folder.toml", "a directory that exists");
}

#[test]
fn a_new_key_needs_its_proof_and_an_export_moves_to_a_new_registry_without() {
    let desk = desk();
    desk.run(["keygen", "--out", "new.key"]).done();
    let proof = desk.read("new.key.pub");
    let key = proof.lines().next().unwrap();
    let listed = format!("{}\n[application.shop.key.{key}]\n", desk.read("registry.toml"));
    desk.write("registry.toml", &listed, 0o644);
    let apply = ["registry", "apply", "registry.toml"];
    desk.run(apply).failed(1, "give its `proof`", "nothing was changed");
    desk.write("registry.toml", format!("{listed}proof = '''\n{proof}'''\n"), 0o644);
    desk.run(apply).done();
    assert!(desk.run(["key", "list"]).done().contains(key));

    desk.run(["registry", "export", "--out", "registry.toml"]).done();
    let db = ["--db", "sqlite:new.db"];
    let missing = desk.run(apply.iter().chain(&["--dry-run"]).chain(&db));
    missing.failed(1, "no registry file", "app add");
    let unproven = desk.run(apply.iter().chain(&db));
    unproven.failed(1, "give its `proof`", "nothing was changed");
    desk.run(apply.iter().chain(&["--insecure-unproven"]).chain(&db)).done();
    let moved = desk.run(["registry", "export"].iter().chain(&db)).done();
    assert_eq!(moved, desk.read("registry.toml"));
}

#[test]
fn what_is_unlisted_is_told_and_pruned_only_when_asked() {
    let desk = desk();
    let text = desk.read("registry.toml");
    let (application, _) = text.split_once("\n[application.shop.key.").unwrap();
    desk.write("registry.toml", application, 0o644);
    let apply = ["registry", "apply", "registry.toml"];
    let kept = desk.run(apply);
    assert!(kept.stdout.starts_with("unlisted: key pk_"), "{kept:?}");
    assert!(kept.stderr.contains("--prune"), "{kept:?}");
    kept.done();
    assert!(desk.run(["key", "list"]).done().contains("active"));
    assert_eq!(desk.run(apply.iter().chain(&["--dry-run"])).code, 5);
    let pruned = desk.run(apply.iter().chain(&["--prune"])).done();
    assert!(pruned.starts_with("revoke key pk_"), "{pruned}");
    assert!(desk.run(["key", "list"]).done().contains("revoked"));
    desk.run(apply.iter().chain(&["--prune", "--dry-run"])).done();
}
