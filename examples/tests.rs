//! Every example, run as its readers run it.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use countersign::{Code, KeyFile, PrivateKey, ProvenKey, Timestamp};
use countersign_client::Refusal;
use countersign_store::{
    EventFilter, EventKind, NewCredential, Registry, UsageDimension, UsageQuery,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An example as cargo built it, beside this test.
fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    Command::new(profile.join("examples").join(name))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A process that is stopped when it is no longer looked at.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// A process whose stdout is kept.
    fn of(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it has said on stderr, which was kept, once it has ended.
    fn end_and_read_log(mut self) -> String {
        self.end_by("TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    fn line(&mut self, wanted: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find(|line| line.contains(wanted)).unwrap()
    }

    /// Sends it a signal, as `TERM`, after which it ends well.
    #[track_caller]
    fn end_by(&mut self, signal: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &process]).status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success(), "{signal}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An example that serves, on a free port, with a key registered for it.
struct Served {
    name: &'static str,
    folder: TempDir,
    origin: String,
    publishable: String,
    running: Running,
}

impl Served {
    fn start(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A server that finds a registry refuses what may have been accepted with it before; one that makes it, nothing.
        let (running, origin) = Self::run(name, "127.0.0.1:0", &folder);
        let db = format!("sqlite:{}", folder.path().join("registry.db").display());
        let key = PrivateKey::ed25519(&[7; 32]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (registry, now) = (Registry::open(&db).await.unwrap(), Timestamp::from_unix(1));
            registry.add_application("shop", "test", now).await.unwrap();
            let proven = ProvenKey::from(&key);
            registry
                .add_credential(NewCredential::new("shop", "laptop", &proven), now)
                .await
                .unwrap();
            registry.close().await;
        });
        let served = folder.path().join("shop.key");
        fs::write(&served, key.expose_pkcs8_pem().unwrap().as_bytes()).unwrap();
        fs::set_permissions(&served, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { name, folder, origin, publishable: key.publishable_key().to_string(), running }
    }

    fn run(name: &str, address: &str, folder: &TempDir) -> (Running, String) {
        let db = format!("sqlite:{}", folder.path().join("registry.db").display());
        let mut command = example(name);
        command.args([address, &db]);
        let mut running = Running::start(command);
        let origin = running.line("http://");
        (running, origin)
    }

    /// Kills it without warning, and starts it again at the same address.
    fn restart(&mut self) {
        self.running.child.kill().unwrap();
        self.start_again();
    }

    /// Sends it a signal, as `TERM`, after which it ends well, and starts it again at the same address.
    fn restart_by(&mut self, signal: &str) {
        self.running.end_by(signal);
        self.start_again();
    }

    fn start_again(&mut self) {
        self.running.child.wait().unwrap();
        let address = self.origin.strip_prefix("http://").unwrap().to_owned();
        (self.running, _) = Self::run(self.name, &address, &self.folder);
    }

    /// Registers the key in this file too.
    fn register(&self, file: &str) {
        let content = fs::read(file).unwrap();
        let key = KeyFile::parse(&content, None).and_then(KeyFile::into_private).unwrap();
        let db = format!("sqlite:{}", self.folder.path().join("registry.db").display());
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let registry = Registry::open(&db).await.unwrap();
            let proven = ProvenKey::from(&key);
            let credential = NewCredential::new("shop", "agent", &proven);
            registry.add_credential(credential, Timestamp::from_unix(1)).await.unwrap();
            registry.close().await;
        });
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("shop.key")
    }

    fn url(&self) -> String {
        format!("{}/v1/orders", self.origin)
    }
}

/// The examples that save their replay guard.
const SAVING: [&str; 4] = ["axum_server", "hyper_server", "behind_proxy", "tls_server"];

/// One of [`SAVING`] with all its arguments. A registry without a path is in the folder.
fn saving(name: &str, address: &str, db: &str, folder: &TempDir) -> Command {
    let mut command = example(name);
    command.current_dir(folder).arg(address);
    match name {
        "behind_proxy" => command.args(["https://api.example.com", db, "--proxy", "10.0.0.7/32"]),
        "tls_server" => command.arg(db).args(certificate(folder)),
        _ => command.arg(db),
    };
    command
}

/// Makes a certificate for localhost and its key in a folder that has none.
fn certificate(folder: &TempDir) -> [PathBuf; 2] {
    let files = ["localhost.pem", "localhost.key"].map(|name| folder.path().join(name));
    let [certificate, key] = &files;
    if !key.exists() {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]).arg("-out");
        openssl.arg(certificate).arg("-keyout").arg(key);
        assert!(openssl.output().unwrap().status.success());
    }
    files
}

/// The files in a folder, with their content.
fn content(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

/// It failed: one line says why, and one what to do.
#[track_caller]
fn failed(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = text(&output.stderr);
    let lines: Vec<_> = stderr.lines().collect();
    let &[error, hint] = lines.as_slice() else { panic!("{stderr}") };
    assert!(error.starts_with("error: ") && error.contains(why), "{stderr}");
    assert!(hint.starts_with("hint: "), "{stderr}");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn order() -> Value {
    json!({ "signed_by": "laptop", "order": { "item": "book" } })
}

fn no_orders() -> Value {
    json!({ "application": "shop", "orders": [] })
}

#[test]
fn the_quickstart_shows_all_that_it_promises() {
    let output = example("quickstart").output().unwrap();
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    let came: Vec<_> = stdout.lines().filter_map(|line| Some(line.split_once("→  ")?.1)).collect();
    let expected = [
        "200",
        "201",
        "401 signature-replayed",
        "400 digest-mismatch",
        "401 signature-invalid",
        "401 signature-required",
        "401 signature-stale",
        "401 key-revoked",
    ];
    assert_eq!(came, expected);
    assert!(!example("quickstart").arg("--other").output().unwrap().status.success());
}

#[test]
fn the_quickstart_that_stays_up_prints_a_read_that_works() {
    let mut command = example("quickstart");
    command.arg("--serve");
    let mut running = Running::start(command);
    let read = running.line("curl -H");
    let write = running.line("countersign curl --key");
    assert!(write.contains("--json '{\"item\":\"book\"}' http://127.0.0.1:"), "{write}");
    let output = Command::new("sh").args(["-c", &format!("{read} -sS")]).output().unwrap();
    assert_eq!(json(&text(&output.stdout)), no_orders(), "{output:?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/signed_curl.sh");
    let words: Vec<_> = write.split_whitespace().collect();
    let (key, url) = (words.get(3).unwrap(), words.last().unwrap());
    let output = Command::new(script).args([key, url, r#"{"item":"book"}"#]).output().unwrap();
    assert!(text(&output.stdout).contains(r#""order":{"item":"book"}"#), "{output:?}");
    let usage = running.line("countersign usage --db ");
    let db = usage.split_whitespace().last().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(counted(&db));
}

/// Waits until a server has saved the calls of the quickstart, and those to it.
async fn counted(db: &str) {
    let registry = Registry::open_or_create(db).await.unwrap();
    loop {
        let now = countersign_store::system_time();
        let query = UsageQuery::new(now.minus(Duration::from_secs(3600)), now);
        let query = query.group_by(UsageDimension::Route).group_by(UsageDimension::Label);
        let usage = registry.usage(&query, now).await.unwrap();
        let calls = |route: &str, label: &str| {
            let group = [Some(route.to_owned()), Some(label.to_owned())];
            usage.rows.iter().find(|row| row.group == group).map(|row| row.count.calls)
        };
        if calls("GET /v1/orders", "to try") == Some(1)
            && calls("POST /v1/orders", "to try") == Some(1)
        {
            assert!(calls("POST /v1/orders", "quickstart").unwrap() > 3, "{usage:?}");
            let events = registry.events(&EventFilter::default(), None, 100).await.unwrap();
            assert!(events.entries.iter().any(|event| event.kind == EventKind::Replayed));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn several_servers_handle_a_request_once_and_refuse_writes_without_redis() {
    let output = example("several_servers").output().unwrap();
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let came: Vec<_> = stdout.lines().filter_map(|line| Some(line.split_once("→  ")?.1)).collect();
    let expected = [
        "401 signature-stale",
        "201",
        "401 signature-replayed",
        "201",
        "429 rate-limited",
        "429 rate-limited",
        "200",
        "401 key-unknown",
        "401 key-unknown",
        "503 replay-store-unavailable",
        "200",
        "503 replay-store-unavailable",
        "200",
    ];
    assert_eq!(came, expected);
    let postgres = "postgres://me:secret@127.0.0.1:1/keys";
    for (urls, why) in [
        (&[postgres, "redis://me:secret@127.0.0.1:1"] as &[_], "server cannot be reached"),
        (&[postgres, postgres], "it is not `redis://"),
        (&[postgres], "this takes no URL, or two"),
    ] {
        let output = example("several_servers").args(urls).output().unwrap();
        assert!(!text(&output.stderr).contains("secret"), "{output:?}");
        failed(&output, why);
    }
}

#[test]
fn behind_a_proxy_host_and_client_are_what_the_proxy_says_and_nobody_else() {
    let served = Served::start("axum_server");
    let db = format!("sqlite:{}", served.folder.path().join("registry.db").display());
    let start = |proxy: &str| {
        let mut command = example("behind_proxy");
        command.args(["127.0.0.1:0", "https://api.example.com", &db, "--proxy", proxy]);
        command
    };
    let asked = |proxy: &str, fields: &[&str]| {
        let mut running = Running::start(start(proxy));
        let url = format!("{}/v1/orders", running.line("http://"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", &url, "-H", &format!("X-Api-Key: {}", served.publishable)]);
        let output = curl.args(fields.iter().flat_map(|field| ["-H", field])).output().unwrap();
        json(&text(&output.stdout))
    };
    let is = |client: &str| json!({ "application": "shop", "client": client });
    let host = "Host: api.example.com";
    let forwarded = ["X-Forwarded-Host: api.example.com", "X-Forwarded-For: 192.0.2.1"];
    assert_eq!(asked("127.0.0.0/8", &forwarded), is("192.0.2.1"));
    assert_eq!(asked("127.0.0.0/8", &[host]).get("code"), Some(&json!("bad-request")));
    let [named, from] = forwarded;
    assert_eq!(asked("10.0.0.7/32", &[host, named, from]), is("127.0.0.1"));
    assert_eq!(asked("10.0.0.7/32", &forwarded).get("code"), Some(&json!("misdirected")));
    failed(&start("0.0.0.0/0").output().unwrap(), "0.0.0.0/0 is every address; list the proxies");
}

#[test]
fn nothing_but_sh_openssl_and_curl_is_needed_to_sign() {
    let served = Served::start("axum_server");
    let sign = |url: &str, content: &str| -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/signed_curl.sh");
        Command::new(script).arg(served.key()).args([url, content]).output().unwrap()
    };
    let content = r#"{"item":"book"}"#;
    for query in ["", "?a=b&c=%20", "?a?b"] {
        let output = sign(&format!("{}{query}", served.url()), content);
        assert_eq!(json(&text(&output.stdout)), order(), "{output:?}");
    }
    let elsewhere = sign(&format!("{}?", served.url()), content);
    assert!(text(&elsewhere.stdout).contains("bad-target"), "{elsewhere:?}");
    assert_eq!(elsewhere.status.code(), Some(22), "{elsewhere:?}");
    // What is signed is right, so that it is the handler that is missing.
    for url in [served.origin.clone(), format!("{}?a=b#c", served.origin)] {
        let nothing_there = sign(&url, content);
        assert!(text(&nothing_there.stderr).contains("404"), "{nothing_there:?}");
    }
}

#[test]
fn a_key_that_does_not_sign_is_told_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, arguments: &[&str]| {
        let file = folder.path().join(name);
        let status = Command::new("openssl").args(arguments).arg("-out").arg(&file).output();
        assert!(status.unwrap().status.success());
        file
    };
    let elliptic = ["genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let elliptic = make("ec.pem", &elliptic);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/signed_curl.sh");
    for key in [elliptic, folder.path().join("none.pem")] {
        let output = Command::new(script).arg(&key).args([&url, "{}"]).output().unwrap();
        failed(&output, "is no file of an Ed25519 private key");
    }
    assert!(silent.accept().is_err(), "something was sent");
}

#[test]
fn the_client_writes_to_the_server_and_is_told_why_not() {
    for server in ["axum_server", "hyper_server"] {
        client_writes_to(&Served::start(server));
    }
}

fn client_writes_to(served: &Served) {
    let client = |url: &str| example("reqwest_client").arg(served.key()).arg(url).output().unwrap();
    let written = client(&served.url());
    let stdout = text(&written.stdout);
    assert_eq!(stdout.strip_prefix("201 ").map(json), Some(order()), "{written:?}");
    let elsewhere = served.url().replace("127.0.0.1", "localhost");
    let refused = client(&elsewhere);
    failed(&refused, "misdirected: ");
    failed(&client(&format!("{}/none", served.origin)), "404 Not Found");
    failed(&client("http://127.0.0.1:1/"), "Connection refused");
    failed(&client(&format!("{}?", served.url())), "has a ? and no query");

    let read = |key: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "%{http_code}", "-H", &format!("X-Api-Key: {key}")]);
        text(&curl.arg(served.url()).output().unwrap().stdout)
    };
    let answer = read(&served.publishable);
    assert_eq!(answer.strip_suffix("200").map(json), Some(no_orders()), "{answer}");
    assert!(read("pk_unknown").ends_with("401"));
    let unsigned = Command::new("curl").args(["-sS", "-d", "{}", &served.url()]).output().unwrap();
    assert_eq!(json(&text(&unsigned.stdout)).get("code"), Some(&json!("signature-required")));
}

#[test]
fn a_server_without_a_proxy_speaks_tls_and_shows_what_was_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = certificate(&folder);
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let server = |key: &PathBuf| {
        let mut command = example("tls_server");
        command.args(["127.0.0.1:0", &db]).arg(&certificate).arg(key);
        command
    };
    let mut running = Running::start(server(&key));
    let origin = running.line("https://");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-d", "{}", "-w", "\n%{http_version}", "--cacert"]).arg(&certificate);
    curl.args(["--resolve", &format!("{}:127.0.0.1", origin.replace("https://", ""))]);
    let output = curl.arg(format!("{origin}/v1/orders")).output().unwrap();
    let answer = text(&output.stdout);
    let (problem, version) = answer.split_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(json(problem).get("code"), Some(&json!("signature-required")));
    assert_eq!(version, "2");
    failed(&server(&certificate).output().unwrap(), "no private key can be read from");
}

#[test]
fn a_write_is_not_repeated_after_the_server_was_killed() {
    let mut served = Served::start("axum_server");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = countersign_client::Client::from_key_file(served.key()).unwrap();
    let sign = || client.post(served.url()).json(&json!({ "item": "book" })).sign().unwrap();
    let (signed, other) = (sign(), sign());
    let wire = reqwest::Client::new();
    let send = |request: &reqwest::Request| {
        let sent = wire.execute(request.try_clone().unwrap());
        let answer = runtime.block_on(async { Refusal::check(sent.await.unwrap()).await });
        answer.map(|response| response.status().as_u16()).map_err(|refusal| refusal.code)
    };
    assert_eq!(send(&signed), Ok(201));
    assert_eq!(send(&signed), Err(Code::SignatureReplayed));
    served.restart();
    assert_eq!(
        send(&signed),
        Err(Code::SignatureStale),
        "it forgot what it had seen, and knows it"
    );
    // What could have been seen is refused too, in one word with when to come back.
    assert_eq!(send(&other), Err(Code::SignatureStale));
}

#[test]
fn a_server_that_is_told_to_stop_and_started_again_refuses_only_what_is_repeated() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for server in ["axum_server", "hyper_server"] {
        let mut served = Served::start(server);
        let client = countersign_client::Client::from_key_file(served.key()).unwrap();
        let wire = reqwest::Client::new();
        let url = served.url();
        let sign = || client.post(&url).json(&json!({ "item": "book" })).sign().unwrap();
        let send = |request: &reqwest::Request| {
            let sent = wire.execute(request.try_clone().unwrap());
            let response = runtime.block_on(sent).unwrap();
            let wait = response.headers().get("retry-after").cloned();
            let answer = runtime.block_on(Refusal::check(response));
            answer.map(|answer| answer.status().as_u16()).map_err(|it| (it.code, wait.is_some()))
        };
        let mut captured = Vec::new();
        for signal in ["TERM", "INT", "TERM"] {
            let signed = sign();
            assert_eq!(send(&signed), Ok(201), "{server} before {signal}");
            captured.push(signed);
            served.restart_by(signal);
            assert_eq!(send(&sign()), Ok(201), "{server} after {signal}");
            for signed in &captured {
                assert_eq!(send(signed), Err((Code::SignatureReplayed, false)), "{server}");
            }
        }
        served.restart();
        assert_eq!(send(&sign()), Err((Code::SignatureStale, true)), "{server} after a kill");
    }
}

#[test]
fn a_start_that_finds_its_port_in_use_takes_neither_ceiling_nor_saved_guard() {
    for name in SAVING {
        let folder = tempfile::tempdir().unwrap();
        let start = |address: &str| saving(name, address, "sqlite:registry.db", &folder);
        let mut running = Running::start(start("127.0.0.1:0"));
        let origin = running.line("://");
        let (_, port) = origin.rsplit_once(':').unwrap();
        let address = format!("127.0.0.1:{port}");

        // The owner of the ceiling is in the registry.
        let serving = content(&folder);
        failed(&start(&address).output().unwrap(), "in use");
        assert!(content(&folder) == serving, "{name} while another one serves");

        running.end_by("TERM");
        let saved = content(&folder);
        assert!(saved.contains_key("registry.db-nonces"), "{name} saves nothing");
        let _taken = TcpListener::bind(&address).unwrap();
        failed(&start(&address).output().unwrap(), "in use");
        assert!(content(&folder) == saved, "{name} after a stop");
    }
}

#[test]
fn a_guard_is_saved_beside_its_registry_however_the_address_is_written() {
    for name in SAVING {
        let folder = tempfile::tempdir().unwrap();
        for (db, other) in [
            ("sqlite://registry.db", "sqlite:registry.db?mode=rw"),
            ("sqlite://registry.db?mode=rwc", "sqlite:registry.db"),
        ] {
            let start = |db| {
                let mut running = Running::start(saving(name, "127.0.0.1:0", db, &folder));
                running.line("://");
                running
            };
            let is_saved = || content(&folder).contains_key("registry.db-nonces");
            start(db).end_by("TERM");
            assert!(is_saved(), "{name} {db}: {:?}", content(&folder).keys());
            let _killed = start(other);
            assert!(!is_saved(), "{name} {other}");
        }
    }
}

#[test]
fn calls_that_are_under_way_at_a_restart_are_answered_or_find_nobody_and_none_is_refused() {
    let mut served = Served::start("hyper_server");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = countersign_client::Client::from_key_file(served.key()).unwrap();
    let (outcomes, outcome) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let (client, url, outcomes) = (client.clone(), served.url(), outcomes.clone());
        runtime.spawn(async move {
            loop {
                let sent = client.post(&url).json(&json!({ "item": "book" })).send().await;
                let came = match sent {
                    Ok(response) => {
                        let checked = Refusal::check(response).await;
                        Some(checked.map(|it| it.status().as_u16()).map_err(|it| it.code))
                    }
                    // Nobody was there for it.
                    Err(_) => None,
                };
                if outcomes.send(came).is_err() {
                    return;
                }
            }
        });
    }
    let served_some = || {
        let mut served = 0;
        while served < 20 {
            match outcome.recv().unwrap() {
                Some(came) => assert_eq!(came, Ok(201)),
                None => continue,
            }
            served += 1;
        }
    };
    for signal in ["TERM", "INT"] {
        served_some();
        served.restart_by(signal);
    }
    // What was answered before the last start is still in the channel; much more than that comes.
    outcome.try_iter().flatten().for_each(|came| assert_eq!(came, Ok(201)));
    served_some();
}

#[test]
fn an_instance_that_takes_over_from_one_that_stopped_refuses_nobody() {
    const URL: &str = "http://shop.example/v1/orders";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for name in ["axum_server", "hyper_server"] {
        let served = Served::start(name);
        let Served { folder, mut running, .. } = served;
        running.end_by("TERM");
        let instance = || {
            let db = format!("sqlite:{}", folder.path().join("registry.db").display());
            let mut command = example(name);
            command.args(["127.0.0.1:0", &db, "http://shop.example"]);
            let mut running = Running::start(command);
            let origin = running.line("http://");
            let address: SocketAddr = origin.strip_prefix("http://").unwrap().parse().unwrap();
            // As a load balancer, which has one name for all instances.
            let wire = reqwest::Client::builder().resolve("shop.example", address).build();
            (running, wire.unwrap())
        };
        let client =
            countersign_client::Client::from_key_file(folder.path().join("shop.key")).unwrap();
        let sign = || client.post(URL).json(&json!({ "item": "book" })).sign().unwrap();
        let send = |wire: &reqwest::Client, request: &reqwest::Request| {
            let sent = wire.execute(request.try_clone().unwrap());
            let answer = runtime.block_on(async { Refusal::check(sent.await.unwrap()).await });
            answer.map(|response| response.status().as_u16()).map_err(|refusal| refusal.code)
        };
        let mut captured = Vec::new();
        let (mut running, mut wire) = instance();
        for _ in 0..3 {
            for _ in 0..20 {
                let signed = sign();
                assert_eq!(send(&wire, &signed), Ok(201), "{name}");
                captured.push(signed);
            }
            running.end_by("TERM");
            (running, wire) = instance();
            for signed in &captured {
                assert_eq!(send(&wire, signed), Err(Code::SignatureReplayed), "{name}");
            }
        }
    }
}

#[test]
fn a_server_at_every_address_is_told_its_origins_and_its_log_says_them() {
    let read = |port: &str, host: &str, key: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-H", &format!("X-Api-Key: {key}"), "-H", &format!("Host: {host}")]);
        let output = curl.arg(format!("http://127.0.0.1:{port}/v1/orders")).output().unwrap();
        json(&text(&output.stdout))
    };
    for name in ["axum_server", "hyper_server"] {
        let Served { folder, mut running, publishable, .. } = Served::start(name);
        running.end_by("TERM");
        let db = format!("sqlite:{}", folder.path().join("registry.db").display());
        for everywhere in ["0.0.0.0:0", "[::]:0"] {
            failed(&example(name).args([everywhere, &db]).output().unwrap(), "no origin is named");
        }
        let unusable = example(name).args(["0.0.0.0:0", &db, "shop.example"]).output().unwrap();
        failed(&unusable, "http");
        let mut command = example(name);
        command.args(["0.0.0.0:0", &db, "http://shop.example", "http://localhost:8080"]);
        command.stderr(Stdio::piped());
        let mut running = Running::start(command);
        let at = running.line("http://");
        let (_, port) = at.rsplit_once(':').unwrap();
        for host in ["shop.example", "localhost:8080"] {
            assert_eq!(read(port, host, &publishable), no_orders(), "{name}");
        }
        let elsewhere = format!("127.0.0.1:{port}");
        let refused = read(port, &elsewhere, &publishable);
        assert_eq!(refused.get("code"), Some(&json!("misdirected")), "{name}");
        let log = running.end_and_read_log();
        let origins = r#"origins="http://localhost:8080 http://shop.example""#;
        let told = log.lines().filter(|line| line.contains("shop.example"));
        assert_eq!(told.count(), 2, "{origins} {log}");
        let advice =
            log.lines().find(|line| line.contains("a request for another host was refused"));
        assert!(advice.unwrap().contains(&elsewhere), "{log}");
    }
}

#[test]
fn whoever_asks_for_the_health_of_a_server_needs_to_know_nothing() {
    use std::io::{Read, Write};
    for server in ["axum_server", "hyper_server"] {
        let served = Served::start(server);
        let address = served.origin.strip_prefix("http://").unwrap();
        for request in [
            "GET /health HTTP/1.0\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: 10.244.1.7:8080\r\nUser-Agent: kube-probe/1.33\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
        ] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("well\n"), "{answer}");
        }
    }
}

#[test]
fn a_readiness_probe_is_told_whether_the_guard_accepts_what_is_signed_now() {
    let folder = tempfile::tempdir().unwrap();
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let start = || {
        let mut command = example("behind_proxy");
        command.args(["127.0.0.1:0", "https://api.example.com", &db, "--proxy", "10.0.0.7/32"]);
        let mut running = Running::start(command);
        let origin = running.line("http://");
        (running, origin)
    };
    let status = |url: String| {
        let mut curl = Command::new("curl");
        let output = curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url]).output();
        text(&output.unwrap().stdout)
    };
    // The first makes its registry. The second finds one, and no word of what was accepted with it.
    for ready in ["200", "503"] {
        let (_killed, origin) = start();
        assert_eq!(status(format!("{origin}/ready")), ready);
        assert_eq!(status(format!("{origin}/health")), "200");
    }
}

#[test]
fn an_upload_counts_only_when_all_of_it_is_what_was_signed() {
    let output = example("streaming_upload").output().unwrap();
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for told in [
        "PUT     /files/{name}                    signed files:write (streamed, 1073741824 bytes)",
        "an upload                   →  201 33554432 bytes of nightly are stored; 1 file in the folder",
        "with its last byte changed  →  400 digest-mismatch; 1 file in the folder",
    ] {
        assert!(stdout.lines().any(|line| line == told), "{told}: {stdout}");
    }
}

#[test]
fn events_reach_a_webhook_that_was_down_and_a_policy_puts_the_key_into_quarantine() {
    let output = example("webhook").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let lines: Vec<_> = printed.lines().collect();
    let [down, first, second, state] = lines.as_slice() else { panic!("{printed}") };
    assert_eq!(*down, "receiver: 503, for the first attempt");
    for (line, network, quarantined) in
        [(first, "203.0.113.0/24", "false"), (second, "192.0.2.0/24", "true")]
    {
        for told in
            ["from watch: ", "first-network", network, &format!("\"quarantined\":{quarantined}")]
        {
            assert!(line.contains(told), "{told}: {line}");
        }
    }
    assert_eq!(*state, "the key of the laptop is quarantined");
}

#[test]
fn an_answer_counts_only_as_the_service_gave_it_and_to_the_request_that_it_was_given_to() {
    let output = example("signed_responses").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let expected = [
        r#"the service signs with one of {"keys":[{"#,
        "nobody meddles                           →  verified: 201 {",
        "the content is changed                   →  refused: its content is not the signed content",
        "the response is that of the request before →  refused: its signature is not valid for this response to this request",
        "the signature is removed                 →  refused: it has no signature with the tag of signed responses",
        "a stranger asks                          →  verified: 401 signature-invalid",
    ];
    assert_eq!(printed.lines().count(), expected.len(), "{printed}");
    for (line, expected) in printed.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn what_becomes_of_requests_is_counted_for_prometheus_and_told_in_spans_and_no_secret_is() {
    let output = example("metrics").output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{output:?}");
    for (outcome, rollout, route) in [
        ("publishable", "enforce", "GET /v1/orders"),
        ("signed", "enforce", "POST /v1/orders"),
        ("signature-replayed", "enforce", "POST /v1/orders"),
        ("signature-required", "enforce", "POST /v1/orders"),
        ("signature-required", "observe", "POST /v1/refunds"),
        ("signed", "observe", "POST /v1/refunds"),
    ] {
        let line = format!(
            "countersign_requests_total{{outcome=\"{outcome}\",rollout=\"{rollout}\",route=\"{route}\"}} 1"
        );
        assert!(stdout.lines().any(|other| other == line), "{line}: {stdout}");
        let told = format!("route=\"{route}\"");
        let outcome = format!("outcome=\"{outcome}\"");
        assert!(
            stderr.lines().any(|line| line.contains(&told) && line.contains(&outcome)),
            "{told} {outcome}: {stderr}"
        );
    }
    let help = "# HELP countersign_requests_total Requests by their outcome at the verifier";
    assert!(stdout.lines().any(|line| line.starts_with(help)), "{stdout}");
    let named = r#"application="shop" credential="laptop" credential_id=1 outcome="signed""#;
    assert!(stderr.contains(named), "{stderr}");
    for secret in ["sk_", "Signature", "sig=", "nonce"] {
        assert!(!stderr.contains(secret) && !stdout.contains(secret), "{secret}");
    }
}

#[test]
fn an_access_token_counts_only_in_requests_that_its_key_has_signed_with_it() {
    let output = example("oauth").output().unwrap();
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let came: Vec<_> = stdout.lines().filter_map(|line| Some(line.split_once("→  ")?.1)).collect();
    let expected = [
        r#"200 shop orders for Ada (customer-7): {"item":"book"}"#,
        "401 token-required",
        "403 token-forbidden",
        "401 token-invalid",
        "401 signature-invalid",
        "400 signature-malformed",
        "401 signature-policy",
    ];
    assert_eq!(came, expected);
}

#[test]
fn an_sdk_and_its_blocking_twin_call_the_service_and_name_what_went_wrong() {
    let served = Served::start("axum_server");
    for name in ["sdk", "sdk_blocking"] {
        let run = |key: &str| {
            let output = example(name).args([key, &served.origin, "book"]).output().unwrap();
            (output.status.success(), text(&output.stdout) + &text(&output.stderr))
        };
        let (well, said) = run(served.key().to_str().unwrap());
        assert!(well, "{said}");
        let placed =
            r#"Placed { signed_by: "laptop", order: Order { item: "book" } }, after 0 orders"#;
        assert_eq!(said.trim_end(), placed);
        let (well, said) = run("env:COUNTERSIGN_TEST_NO_KEY");
        assert!(!well && said.contains("COUNTERSIGN_TEST_NO_KEY"), "{said}");
    }
    for file in [include_str!("sdk.rs"), include_str!("sdk_blocking.rs")] {
        assert!(file.lines().count() < 100);
        let code = file.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(!code.collect::<String>().contains("sign("), "signing shows");
    }
}

#[path = "sdk.rs"]
#[expect(dead_code, reason = "the program of an SDK is not what its users test")]
mod sdk;

/// As the users of an SDK test: the service is a stand-in of their own, on a free port, behind a real verifier.
#[tokio::test]
async fn users_of_an_sdk_test_against_a_service_of_their_own() {
    use axum::{Json, Router, http::StatusCode, routing::post};
    use countersign::Origins;
    use countersign_server::{Signed, Verifier, serve};
    use countersign_test::{guard, key, keys};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let add = async |Signed(_, Json(order)): Signed<Json<Value>>| match order["item"].as_str() {
        Some("book") => Ok(Json(json!({ "signed_by": "me", "order": order }))),
        _ => Err(StatusCode::NOT_FOUND),
    };
    let origins = Origins::new([origin.parse().unwrap()]).unwrap();
    let verifier = Verifier::new(origins, keys(), guard());
    let app = Router::new().route("/v1/orders", post(add)).layer(verifier.layer());
    tokio::spawn(serve(listener, app, std::future::pending()));

    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, key: &PrivateKey| {
        let file = folder.path().join(name);
        fs::write(&file, key.expose_text().as_bytes()).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        countersign_client::KeySource::from(&file)
    };
    let shop = sdk::Shop::new(&origin, &written("mine", &key())).unwrap();
    let order = |item: &str| sdk::Order { item: item.to_owned() };
    assert_eq!(shop.place(&order("book")).await.unwrap().order, order("book"));
    let refused = shop.place(&order("boat")).await.unwrap_err();
    assert!(matches!(refused, sdk::ShopError::Failed(_)), "{refused:?}");
    let stranger = written("stranger", &PrivateKey::ed25519(&[8; 32]));
    let denied =
        sdk::Shop::new(&origin, &stranger).unwrap().place(&order("book")).await.unwrap_err();
    assert!(denied.to_string().contains("signature-invalid"), "{denied}");
}

/// ssh-agent as it comes: the program that signs never sees the key.
#[test]
fn a_key_in_the_agent_of_ssh_signs() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("agent"), folder.path().join("shop_key"));
    let agent =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn();
    let mut agent = Running::of(agent.unwrap());
    agent.line("SSH_AUTH_SOCK");
    let ssh = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("SSH_AUTH_SOCK", &socket).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let file = file.to_str().unwrap();
    ssh("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", file]);
    let client = countersign_client::Client::from_key_file(file).unwrap();
    let publishable = client.publishable_key();

    let served = Served::start("axum_server");
    served.register(file);
    let order = || {
        let mut order = example("ssh_agent");
        order.args([publishable.to_string(), served.url()]).env("SSH_AUTH_SOCK", &socket);
        order.output().unwrap()
    };
    failed_saying(&order(), "does not hold this key");
    ssh("ssh-add", &["-q", file]);
    fs::remove_file(file).unwrap();
    let output = order();
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).starts_with("201 {"), "{output:?}");
}

fn failed_saying(output: &Output, said: &str) {
    assert!(!output.status.success() && text(&output.stderr).contains(said), "{output:?}");
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_what_to_do_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let output = example("axum_server").args([&address, &db]).output().unwrap();
    failed(&output, &format!("cannot serve {address} with {db}: "));
    failed(&output, "in use");
    for arguments in
        [[&address, "postgres://me:secret@host/db"], ["postgres://me:secret@host/db", &db]]
    {
        let output = example("axum_server").args(arguments).output().unwrap();
        assert!(!text(&output.stderr).contains("secret"), "{output:?}");
        failed(&output, "cannot serve: ");
    }
}

#[test]
fn the_client_brings_the_libraries_that_its_types_are_of() {
    let ours: reqwest::Client = countersign_client::reqwest::Client::new();
    assert!(ours.get("http://127.0.0.1/").build().is_ok());
    let method: http::Method = countersign_client::http::Method::GET;
    assert_eq!(method, http::Method::GET);
}

#[test]
fn the_readme_names_the_dependencies_features_and_versions_that_there_are() {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once("\n## In your project\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();

    let (_, server) = readme.split_once("\n```rust\n").unwrap();
    let (server, _) = server.split_once("\n```\n").unwrap();
    let used = server.lines().filter_map(|line| line.strip_prefix("use "));
    for used in used.filter_map(|line| line.split_once("::")).map(|(name, _)| name) {
        let dependency = format!("\n{} = ", used.replace('_', "-"));
        assert!(section.contains(&dependency) || used == "std", "{used}");
    }

    let (_, snippet) = section.split_once("\n```toml\n").unwrap();
    let (snippet, _) = snippet.split_once("\n```\n").unwrap();
    readme_depends_on_what_the_server_is_built_with(snippet);

    let workspace = include_str!("../Cargo.toml");
    let (features, versions) = section.split_once("| crate | version |").unwrap();
    let mut rows = 0;
    for row in versions.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let &[name, version, _] = cells.as_slice() else { continue };
        if name == "---" {
            continue;
        }
        let line = workspace.lines().find(|line| line.starts_with(&format!("{name} = ")));
        let (_, ours) = line.unwrap().split_once('"').unwrap();
        let (ours, _) = ours.split_once('"').unwrap();
        assert!(ours == version || ours.starts_with(&format!("{version}.")), "{name} {ours}");
        rows += 1;
    }
    assert_eq!(rows, 9);

    for (name, manifest) in [
        ("countersign", include_str!("../crates/countersign/Cargo.toml")),
        ("countersign-server", include_str!("../crates/countersign-server/Cargo.toml")),
        ("countersign-store", include_str!("../crates/countersign-store/Cargo.toml")),
        ("countersign-client", include_str!("../crates/countersign-client/Cargo.toml")),
    ] {
        let row = features.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let (_, listed) = manifest.split_once("\n[features]\n").unwrap();
        let listed = listed.split("\n[").next().unwrap();
        let default = listed.lines().find(|line| line.starts_with("default = ")).unwrap_or("");
        for line in listed.lines().filter(|line| !line.starts_with(['#', '"', ']', ' '])) {
            let Some((feature, _)) = line.split_once(" = [") else { continue };
            let bold = default.contains(&format!("\"{feature}\""));
            let shown = if bold { format!("**`{feature}`**") } else { format!("`{feature}`") };
            // What both databases of a registry have in common is nothing to turn on.
            let is_for_users = feature != "default" && feature != "registry";
            assert!(!is_for_users || row.contains(&shown), "{name}: {shown}");
        }
    }
}

/// Its lines name crates by version or by path, with features or without: those of the workspace, and of the examples' package.
fn readme_depends_on_what_the_server_is_built_with(snippet: &str) {
    let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
    let of = |table: &toml::Table, name: &str| {
        let value = table.get(name).unwrap_or_else(|| panic!("{name} is no dependency here"));
        match value {
            toml::Value::Table(table) => table.clone(),
            version => [("version".to_owned(), version.clone())].into_iter().collect(),
        }
    };
    let features = |dependency: &toml::Table| -> BTreeSet<String> {
        let features = dependency.get("features").and_then(toml::Value::as_array);
        let features = features.into_iter().flatten();
        features.map(|feature| feature.as_str().unwrap().to_owned()).collect()
    };
    let snippet = table(snippet);
    let snippet = of(&snippet, "dependencies");
    let workspace = table(include_str!("../Cargo.toml"));
    let workspace = of(&of(&workspace, "workspace"), "dependencies");
    let package = table(include_str!("Cargo.toml"));
    let package = of(&package, "dependencies");
    for name in snippet.keys() {
        let (shown, built) = (of(&snippet, name), of(&package, name));
        let ours = if workspace.contains_key(name) { of(&workspace, name) } else { built.clone() };
        match shown.get("path").and_then(toml::Value::as_str) {
            Some(path) => {
                let ours = ours.get("path").and_then(toml::Value::as_str);
                assert_eq!(path.strip_prefix("../countersign/"), ours, "{name}");
            }
            None => {
                let version = |table: &toml::Table| table["version"].as_str().unwrap().to_owned();
                let (shown, ours) = (version(&shown), version(&ours));
                assert!(ours == shown || ours.starts_with(&format!("{shown}.")), "{name} {ours}");
            }
        }
        // What the examples need beyond the server is in other crates, or with the defaults of this one.
        let built = features(&built);
        let shown = features(&shown);
        assert!(shown.is_subset(&built), "{name}: {shown:?} {built:?}");
    }
}

#[test]
fn the_readme_shows_the_programs_of_the_tutorial_and_the_quickstart() {
    let readme = include_str!("../README.md");
    let server = include_str!("../docs/tutorial/server.md");
    let client = include_str!("../docs/tutorial/client.md");
    let blocks: Vec<_> = readme.split("\n```rust\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    for (block, page) in blocks.iter().zip([server, client]) {
        let (code, _) = block.split_once("```").unwrap();
        // The tutorial's client is in another folder than its server.
        assert!(page.replace("../shop-server/", "").contains(code), "{code}");
    }
    let quickstart = text(&example("quickstart").output().unwrap().stdout);
    let (_, table) = readme.split_once("\n```text\n").unwrap();
    let (table, _) = table.split_once("```").unwrap();
    assert!(quickstart.contains(table), "{quickstart}");
}
