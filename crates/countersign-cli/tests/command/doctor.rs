use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign::Timestamp;
use serde_json::Value;

use crate::{
    curl::Server,
    desk::{Desk, Finished},
};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix(since.as_secs())
}

/// A server whose clock shows this time.
fn server(status: &str, date: Timestamp, fields: &str) -> Server {
    let date = date.http_date().unwrap().to_str().unwrap().to_owned();
    Server::start(&format!(
        "HTTP/1.1 {status}\nDate: {date}\n{fields}Content-Length: 0\nConnection: close\n\n"
    ))
}

/// The outcome of one check, and the whole of its lines.
fn line<'t>(outcome: &'t Finished, name: &str) -> &'t str {
    let mut lines = outcome.stdout.lines();
    let found = lines.find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(name)));
    found.unwrap_or_else(|| panic!("{name}: {outcome:?}"))
}

#[test]
fn a_doctor_without_a_url_looks_at_this_machine() {
    let (desk, publishable) = Desk::with_key();
    let nothing = desk.run(["doctor"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(line(&nothing, "curl").starts_with("ok "));
    assert!(
        line(&nothing, "key").starts_with("-  ") && line(&nothing, "server").starts_with("-  ")
    );
    let well = desk.run(["doctor", "--key", "id.key"]);
    assert!(line(&well, "key").ends_with(&format!("signs as {publishable}")), "{well:?}");
    desk.set_mode("id.key", 0o644);
    let open = desk.run(["doctor", "--key", "id.key"]);
    assert_eq!(open.code, 1);
    assert!(
        line(&open, "key").starts_with("FAIL")
            && open.stdout.contains("hint: run `chmod 600 id.key`")
    );
    let missing = desk.run(["doctor", "--key", "none.key"]);
    assert!(missing.code == 1 && line(&missing, "key").contains("none.key"), "{missing:?}");
}

#[test]
fn what_is_well_is_said_and_two_reads_are_sent() {
    let (desk, publishable) = Desk::with_key();
    let server = server("200 OK", now(), "");
    let outcome = desk.run(["doctor", "--key", "id.key", &server.url("/v1/orders")]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for name in ["server", "TLS", "clock", "signature"] {
        assert!(line(&outcome, name).starts_with("ok "), "{outcome:?}");
    }
    let (first, second) = (server.request(), server.request());
    assert!(first.starts_with("GET /v1/orders ") && !first.contains("Signature"), "{first}");
    let verify = ["verify", "--scheme", "http", "--key", &publishable, "-"];
    desk.run_with(verify, second.as_bytes()).done();
    assert!(server.received_nothing());
}

#[test]
fn a_clock_that_is_off_is_told_either_way() {
    let (desk, _) = Desk::with_key();
    let ten_minutes = Duration::from_secs(600);
    let table = [
        (now().minus(ten_minutes), "s ahead of the server's"),
        (now().plus(ten_minutes), "s behind the server's"),
    ];
    for (date, said) in table {
        let server = server("200 OK", date, "");
        let outcome = desk.run(["doctor", &server.url("/")]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let clock = line(&outcome, "clock");
        assert!(clock.starts_with("FAIL") && clock.ends_with(said), "{outcome:?}");
        let off: u64 = clock.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert!((595..=605).contains(&off), "{off}");
    }
}

#[test]
fn a_refusal_is_told_with_its_exit_code() {
    let (desk, _) = Desk::with_key();
    let table = [
        (
            "401 Unauthorized",
            "Countersign-Refusal: signature-invalid\n",
            3,
            "is the key registered",
        ),
        ("401 Unauthorized", "Countersign-Refusal: key-revoked\n", 3, "was revoked"),
        (
            "429 Too Many Requests",
            "Countersign-Refusal: rate-limited\nRetry-After: 7\n",
            4,
            "in 7 s",
        ),
        ("421 Misdirected Request", "Countersign-Refusal: misdirected\n", 2, "the URL"),
    ];
    for (status, fields, code, hint) in table {
        let server = server(status, now(), fields);
        let outcome = desk.run(["doctor", "--key", "id.key", &server.url("/")]);
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(line(&outcome, "signature").starts_with("FAIL"), "{outcome:?}");
        let hints: String = outcome.stdout.lines().filter(|line| line.contains("hint: ")).collect();
        assert!(hints.contains(hint), "{outcome:?}");
    }
    // Of a proxy, or a service without a verifier.
    let elsewhere = server("401 Unauthorized", now(), "");
    let outcome = desk.run(["doctor", "--key", "id.key", &elsewhere.url("/")]);
    assert!(outcome.code == 0 && line(&outcome, "signature").starts_with("note"), "{outcome:?}");
}

#[test]
fn a_server_that_cannot_be_reached_is_told_in_plain_words() {
    let (desk, _) = Desk::with_key();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // A server without TLS, which does not wait for the end of what it cannot read.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let table = [
        (format!("http://{closed}/"), 2, "nothing accepts connections there"),
        (format!("https://{plain}/"), 2, "does not speak TLS"),
        ("http://no-such-host.invalid/".to_owned(), 2, "the name of the host is not known"),
        ("ftp://127.0.0.1/".to_owned(), 1, "not a URL that can be signed"),
    ];
    for (url, code, said) in table {
        let outcome = desk.run(["doctor", "--key", "id.key", &url]);
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(outcome.stdout.contains(said), "{url}: {outcome:?}");
    }
}

#[test]
fn a_proxy_is_named_by_its_variable_and_a_script_gets_json() {
    let (desk, publishable) = Desk::with_key();
    let desk = desk.variable("https_proxy", "http://me:secret@proxy.example:3128");
    let outcome = desk.run(["doctor", "--json", "--key", "id.key"]);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(told["well"], true);
    let checks = told["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap();
    assert_eq!(named("key")["outcome"], "well");
    assert!(named("key")["detail"].as_str().unwrap().ends_with(&publishable));
    assert!(named("proxy")["detail"].as_str().unwrap().ends_with("https_proxy"));
    assert!(!outcome.stdout.contains("secret"), "{outcome:?}");
}

/// A doctor runs curl for its version, and twice for a request.
#[cfg(target_os = "linux")]
#[test]
fn curl_gets_no_variable_and_no_descriptor_that_leads_to_a_secret() {
    let (desk, _) = Desk::with_key();
    desk.run(["master-key", "generate", "--out", "new.master"]).done();
    desk.run(["master-key", "generate", "--out", "old.master"]).done();
    desk.write("passphrase", "hunter2", 0o600);
    desk.write(
        "curl",
        "#!/bin/sh\necho run >> seen\nenv >> seen\nls -l /proc/$$/fd >> seen\nexec \"$CURL\" \"$@\"\n",
        0o755,
    );
    let searched = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&searched).map(|folder| folder.join("curl"));
    let real = real.into_iter().find(|curl| curl.exists()).unwrap();
    let path = format!("{}:{searched}", desk.path(".").display());
    let desk = desk
        .variable("PATH", &path)
        .variable("CURL", real.to_str().unwrap())
        .variable("COUNTERSIGN_KEY", "hunter2")
        .variable("COUNTERSIGN_PASSPHRASE", "hunter2")
        .variable("COUNTERSIGN_MASTER_KEY", "hunter2")
        .variable("COUNTERSIGN_PREVIOUS_MASTER_KEY", "hunter2");
    let server = server("200 OK", now(), "");
    let run = "exec \"$1\" doctor --key fd:6 --passphrase-file /dev/fd/7 --master-key fd:8 --previous-master-key /dev/fd/9 \"$2\" \
               6< id.key 7< passphrase 8< new.master 9< old.master";
    let program = env!("CARGO_BIN_EXE_countersign");
    let doctor = desk.command("sh").args(["-c", run, "sh", program, &server.url("/")]).output();
    let doctor = doctor.unwrap();
    assert!(doctor.status.success(), "{doctor:?}");
    let seen = desk.read("seen");
    assert_eq!(seen.lines().filter(|line| *line == "run").count(), 3, "{seen}");
    assert!(seen.contains("PATH="), "{seen}");
    for secret in ["hunter2", "COUNTERSIGN_", "id.key", "passphrase", ".master"] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
}

#[test]
fn on_a_server_the_registry_and_the_master_key_are_looked_at() {
    let desk = Desk::with_registry();
    desk.run(["master-key", "generate", "--out", "master.key"]).done();
    let well = desk.run(["doctor", "--master-key", "master.key"]);
    assert_eq!(well.code, 0, "{well:?}");
    assert!(line(&well, "registry").ends_with("it can be read, and has 0 keys"), "{well:?}");
    assert!(line(&well, "master key").contains("its id is "), "{well:?}");
    let faults =
        [("registry", ["--db", "sqlite:none.db"]), ("master key", ["--master-key", "none.key"])];
    for (name, arguments) in faults {
        let none = desk.run(["doctor"].iter().chain(&arguments));
        assert!(none.code == 1 && line(&none, name).starts_with("FAIL"), "{none:?}");
    }
    let alone = Desk::new();
    let master_key = desk.path("master.key");
    let well = alone.run(["doctor", "--master-key", master_key.to_str().unwrap()]);
    assert!(line(&well, "master key").contains("its id is "), "{well:?}");
}
