//! A registry in PostgreSQL that cannot be used: what is said, and that no password is.

use crate::{
    database::Database,
    desk::{Desk, Finished},
};

/// A secret that is in no output, whole or in parts.
const CANARY: &str = "canary";

#[track_caller]
fn shows_no_secret(outcome: &Finished) {
    let shown = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!shown.to_lowercase().contains(CANARY), "{shown}");
}

/// Runs a command with every line of the log, which is said on stderr if anything is.
fn run(desk: Desk, arguments: &[&str]) -> Finished {
    let outcome = desk.variable("RUST_LOG", "trace").run(arguments);
    shows_no_secret(&outcome);
    outcome
}

#[test]
fn no_password_of_an_address_is_shown_whatever_is_wrong_with_it() {
    let database = Database::create();
    let url = database.url();
    let with = |user: &str| url.replace("postgres@localhost", user);
    let addresses = [
        with("postgres:canary@localhost"),
        with("postgres:c%61nary@localhost"),
        with("nobody:canary@localhost"),
        with("postgres:x@canary/y@localhost"),
        with("postgres:12/canary@localhost"),
        with("postgres:12#canary@localhost"),
        with("postgres:12?canary@localhost"),
        with("postgres:12?canary=x@localhost"),
        with("postgres:canary@ca nary"),
        format!("{url}&password=canary"),
        format!("{url}&passwort=canary"),
        format!("{url}&canary=canary"),
        format!("{url}&sslmode=canary"),
        format!("{url}#canary"),
        "postgres://postgres:canary@127.0.0.1:1/keys".into(),
        "postgresql://postgres:canary@127.0.0.1:1/keys?sslmode=require".into(),
        "postgres:canary@127.0.0.1/keys".into(),
        "postgers://postgres:canary@127.0.0.1/keys".into(),
        "POSTGRES://postgres:canary@127.0.0.1/keys".into(),
    ];
    for address in &addresses {
        for command in [&["app", "list"] as &[_], &["key", "list", "--json"], &["app", "add", "x"]]
        {
            let by_option = [command, &["--db", address]].concat();
            run(Desk::new(), &by_option);
            run(Desk::new().variable("COUNTERSIGN_DB", address), command);
        }
    }
    let by_variable = Desk::new().variable("PGPASSWORD", CANARY);
    run(by_variable, &["app", "list", "--db", "postgres://postgres@127.0.0.1:1/keys"]);
}

#[test]
fn hints_name_the_registry_without_its_password() {
    let desk = Desk::with_database();
    let url = desk.database().url();
    let secret = url.replace("postgres@", "postgres:canary@");
    let hint = run(Desk::new(), &["app", "list", "--db", &secret]);
    let named = format!("`countersign app add NAME --db '{url}'` makes one");
    hint.failed(1, "there is no registry in the database", &named);
    desk.run(["app", "add", "shop"]).done();
    let hint = run(Desk::new(), &["app", "show", "other", "--db", &secret]);
    hint.failed(1, "no such application", &format!("`countersign app list --db '{url}'` shows"));
    // The variable names it already.
    desk.run(["app", "show", "other"]).failed(1, "no such application", "`countersign app list` ");
}

#[test]
fn what_is_wrong_with_the_server_is_told_in_one_line_and_what_to_do_in_another() {
    let desk = Desk::with_database();
    let (url, name) = (desk.database().url(), desk.database().name().to_owned());
    let list = |url: &str| run(Desk::new(), &["app", "list", "--db", url]);

    let address = "postgres://ana:canary@127.0.0.1:1/keys";
    let check = "psql postgres://ana@127.0.0.1:1/keys -c 'SELECT 1'";
    list(address).failed(
        2,
        "postgres://ana@127.0.0.1:1/keys: the database server cannot be reached",
        check,
    );
    let refused = list(address);
    assert!(refused.stderr.contains("Connection refused"), "{refused:?}");

    let missing = url.replace(&name, "Not-There");
    list(&missing).failed(1, "the database does not exist", "`CREATE DATABASE \"Not-There\"`");

    list(&format!("{url}&connect_timeout=3")).failed(1, "parameter", "these are: sslmode, ");
    let hint = "%40 for @";
    list("postgres://ana:c@canary/x@host/keys").failed(1, "--db names no registry", hint);

    desk.database()
        .raw("CREATE ROLE with_password LOGIN PASSWORD 'right'; CREATE ROLE guest LOGIN");
    let wrong = url.replace("postgres@", "with_password:canary@");
    list(&wrong).failed(1, "refuses the user or the password", "PGPASSWORD or in ~/.pgpass");

    let guest = url.replace("postgres@", "guest@");
    let prepare = ["app", "add", "shop", "--db", &guest];
    let grant = format!("`GRANT CREATE ON DATABASE {name} TO guest`");
    run(Desk::new(), &prepare).failed(1, "may not make or update the tables", &grant);
    desk.run(["app", "add", "shop"]).done();
    list(&guest).failed(1, "lacks a permission", "GRANT USAGE ON SCHEMA countersign TO guest;");
    // The hint is what is missing.
    let refused = list(&guest);
    let grants = refused.stderr.split('`').nth(1).unwrap();
    desk.database().raw(grants);
    run(Desk::new(), &["app", "add", "other", "--db", &guest]).done();

    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    desk.database().raw(&read_only);
    let refused = desk.run(["app", "add", "third"]);
    let end = refused.stderr.split('`').nth(1).unwrap().to_owned();
    refused.failed(1, "read-only", "name the primary server");
    desk.run(["app", "list"]).done();
    desk.database().raw_each(&end);
    desk.run(["app", "add", "third"]).done();

    let database = desk.database();
    database.raw("INSERT INTO countersign.migration SELECT 9999, description, now(), success, checksum, 0 FROM countersign.migration WHERE version = 1");
    desk.run(["app", "list"]).failed(1, "newer version", "newer one");
    database.raw("DELETE FROM countersign.migration WHERE version = 9999");

    // As errors of a kind that no test brings about come.
    database.raw(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = NEW.name; END $$;
         CREATE TRIGGER fail BEFORE INSERT ON countersign.application
         FOR EACH ROW EXECUTE FUNCTION public.fail();
         ALTER TABLE countersign.application ALTER COLUMN name TYPE text",
    );
    for (code, exit, error, hint) in [
        ("53100", 2, "no room left on the database server's disk", "make room"),
        ("55P03", 2, "locked by another transaction", "pg_terminate_backend(PID)"),
        ("57014", 2, "cancelled the statement: ", "ALTER ROLE postgres SET statement_timeout"),
        ("57P01", 2, "cannot be reached: ", "psql "),
        ("26000", 1, "mixes up prepared statements", "statement-cache-capacity=0"),
        ("42P01", 1, "no registry in the database", "app add NAME"),
        ("22012", 2, "cannot answer: ", "log of the database server"),
    ] {
        let name = code.to_lowercase();
        database.raw(&format!(
            "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = '{code}'; END $$"
        ));
        desk.run(["app", "add", &name]).failed(exit, error, hint);
    }
}

#[test]
fn the_parameter_for_poolers_is_added_to_the_address() {
    let desk = Desk::with_postgres_registry();
    desk.database().raw(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = '42P05'; END $$;
         CREATE TRIGGER fail BEFORE INSERT ON countersign.application
         FOR EACH ROW EXECUTE FUNCTION public.fail()",
    );
    let url = desk.database().url();
    let failed = run(Desk::new(), &["app", "add", "x", "--db", &url]);
    let named = format!("--db '{url}&statement-cache-capacity=0'; or name the server itself");
    failed.failed(1, "a connection pooler", &named);
    let unnamed = format!("{url}&statement-cache-capacity=0");
    run(Desk::new(), &["app", "list", "--db", &unnamed]).done();
}

/// Another application, and another setting of one that is there.
const REGISTRY: &str = "version = 1
[application.shop]
environment = 'test'
contact = 'bob@example.com'
[application.fourth]
environment = 'live'
";

/// Runs the same commands on both databases, and compares everything that is said.
#[test]
fn each_command_says_the_same_on_both_databases() {
    let desks = [Desk::with_registry(), Desk::with_postgres_registry()];
    let [first, second] = &desks;
    let keys = ["one", "two", "three"].map(|name| {
        let file = format!("{name}.key");
        let key = first.run(["keygen", "--out", &file]).done();
        let public = format!("{file}.pub");
        second.write(&public, first.read(&public), 0o644);
        key.trim().to_owned()
    });
    let [one, two, three] = &keys;
    for desk in &desks {
        desk.write("registry.toml", REGISTRY, 0o600);
        desk.write("bad.toml", "version = 1\n[application.shop]\nenvironment = 'LIVE'", 0o600);
    }
    let unknown = countersign::PrivateKey::ed25519(&[7; 32]).publishable_key().to_string();
    let commands: &[&[&str]] = &[
        &["app", "list"],
        &["app", "add", "other", "--env", "test"],
        &["app", "add", "other"],
        &["app", "list", "--json"],
        &["key", "list"],
        &["key", "add", "--app", "shop", "--public-key", "one.key.pub", "--label", "laptop"],
        &["key", "add", "--app", "shop", "--public-key", "one.key.pub"],
        &["key", "add", "--app", "none", "--public-key", "two.key.pub"],
        &[
            "key",
            "add",
            "--app",
            "other",
            "--public-key",
            "two.key.pub",
            "--scope",
            "orders:read",
            "--allow-ip",
            "192.0.2.0/24",
            "--expires",
            "2099-01-01T00:00:00Z",
        ],
        &["key", "list"],
        &["key", "list", "--app", "other", "--json"],
        &["key", "list", "--app", "none"],
        &["key", "show", one],
        &["key", "show", two, "--json"],
        &["key", "show", &unknown],
        &["key", "scope", one, "--add", "orders:write"],
        &["key", "restrict", one, "--allow-ip", "2001:db8::/48"],
        &["app", "show", "shop"],
        &["app", "show", "other", "--json"],
        &["app", "show", "none"],
        &["app", "remove", "shop"],
        &["app", "set", "shop", "--contact", "ana@example.com", "--notes", "the shop"],
        &["app", "set", "shop", "--env", "LIVE"],
        &["app", "set", "none", "--env", "test"],
        &["app", "show", "shop", "--json"],
        &["key", "set", one, "--label", "desk", "--limit-signed", "600/1m:50"],
        &["key", "set", one, "--expires", "2099-01-01T00:00:00Z", "--json"],
        &["key", "set", one, "--expires", "never", "--no-limit-signed"],
        &["key", "set", &unknown, "--label", "desk"],
        &["key", "quarantine", one, "--reason", "leaked?"],
        &["key", "quarantine", one, "--json"],
        &["key", "list", "--state", "quarantined"],
        &["key", "replace", one, "--public-key", "three.key.pub"],
        &["key", "release", one, "--reason", "not leaked"],
        &["key", "release", one],
        &["key", "release", &unknown],
        &["key", "due"],
        &["key", "due", "--age", "0s"],
        &["key", "due", "--age", "0s", "--app", "other", "--json"],
        &["key", "due", "--within", "100000d", "--json"],
        &[
            "key",
            "replace",
            one,
            "--public-key",
            "three.key.pub",
            "--overlap",
            "7d",
            "--label",
            "new",
        ],
        &["key", "replace", one, "--public-key", "three.key.pub", "--json"],
        &["key", "replace", one, "--public-key", "two.key.pub"],
        &["key", "show", one],
        &["key", "show", three, "--json"],
        &["key", "list", "--state", "retiring"],
        &["key", "list", "--state", "expired"],
        &["key", "list", "--expiring", "8d"],
        &["key", "list", "--never-expires", "--unrestricted", "--json"],
        &["key", "list", "--search", "SHOP", "--limit", "1", "--json"],
        &["key", "list", "--after", "none"],
        &["key", "prune", "--unused", "90d", "--dry-run"],
        &["key", "prune", "--unused", "90d"],
        &["key", "revoke", three, "--reason", "lost"],
        &["registry", "export"],
        &["registry", "diff", "registry.toml"],
        &["registry", "diff", "bad.toml"],
        &["registry", "apply", "registry.toml", "--dry-run"],
        &["registry", "apply", "registry.toml"],
        &["registry", "apply", "registry.toml"],
        &["registry", "diff", "registry.toml"],
        &["registry", "export"],
        &["audit", "list"],
        &["audit", "list", "--app", "shop", "--json"],
        &["audit", "list", "--key", one, "--action", "key.quarantine"],
        &["audit", "list", "--limit", "2", "--before", "7"],
        &["audit", "export"],
        &["audit", "export", "--after", "9"],
        &["audit", "verify"],
        &[
            "audit",
            "verify",
            "--head",
            "1:0000000000000000000000000000000000000000000000000000000000000000",
        ],
        &["key", "revoke", one],
        &["key", "revoke", one],
        &["key", "revoke", &unknown],
        &["app", "remove", "shop"],
        &["key", "list", "--json"],
        &["app", "list"],
    ];
    for command in commands {
        let said = [first, second].map(|desk| {
            let Finished { code, stdout, stderr } = desk.run(*command);
            (
                code,
                without_numbers(&without_times(&stdout)),
                without_numbers(&without_times(&stderr)),
            )
        });
        let [in_sqlite, in_postgres] = said;
        assert_eq!(in_sqlite, in_postgres, "{command:?}");
    }
}

/// Replaces each time of this century, which differs between two runs.
fn without_times(text: &str) -> String {
    let mut rest = text;
    let mut replaced = String::new();
    while let Some(at) = rest.find("20") {
        let (before, here) = rest.split_at(at);
        replaced.push_str(before);
        let is_time = |time: &str| time.ends_with('Z') && time.contains('T');
        match here.get(..20).filter(|time| is_time(time)) {
            Some(_) => {
                replaced.push_str("TIME");
                rest = here.get(20..).unwrap();
            }
            None => {
                replaced.push_str("20");
                rest = here.get(2..).unwrap();
            }
        }
    }
    replaced + rest
}

/// Replaces times in seconds and hashes, which differ between two runs.
fn without_numbers(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_part) {
        let (before, word) = rest.split_at(begin);
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        let is = |length: usize, of: fn(char) -> bool| word.len() == length && word.chars().all(of);
        replaced.push_str(before);
        replaced.push_str(match () {
            () if is(10, |c| c.is_ascii_digit()) => "SECONDS",
            () if is(64, |c| c.is_ascii_hexdigit()) => "HASH",
            () => word,
        });
        rest = after;
    }
    replaced + rest
}
