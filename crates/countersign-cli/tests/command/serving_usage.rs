//! The usage that `countersign serve` records, read from the registry after the service has stopped.

use std::time::Duration;

use countersign_store::{Registry, UsageDimension, UsageQuery, system_time};

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, signed_order},
    upstream::Upstream,
};

/// The calls of the last hour, each group with its number of calls.
fn calls(desk: &Desk, by: UsageDimension) -> Vec<(Option<String>, u64)> {
    let url = format!("sqlite:{}", desk.path("registry.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = Registry::open(&url).await.unwrap();
        let now = system_time();
        let from = now.minus(Duration::from_secs(3600));
        let to = now.plus(Duration::from_secs(60));
        let query = UsageQuery::new(from, to).group_by(by);
        let usage = registry.usage(&query, now).await.unwrap();
        registry.close().await;
        let mut groups: Vec<_> =
            usage.rows.into_iter().map(|row| (row.group[0].clone(), row.count.calls)).collect();
        groups.sort();
        groups
    })
}

#[test]
fn calls_are_in_the_registry_after_a_stop_whatever_was_reloaded_meanwhile() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let configure = |more: &str| {
        let url = upstream.url();
        let text = format!(
            "origins = [\"{ORIGIN}\"]\n{more}\n[upstream]\nservers = [\"{url}\"]\n[[routes]]\nmethod = \"GET\"\npath = \"/v1/orders\"\n"
        );
        desk.write("serve.toml", text, 0o600);
    };
    let reload = || {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        desk.run(["serve", "reload", "--config", "serve.toml"].into_iter().chain(ports)).done();
    };
    configure("[usage]\nrecord = true\n");
    let served = Served::with(&desk, &["--config", "serve.toml"]);
    assert_eq!(served.read(&key, "").status, 200);
    let order = signed_order(&desk, "a book", "");
    assert_eq!(served.send(&order).status, 200);
    assert_eq!(served.send(&order).code(), "signature-replayed");
    let unsigned = "GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(served.send(unsigned).code(), "key-required");

    configure("[usage]\nrecord = true\nhours = \"7d\"\n[limits]\nsigned = [\"9/1m\"]\n");
    reload();
    assert_eq!(served.read(&key, "").status, 200);
    configure("");
    reload();
    assert_eq!(served.read(&key, "").status, 200);
    served.signal("-TERM");
    let (status, log) = served.wait();
    assert!(status.success(), "{log}");

    let group = |name: &str, calls: u64| (Some(name.to_owned()), calls);
    let outcomes = [group("key-required", 1), group("passed", 3), group("signature-replayed", 1)];
    assert_eq!(calls(&desk, UsageDimension::Outcome), outcomes);
    assert_eq!(calls(&desk, UsageDimension::Application), [(None, 1), group("shop", 4)]);
    let routes = [group("GET /v1/orders", 3), group("POST /v1/orders", 2)];
    assert_eq!(calls(&desk, UsageDimension::Route), routes);
}

#[test]
fn a_flag_or_a_variable_switches_usage_on_and_off_whatever_the_file_says() {
    const FILE: &str = "[usage]\nrecord = true\n";
    for (file, variable, flag, recorded) in [
        ("", None, Some("--usage"), true),
        ("", Some("true"), None, true),
        (FILE, Some("false"), None, false),
        (FILE, None, Some("--usage=false"), false),
        ("", Some("false"), Some("--usage=true"), true),
    ] {
        let (desk, key) = desk_with_shop();
        let desk = match variable {
            Some(value) => desk.variable("COUNTERSIGN_USAGE", value),
            None => desk,
        };
        let upstream = Upstream::well();
        desk.write("serve.toml", file, 0o600);
        let url = upstream.url();
        let arguments = ["--config", "serve.toml", "--upstream", &url, "--origin", ORIGIN];
        let arguments: Vec<_> = flag.into_iter().chain(arguments).collect();
        let served = Served::with(&desk, &arguments);
        assert_eq!(served.read(&key, "").status, 200);
        served.signal("-TERM");
        assert!(served.wait().0.success());
        let counted = !calls(&desk, UsageDimension::Outcome).is_empty();
        assert_eq!(counted, recorded, "{file:?} {variable:?} {flag:?}");
    }
    let (desk, _) = desk_with_shop();
    let serve = ["serve", "--usage=maybe", "--origin", ORIGIN, "--upstream", "http://127.0.0.1:1"];
    desk.run(serve).failed(1, "'maybe' for '--usage", "serve --help");
}

#[test]
fn no_usage_is_recorded_unless_it_is_switched_on() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    assert_eq!(served.read(&key, "").status, 200);
    served.signal("-TERM");
    assert!(served.wait().0.success());
    assert_eq!(calls(&desk, UsageDimension::Outcome), []);
}
