use std::{fs, os::unix::process::CommandExt as _, path::PathBuf};

use countersign::{KeyId, PrivateKey, ProvenKey};
use sqlx::{AssertSqlSafe, Connection, SqlSafeStr, SqliteConnection};

use crate::{database::on_both, desk::Desk};

on_both! {
    an_application_goes_from_added_to_removed
    what_is_no_proven_public_key_is_not_registered
    a_name_that_is_refused_says_which
    a_key_is_found_by_a_thumbprint_that_begins_with_a_hyphen
}

fn add(desk: &Desk, label: &str) -> String {
    let file = format!("{label}.key");
    desk.run(["keygen", "--out", &file]).done();
    let public = format!("{file}.pub");
    desk.run(["key", "add", "--app", "shop", "--public-key", &public]).done().trim().to_owned()
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn an_application_goes_from_added_to_removed(desk: &Desk) {
    assert!(desk.run(["key", "list"]).stderr.contains("no keys"));
    let key = add(desk, "laptop");
    let listed = desk.run(["key", "list", "--app", "shop"]).done();
    assert!(listed.contains(&key) && listed.contains("laptop") && listed.contains("active"));
    let shown = json(&desk.run(["key", "show", &key, "--json"]).done());
    assert_eq!(shown["label"], "laptop");
    let thumbprint = shown["thumbprint"].as_str().unwrap();
    let by_thumbprint = desk.run(["key", "show", "--json", "--", thumbprint]);
    assert_eq!(json(&by_thumbprint.done()), shown);
    let application = json(&desk.run(["app", "show", "shop", "--json"]).done());
    assert_eq!(application["keys"][0], shown);
    desk.run(["app", "remove", "shop"]).failed(1, "not revoked", "key revoke");

    let revoked = json(&desk.run(["key", "revoke", &key, "--json"]).done());
    assert_eq!(revoked["state"], "revoked");
    let again = desk.run(["key", "revoke", &key]);
    assert!(again.stderr.contains("was revoked before"), "{again:?}");
    again.done();
    desk.run(["app", "remove", "shop"]).done();
    assert_eq!(json(&desk.run(["app", "list", "--json"]).done()), serde_json::json!([]));
    desk.run(["app", "show", "shop"]).failed(1, "no such application", "app list");
    desk.run(["app", "add", "shop"]).done();
    desk.run(["key", "add", "--app", "shop", "--public-key", "laptop.key.pub"]).failed(
        1,
        "already registered",
        "keygen",
    );
}

fn what_is_no_proven_public_key_is_not_registered(desk: &Desk) {
    desk.run(["keygen", "--out", "id.key"]).done();
    desk.run(["keygen", "--out", "other.key"]).done();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    let lines = |file: &str| desk.read(file).lines().map(str::to_owned).collect::<Vec<_>>();
    let (mine, theirs) = (lines("id.key.pub"), lines("other.key.pub"));
    desk.write("bare.pub", &mine[0], 0o644);
    desk.write("stolen.pub", format!("{}\n{}\n{}\n", theirs[0], mine[1], mine[2]), 0o644);
    desk.write("empty.pub", "", 0o644);
    let secret_name = desk.run(["pubkey", "secret.key"]).done();
    desk.write("secret.pub", secret_name, 0o644);
    let table = [
        ("--public-key", "bare.pub", "is missing", "pubkey --prove"),
        ("--public-key", "stolen.pub", "is wrong", "pubkey --prove"),
        ("--public-key", "empty.pub", "it is empty", "keygen"),
        ("--public-key", "id.key", "holds a private key", "pubkey --prove"),
        ("--public-key", "secret.pub", "only names an HMAC secret", "--hmac-key"),
        ("--public-key", "none.pub", "cannot read none.pub", "exists"),
        ("--hmac-key", "id.key", "not an HMAC secret", "--public-key"),
        ("--hmac-key", "id.key.pub", "an Ed25519 public key", "with --public-key"),
        ("--hmac-key", "secret.pub", "only names an HMAC secret", "the secret itself"),
    ];
    for (option, file, error, hint) in table {
        desk.run(["key", "add", "--app", "shop", option, file]).failed(1, error, hint);
    }
    let past = ["--expires", "2020-01-01T00:00:00Z"];
    let add = ["key", "add", "--app", "shop", "--public-key"];
    desk.run(add.iter().chain(&["id.key.pub"]).chain(&past)).failed(1, "in the past", "to come");
    assert_eq!(desk.run(["key", "list"]).done(), "");

    desk.run(add.iter().chain(&["stolen.pub", "--insecure-unproven"]))
        .failed(1, "is wrong", "prove");
    desk.run(add.iter().chain(&["bare.pub", "--insecure-unproven"])).done();
    desk.run(["key", "add", "--app", "shop", "--hmac-key", "secret.key"]).done();
}

fn a_name_that_is_refused_says_which(desk: &Desk) {
    desk.run(["app", "add", "bad name"]).failed(1, "a name has", "another name");
    desk.run(["app", "add", "a", "--env", "BAD ENV"]).failed(1, "an env", "another environment");
    let key = add(desk, "laptop");
    let label = ["--label", "a\nb", "--hmac-key", "secret.key"];
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    desk.run(["key", "add", "--app", "shop"].iter().chain(&label)).failed(
        1,
        "a label has",
        "another label",
    );
    for typo in [format!("{key}x"), key.replacen("pk_", "pk_0", 1)] {
        desk.run(["key", "show", &typo]).failed(1, "it is damaged", "checksum");
        desk.run(["key", "revoke", &typo]).failed(1, "it is damaged", "checksum");
    }
    desk.run(["key", "show", "laptop.key.pub"]).failed(1, "neither a publishable key", "key list");
}

#[test]
fn nothing_is_made_by_asking() {
    let desk = Desk::new();
    desk.run(["app", "list"]).failed(1, "no registry is named", "COUNTERSIGN_DB");
    let db = ["--db", "sqlite:none.db"];
    desk.run(["app", "list"].iter().chain(&db)).failed(1, "no registry file", "app add NAME");
    assert!(!desk.path("none.db").exists());
    for bad in [&["app", "add", "bad name"] as &[_], &["app", "add", "shop", "--env", "Live"]] {
        desk.run(bad.iter().chain(&db)).failed(1, " has 1 to ", "give it another ");
    }
    assert!(!desk.path("none.db").exists());
    let mysql = ["app", "list", "--db", "mysql://user:hunter2@host/db"];
    let refused = desk.run(mysql);
    assert!(!refused.stderr.contains("hunter2"));
    refused.failed(1, "--db names no registry", "sqlite:FILE");
    let named = Desk::new().variable("COUNTERSIGN_DB", "mysql://user:hunter2@host/db");
    named.run(["app", "list"]).failed(1, "COUNTERSIGN_DB names no registry", "postgres://");
    let folder = ["app", "add", "shop", "--db", "sqlite:no/such/folder.db"];
    desk.run(folder).failed(1, "cannot be opened", "a folder that exists");
}

#[test]
fn a_registry_that_cannot_be_used_is_told_in_one_line_and_nothing_is_lost() {
    let desk = Desk::with_registry();
    let key = add(&desk, "laptop");
    let listed = desk.run(["key", "list"]).done();

    let holder = sqlite(&desk, "registry.db", "BEGIN EXCLUSIVE");
    desk.run(["key", "revoke", &key]).failed(1, "locked by another process", "run it again");
    drop(holder);
    assert_eq!(desk.run(["key", "list"]).done(), listed);

    let copy = |name: &str| fs::copy(desk.path("registry.db"), desk.path(name)).unwrap();
    copy("newer.db");
    drop(sqlite(&desk, "newer.db", "UPDATE _sqlx_migrations SET version = version + 1000"));
    let newer = fs::read(desk.path("newer.db")).unwrap();
    desk.run(["app", "add", "x", "--db", "sqlite:newer.db"]).failed(
        1,
        "newer version",
        "newer one",
    );
    assert_eq!(fs::read(desk.path("newer.db")).unwrap(), newer);

    desk.write("garbage.db", "this is no database, whatever its name says\n".repeat(50), 0o600);
    let garbage = desk.read("garbage.db");
    desk.run(["app", "add", "x", "--db", "sqlite:garbage.db"]).failed(1, "no SQLite", "backup");
    assert_eq!(desk.read("garbage.db"), garbage);

    desk.write("empty.db", "", 0o600);
    desk.run(["app", "list", "--db", "sqlite:empty.db"]).failed(1, "is empty", "app add NAME");
    drop(sqlite(&desk, "empty.db", "CREATE TABLE note (text TEXT)"));
    for command in [&["app", "list"] as &[_], &["app", "add", "x"]] {
        desk.run(command.iter().chain(&["--db", "sqlite:empty.db"])).failed(
            1,
            "another program",
            "another file",
        );
    }
}

#[test]
fn a_registry_that_others_can_read_gets_no_secret() {
    let desk = Desk::with_registry();
    assert_eq!(desk.mode("registry.db"), 0o600);
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    let add = || desk.run(["key", "add", "--app", "shop", "--hmac-key", "secret.key"]);
    desk.set_mode("registry.db", 0o640);
    add().failed(1, "readable by other users", "chmod 600 registry.db");
    desk.set_mode("registry.db", 0o600);
    add().done();
}

#[test]
fn a_key_whose_row_is_damaged_is_revoked_all_the_same() {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    let key = desk.run(["key", "add", "--app", "shop", "--hmac-key", "secret.key"]).done();
    drop(sqlite(&desk, "registry.db", "UPDATE credential SET hmac_secret = x'00'"));
    let revoke = ["key", "revoke", key.trim()];
    desk.run(revoke).failed(1, "is damaged", "holds all the same");
    drop(sqlite(&desk, "registry.db", "UPDATE credential SET hmac_secret = zeroblob(32)"));
    assert_eq!(json(&desk.run(["key", "show", key.trim(), "--json"]).done())["state"], "revoked");
}

#[test]
fn a_damaged_row_is_revoked_by_its_thumbprint_too() {
    let desk = Desk::with_registry();
    let table = [
        ("restrictions = '{}'", r#"restrictions = '{"version":1,"restrictions":[]}'"#.to_owned()),
        ("publishable_key = 'pk_damaged'", String::new()),
    ];
    for (at, (damage, mend)) in table.into_iter().enumerate() {
        let key = add(&desk, &format!("key-{at}"));
        let mend = if mend.is_empty() { format!("publishable_key = '{key}'") } else { mend };
        let show = ["key", "show", &key, "--json"];
        let shown = json(&desk.run(show).done());
        let thumbprint = shown["thumbprint"].as_str().unwrap();
        let set = |what: &str| {
            let set = format!("UPDATE credential SET {what} WHERE thumbprint = '{thumbprint}'");
            drop(sqlite(&desk, "registry.db", AssertSqlSafe(set)));
        };
        set(damage);
        let revoke = ["key", "revoke", "--", thumbprint];
        for _ in 0..2 {
            desk.run(revoke).failed(1, "is damaged", "holds all the same");
        }
        set(&mend);
        assert_eq!(json(&desk.run(show).done())["state"], "revoked", "{damage}");
    }
    let unknown = KeyId::Thumbprint([7; 32]).to_string();
    desk.run(["key", "revoke", "--", &unknown]).failed(1, "no such key", "key list");
}

#[test]
fn a_weak_key_that_was_put_there_past_the_checks_is_named_as_damage_and_can_be_revoked() {
    let desk = Desk::with_registry();
    let key = add(&desk, "laptop");
    let weak = [
        ([0; 32], "it has small order"),
        (
            std::array::from_fn(|at| {
                if at == 0 {
                    0xee
                } else if at == 31 {
                    0x7f
                } else {
                    0xff
                }
            }),
            "its encoding is not canonical",
        ),
    ];
    for (public, reason) in weak {
        let weak = countersign::PublishableKey::ed25519(public).to_string();
        let force = format!("UPDATE credential SET publishable_key = '{weak}'");
        drop(sqlite(&desk, "registry.db", AssertSqlSafe(force)));
        let damage = format!("credential 1 is damaged: its key: the public key is weak: {reason}");
        desk.run(["key", "show", &weak]).failed(1, &damage, "restore a backup");
        for list in [&["key", "list"] as &[_], &["app", "show", "shop"]] {
            let listed = desk.run(list);
            assert!(listed.stderr.contains(&format!("warning: {damage}; ")), "{listed:?}");
            let listed = listed.done();
            assert!(listed.contains(&weak) && listed.contains("damaged"), "{listed}");
        }
        desk.run(["key", "revoke", &weak]).failed(1, &damage, "holds all the same");
        let mend = format!("UPDATE credential SET publishable_key = '{key}'");
        drop(sqlite(&desk, "registry.db", AssertSqlSafe(mend)));
        assert_eq!(json(&desk.run(["key", "show", &key, "--json"]).done())["state"], "revoked");
        assert!(desk.run(["key", "list"]).done().contains("laptop"));
    }
}

#[test]
fn a_registry_that_is_read_only_says_so() {
    let desk = Desk::with_registry();
    // Nobody is kept from writing by a mode who is root.
    let program = copy_of_the_program(&desk);
    desk.set_mode("registry.db", 0o444);
    desk.set_mode(".", 0o555);
    let mut command = desk.command(program.to_str().unwrap());
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(65534);
    }
    let output = command.args(["app", "add", "other"]).output().unwrap();
    desk.set_mode(".", 0o700);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("is read-only\nhint: make the file and its folder writable"),
        "{stderr}"
    );
}

/// A copy of `countersign` that every user can run.
///
/// Another process makes it: a descriptor of this one, open for writing, is inherited by what other tests start meanwhile, and
/// a file that is open for writing cannot be run.
fn copy_of_the_program(desk: &Desk) -> PathBuf {
    let copy = desk.path("countersign");
    let status = desk.command("cp").arg(env!("CARGO_BIN_EXE_countersign")).arg(&copy).status();
    assert!(status.unwrap().success());
    copy
}

/// Says something to a database, and holds it as long as what is given back lives.
pub(crate) fn sqlite<S: SqlSafeStr>(desk: &Desk, file: &str, statement: S) -> impl Drop + use<S> {
    struct Held(Option<SqliteConnection>, tokio::runtime::Runtime);
    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(connection) = self.0.take() {
                self.1.block_on(connection.close()).unwrap();
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("sqlite:{}", desk.path(file).display());
    let mut connection = runtime.block_on(SqliteConnection::connect(&url)).unwrap();
    runtime.block_on(sqlx::query(statement).execute(&mut connection)).unwrap();
    Held(Some(connection), runtime)
}

fn a_key_is_found_by_a_thumbprint_that_begins_with_a_hyphen(desk: &Desk) {
    let keys = (0..=u8::MAX).map(|seed| PrivateKey::ed25519(&[seed; 32]));
    let mut named = keys.map(|key| {
        let thumbprint = KeyId::Thumbprint(key.verifying_key().thumbprint().unwrap());
        (thumbprint.to_string(), key)
    });
    // `-h` alone is still an option.
    let wanted = |name: &str| name.starts_with('-') && !name.starts_with("-h");
    let (thumbprint, key) = named.find(|(name, _)| wanted(name)).unwrap();
    desk.write("id.key.pub", ProvenKey::proof(&key).unwrap(), 0o644);
    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    let shown = desk.run(["key", "show", &thumbprint, "--json"]).done();
    assert_eq!(json(&shown)["thumbprint"], thumbprint);
    desk.run(["key", "revoke", &thumbprint]).done();
}

#[test]
fn a_damaged_key_is_listed_as_damaged_among_the_others() {
    let desk = Desk::with_registry();
    let (damaged, whole) = (add(&desk, "laptop"), add(&desk, "phone"));
    let damage = "UPDATE credential SET scopes = 'a,b' WHERE id = 1";
    drop(sqlite(&desk, "registry.db", damage));
    for list in
        [&["key", "list"] as &[_], &["key", "list", "--app", "shop"], &["app", "show", "shop"]]
    {
        let listed = desk.run(list);
        let warning = "warning: credential 1 is damaged: its scopes; servers refuse it: ";
        assert!(listed.stderr.starts_with(warning), "{listed:?}");
        let listed = listed.done();
        let row = |key: &str| listed.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        let (damaged, whole) = (row(&damaged), row(&whole));
        assert!(
            damaged.ends_with("shop         laptop  damaged  ?        ?          ?       ?"),
            "{damaged}"
        );
        assert!(
            whole.ends_with("shop         phone   active   never    -          none    none"),
            "{whole}"
        );
    }
    let keys = json(&desk.run(["key", "list", "--json"]).done());
    let shown = json(&desk.run(["app", "show", "shop", "--json"]).done());
    assert_eq!(shown["keys"], keys);
    let members = |key: &serde_json::Value| {
        let mut members: Vec<_> = key.as_object().unwrap().keys().cloned().collect();
        members.retain(|member| member != "damage");
        members
    };
    assert_eq!(members(&keys[0]), members(&keys[1]));
    assert_eq!(keys[0]["publishable_key"], damaged);
    assert_eq!((&keys[0]["state"], &keys[0]["label"]), (&"damaged".into(), &"laptop".into()));
    assert_eq!(keys[0]["damage"], "credential 1 is damaged: its scopes");
    assert_eq!((&keys[1]["publishable_key"], &keys[1]["state"]), (&whole.into(), &"active".into()));
    assert!(keys[1].get("damage").is_none());
    // What is in a row that no check has seen does not change the terminal.
    let damage = "UPDATE credential SET label = 'x' || char(27) || '[31m' WHERE id = 1";
    drop(sqlite(&desk, "registry.db", damage));
    let listed = desk.run(["key", "list"]).done();
    assert!(listed.contains(r"x\u{1b}[31m"), "{listed}");
}

#[test]
fn a_damaged_application_is_listed_as_damaged_among_the_others() {
    let desk = Desk::with_registry();
    desk.run(["app", "add", "other"]).done();
    let damage = "UPDATE application SET environment = CAST(x'FF' AS TEXT) WHERE name = 'shop'";
    drop(sqlite(&desk, "registry.db", damage));
    let listed = desk.run(["app", "list"]);
    let warning = "warning: application 1 is damaged: one of its columns: ";
    assert!(listed.stderr.starts_with(warning), "{listed:?}");
    assert!(
        listed
            .stderr
            .trim_end()
            .ends_with("; servers refuse its keys: restore a backup of the registry")
    );
    let listed = listed.done();
    let row = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let cells = |name: &str| row(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells("shop"), ["shop", "?", "damaged"]);
    assert_eq!(cells("other").get(1).unwrap(), "live");

    let listed = json(&desk.run(["app", "list", "--json"]).done());
    assert_eq!((&listed[0]["name"], listed[0].get("damage")), (&"other".into(), None));
    assert_eq!((&listed[1]["name"], &listed[1]["environment"]), (&"shop".into(), &().into()));
    let damage = listed[1]["damage"].as_str().unwrap();
    assert!(damage.starts_with("application 1 is damaged: "), "{damage}");
    desk.run(["app", "show", "shop"]).failed(1, "application 1 is damaged", "restore a backup");
}

#[test]
fn a_registry_with_secrets_that_others_can_read_is_closed_with_a_warning() {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    desk.run(["key", "add", "--app", "shop", "--hmac-key", "secret.key"]).done();
    // As a server that runs holds it.
    let server = sqlite(&desk, "registry.db", "UPDATE application SET environment = 'test'");
    desk.set_mode("registry.db-wal", 0o644);
    let listed = desk.run(["app", "list"]);
    let warning = "warning: other users could read ";
    assert!(listed.stderr.starts_with(warning), "{listed:?}");
    assert!(listed.stderr.contains("/registry.db-wal, where HMAC secrets lie"), "{listed:?}");
    assert!(listed.done().contains("shop"));
    assert_eq!(desk.mode("registry.db-wal"), 0o600);
    assert_eq!(desk.run(["app", "list"]).stderr, "");
    drop(server);
}

#[test]
fn a_program_that_has_an_open_registry_open_reads_no_secret_that_comes_after_the_warning() {
    let desk = Desk::with_registry();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "old.key"]).done();
    let old = desk.run(["key", "add", "--app", "shop", "--hmac-key", "old.key"]).done();
    desk.set_mode("registry.db", 0o644);
    let mut open = fs::File::open(desk.path("registry.db")).unwrap();
    let warned = desk.run(["app", "list"]).stderr;
    assert!(warned.contains("a program that has the file open goes on reading it"), "{warned}");
    let command = warned.split('`').nth(1).unwrap();
    assert_eq!(
        command,
        "(umask 077; cp registry.db registry.db.new && mv registry.db.new registry.db)"
    );
    assert!(desk.command("sh").args(["-c", command]).status().unwrap().success());
    assert_eq!(desk.mode("registry.db"), 0o600);
    desk.run(["key", "revoke", old.trim()]).done();
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "new.key"]).done();
    let new = desk.run(["key", "add", "--app", "shop", "--hmac-key", "new.key"]).done();
    let holds = |bytes: &[u8], key: &str| {
        bytes.windows(key.trim().len()).any(|window| window == key.trim().as_bytes())
    };
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut read).unwrap();
    assert!(holds(&read, &old) && !holds(&read, &new));
    assert!(holds(&fs::read(desk.path("registry.db")).unwrap(), &new));
}

#[test]
fn a_registry_with_secrets_that_is_not_ours_to_close_is_refused() {
    let desk = Desk::with_registry();
    if !fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        return; // Only root can be somebody else.
    }
    desk.run(["keygen", "--alg", "hmac-sha256", "--out", "secret.key"]).done();
    desk.run(["key", "add", "--app", "shop", "--hmac-key", "secret.key"]).done();
    desk.set_mode("registry.db", 0o666);
    desk.set_mode(".", 0o777);
    let program = copy_of_the_program(&desk);
    let mut command = desk.command(program.to_str().unwrap());
    let output = command.uid(65534).args(["app", "list"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]), "{stderr}");
    assert!(
        stderr.contains("HMAC secrets lie in it as they are\nhint: run `chmod 600 "),
        "{stderr}"
    );
    let renewal = "(umask 077; cp registry.db registry.db.new && mv registry.db.new registry.db)";
    assert!(stderr.contains(renewal), "{stderr}");
    assert_eq!(desk.mode("registry.db"), 0o666);
    // What the hint says helps its owner.
    desk.set_mode("registry.db", 0o600);
    assert_eq!(desk.run(["app", "list"]).stderr, "");
}

#[test]
fn the_umask_opens_no_file_of_a_registry() {
    let desk = Desk::with_registry();
    let program = env!("CARGO_BIN_EXE_countersign");
    let masked = |arguments: &str| {
        let mut command = desk.command("sh");
        command.args(["-c", &format!("umask 000; exec {program} {arguments}")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    };
    masked("app add other --db sqlite:open.db");
    masked("keygen --alg hmac-sha256 --out secret.key");
    masked("key add --app other --hmac-key secret.key --db sqlite:open.db");
    let _server = sqlite(&desk, "open.db", "UPDATE application SET environment = 'test'");
    masked("key list --db sqlite:open.db");
    for file in ["open.db", "open.db-wal", "open.db-shm", "secret.key"] {
        assert_eq!(desk.mode(file), 0o600, "{file}");
    }
}

#[test]
fn the_parameters_of_an_address_name_no_other_registry() {
    let desk = Desk::with_registry();
    let list = |url: &str| desk.run(["app", "list", "--db", url]);
    for url in ["sqlite:registry.db?mode=rwc", "sqlite:registry.db?mode=rw"] {
        assert!(list(url).done().contains("shop"), "{url}");
        desk.run(["app", "add", &format!("x{}", url.len()), "--db", url]).done();
    }
    let before = desk.run(["app", "list"]).done();
    assert_eq!(before.lines().count(), 4, "{before}");
    for command in [&["app", "list"] as &[_], &["app", "add", "more"]] {
        let with = |url| desk.run(command.iter().chain(&["--db", url]));
        with("sqlite:registry.db?mode=ro").failed(1, "mode=ro", "write sqlite:registry.db; ");
        with("sqlite:none.db?mode=ro").failed(1, "none.db: ", "write sqlite:none.db; ");
        let refused = with("sqlite:registry.db?key=hunter2");
        assert!(!refused.stderr.contains("hunter2"));
        refused.failed(1, "a parameter that is not supported", "write sqlite:registry.db; ");
        with("sqlite:none.db?mode=rw").failed(
            1,
            "no registry file",
            "`countersign app add NAME --db sqlite:none.db` makes one",
        );
    }
    assert_eq!(desk.run(["app", "list"]).done(), before);
    let files = fs::read_dir(desk.path(".")).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["registry.db"]);
    // A registry that was made under such a name is found by the hint.
    fs::rename(desk.path("registry.db"), desk.path("registry.db?mode=rwc")).unwrap();
    list("sqlite:registry.db?mode=rwc").failed(
        1,
        "in its name",
        "mv -n 'registry.db?mode=rwc' registry.db",
    );
    // Beside a registry with the right name, neither takes the place of the other.
    fs::copy(desk.path("registry.db?mode=rwc"), desk.path("registry.db")).unwrap();
    let both = list("sqlite:registry.db?mode=rwc");
    assert!(!both.stderr.contains("mv "), "{both:?}");
    let copied = "after `cp -n 'registry.db?mode=rwc' registry.db.copy`, with `countersign key list --db sqlite:registry.db.copy`";
    both.failed(1, "in its name", copied);
    fs::copy(desk.path("registry.db?mode=rwc"), desk.path("registry.db.copy")).unwrap();
    desk.run(["key", "list", "--db", "sqlite:registry.db.copy"]).done();
    desk.run(["key", "list", "--db", "sqlite:registry.db"]).done();
    fs::rename(desk.path("registry.db?mode=rwc"), desk.path("registry.db")).unwrap();
    assert_eq!(list("sqlite:registry.db?mode=rwc").done(), before);
}
