//! The configuration of `countersign serve`: what is wrong in it, how it is listed, and how a service takes another.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Mutex, mpsc},
};

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, response, signed_order},
    upstream::Upstream,
};

const USUAL: &str =
    "origins = [\"https://api.example.com\"]\n[upstream]\nservers = [\"http://127.0.0.1:3000\"]\n";

#[test]
fn a_check_names_the_line_that_is_wrong() {
    let desk = Desk::new();
    let route = |text: &str| format!("{USUAL}[[routes]]\n{text}");
    for (text, line, error) in [
        (
            "origins = [\n  \"ftp://a\",\n]\n".to_owned(),
            2,
            "an origin starts with http:// or https://",
        ),
        ("listen = \"here\"\n".to_owned(), 1, "invalid socket address"),
        ("\n\nlissten = \"127.0.0.1:1\"\n".to_owned(), 3, "unknown field `lissten`"),
        ("origins = [\"https://a\", \"https://a\"]\n".to_owned(), 1, "is given twice"),
        ("origins = [\"https://a\"\n".to_owned(), 1, "array"),
        (
            "origins = [\"https://a\"]\n[upstream]\nservers = [\"http://a/b\"]\n".to_owned(),
            3,
            "an upstream is http://",
        ),
        ("[upstream]\nconnect_timeout = \"5\"\n".to_owned(), 2, "a time is a number"),
        (format!("{USUAL}[limits]\nsigned = [\"5 a day\"]\n"), 5, "a quota is like 600/1m"),
        ("[guard]\nredis = \"http://a\"\norigins = []\n".to_owned(), 3, "unknown field `origins`"),
        (format!("{USUAL}[guard]\nredis = \"http://a\"\n"), 5, "it is not `redis://"),
        (format!("{USUAL}[registry]\nurl = \"mysql://a\"\n"), 5, "the registry's address"),
        (
            format!("{USUAL}[proxies]\naddresses = [\"10.0.0.7/8\"]\n"),
            4,
            "10.0.0.0/8 for the range",
        ),
        (format!("{USUAL}health_path = \"health\"\n"), 4, "a health path"),
        (route("method = \"GET\"\npath = \"/a\"\naccess = \"all\"\n"), 7, "unknown variant `all`"),
        (route("method = \"GET\"\npath = \"/{a\"\n"), 6, "/{a"),
        (
            route("method = \"POST\"\npath = \"/a\"\naccess = \"publishable\"\n"),
            6,
            "a publishable key opens reads alone",
        ),
        (route("method = \"TRACE\"\npath = \"/a\"\n"), 6, "is not one of GET"),
        (
            route("method = \"GET\"\npath = \"/a\"\n[[routes]]\nmethod = \"GET\"\npath = \"/a\"\n"),
            9,
            "is declared twice",
        ),
        (route("method = \"GET\"\n"), 4, "missing field `path`"),
    ] {
        desk.write("serve.toml", &text, 0o600);
        let place = format!("serve.toml, line {line}: ");
        let checked = desk.run(["serve", "--check", "--config", "serve.toml"]);
        assert!(checked.stderr.contains(&place), "{text}{checked:?}");
        checked.failed(1, error, "");
    }
    desk.write("serve.toml", USUAL, 0o600);
    let checked = desk.run(["serve", "--check", "--config", "serve.toml"]);
    assert_eq!(checked.stderr, "the configuration can be used\n");
    checked.done();
}

const ROUTES: &str = r#"origins = ["https://api.example.com"]

[upstream]
servers = ["http://127.0.0.1:3000"]

[[routes]]
method = "GET"
path = "/v1/orders/{id}"
scopes = ["orders:read"]

[[routes]]
method = "POST"
path = "/v1/orders"
scopes = ["orders:write"]
content_bytes = 1000
cost = 5

[[routes]]
method = "GET"
path = "/"
access = "open"

[[routes]]
method = "POST"
path = "/v1/refunds"
rollout = "observe"
"#;

#[test]
fn routes_are_listed() {
    let desk = Desk::new();
    desk.write("serve.toml", ROUTES, 0o600);
    let listed = desk.run(["serve", "routes", "--config", "serve.toml"]).done();
    let expected = "\
METHOD  PATH             ACCESS       SCOPES        ROLLOUT  CONTENT    COST
GET     /v1/orders/{id}  publishable  orders:read   enforce  104857600  1
POST    /v1/orders       signed       orders:write  enforce  1000       5
GET     /                open                       enforce  104857600  1
POST    /v1/refunds      signed                     observe  104857600  1
GET     *                publishable                enforce
other   *                signed                     enforce
";
    assert_eq!(listed, expected);
    let listed = desk.run(["serve", "routes", "--json", "--config", "serve.toml"]).done();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[1]["scopes"][0], "orders:write");
    assert_eq!(listed[2]["access"], "open");
}

#[test]
fn routes_open_what_they_say() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    desk.write("serve.toml", ROUTES, 0o600);
    let served = Served::with(&desk, &["--config", "serve.toml", "--upstream", &upstream.url()]);
    let get = |path: &str| {
        served.send(format!(
            "GET {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
        ))
    };
    assert_eq!(get("/").status, 200);
    let received = upstream.next();
    assert_eq!(received.values("countersign-access"), ["open"]);
    assert_eq!(received.values("countersign-application"), [""]);
    assert_eq!(get("/v1/orders/7").code(), "key-required");
    assert_eq!(served.read(&key, "").status, 200);
    let refund = "POST /v1/refunds HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7";
    assert_eq!(served.send(refund).status, 200);
    let long = "x".repeat(1_001);
    let response = served.send(signed_order(&desk, &long, ""));
    assert_eq!((response.status, response.code()), (413, "content-too-large"), "{response:?}");
}

/// A request that has begun and is not answered yet.
fn held(served: &Served, key: &str) -> TcpStream {
    let mut stream = served.connect();
    let request = format!(
        "GET /held HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Holds requests to `/held` until something is sent here.
static GO_ON: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

fn holding() -> (Upstream, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel();
    *GO_ON.lock().unwrap() = Some(receiver);
    let upstream = Upstream::start(|stream, received| {
        if received.line().contains("/held") {
            GO_ON.lock().unwrap().as_ref().unwrap().recv().unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
    });
    (upstream, sender)
}

#[test]
fn a_new_configuration_is_taken_without_dropping_a_request_and_a_wrong_one_is_not() {
    let (desk, key) = desk_with_shop();
    let (upstream, go_on) = holding();
    let base =
        format!("origins = [\"{ORIGIN}\"]\n[upstream]\nservers = [\"{}\"]\n", upstream.url());
    let open = format!("{base}[[routes]]\nmethod = \"GET\"\npath = \"/\"\naccess = \"open\"\n");
    desk.write("serve.toml", &base, 0o600);
    let served = Served::with(&desk, &["--config", "serve.toml", "--log", "debug"]);
    let root = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(served.send(root).status, 401);
    let mut begun = held(&served, &key);
    upstream.next();

    let reload = || {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        desk.run(["serve", "reload", "--config", "serve.toml"].into_iter().chain(ports))
    };
    desk.write("serve.toml", &open, 0o600);
    let reloaded = reload();
    assert_eq!(reloaded.stderr, "the new configuration is in use\n");
    assert_eq!(served.send(root).status, 200);

    // A file that is wrong, and a change that a running service cannot take.
    desk.write("serve.toml", format!("{open}acess = 1\n"), 0o600);
    reload().failed(
        1,
        "serve.toml, line 8: unknown field `acess`",
        "docs/reference/configuration.md",
    );
    served.signal("-HUP");
    while !served.ask("/metrics").text.contains("outcome=\"refused\"} 1") {}
    desk.write("serve.toml", format!("connections = 7\n{open}"), 0o600);
    reload().failed(1, "the number of connections has changed", "correct the configuration");
    assert_eq!(served.send(root).status, 200);

    desk.write("serve.toml", &base, 0o600);
    served.signal("-HUP");
    while served.send(root).status == 200 {}
    go_on.send(()).unwrap();
    let answer = response(&mut begun);
    assert_eq!((answer.status, answer.content()), (200, "well"), "{answer:?}");
    served.kill();
    reload().failed(1, "no service runs", "countersign serve");
}

#[test]
fn a_service_that_stops_answers_what_has_begun_and_starts_again_where_it_was() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, "a book", "");
    assert_eq!(served.send(&order).status, 200);
    // Half a request has come when the service is told to stop.
    let other = signed_order(&desk, "another", "");
    let (first, rest) = other.split_at(other.len() - 3);
    let mut stream = served.connect();
    stream.write_all(first.as_bytes()).unwrap();
    upstream.next();
    while !served.ask("/metrics").text.contains("route=\"POST /{*path}\"} 2") {}
    served.signal("-TERM");
    stream.write_all(rest.as_bytes()).unwrap();
    let answer = response(&mut stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    let (status, log) = served.wait();
    assert!(status.success(), "{log}");
    assert!(!desk.path("registry.db-serve.sock").exists());

    let served = Served::start(&desk, &upstream);
    assert_eq!(served.send(&order).code(), "signature-replayed");
    assert_eq!(served.send(signed_order(&desk, "new", "")).status, 200);
}

#[test]
fn a_service_that_is_killed_accepts_nothing_twice() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, "a book", "");
    assert_eq!(served.send(&order).status, 200);
    desk.run(["key", "revoke", &key]).done();
    served.kill();
    let served = Served::start(&desk, &upstream);
    let response = served.send(&order);
    assert_eq!(response.status, 401, "{response:?}");
    assert_eq!(served.read(&key, "").code(), "key-unknown");
    assert_eq!(upstream.all().len(), 1);
}

#[test]
fn a_registry_has_one_service_without_redis() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let arguments = ["serve", "--upstream", "http://127.0.0.1:1", "--origin", ORIGIN];
    let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
    desk.run(arguments.into_iter().chain(ports)).failed(1, "another service runs", "stop it first");
    let taken = served.address.to_string();
    let ports = ["--listen", &taken, "--operations", "127.0.0.1:0"];
    desk.run(arguments.into_iter().chain(ports)).failed(1, "cannot listen on", "--listen");
}
