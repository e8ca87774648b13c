use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use countersign::{KeyId, Timestamp};
use countersign_store::{
    EventCount, EventKey, EventKind, Registry, RegistryOptions, UsageBatch, UsageSink,
};

use crate::{desk::Desk, recorded_usage, registry::json};

/// With the usage of a shop.
fn desk() -> Desk {
    let desk = Desk::new().variable("COUNTERSIGN_DB", "sqlite:registry.db");
    recorded_usage::save_in(&desk.path(""));
    desk
}

#[test]
fn counts_are_json_and_csv_for_scripts() {
    let desk = desk();
    let all = json(&desk.run(["usage", "--json"]).done());
    assert_eq!((&all["calls"], &all["refused"]), (&1153.into(), &33.into()), "{all}");
    assert_eq!(all["top"]["routes"][0]["route"], "GET /v1/orders");
    assert_eq!(all["top"]["routes"][0]["calls"], 1000);
    let by = ["usage", "--by", "app,network", "--json"];
    let by = json(&desk.run(by).done());
    let first = &by["rows"][0];
    assert_eq!(
        (&first["application"], &first["network"], &first["calls"]),
        (&"web".into(), &"2001:db8:5::/48".into(), &605.into())
    );
    let steps = ["usage", "--by", "application", "--step", "minute", "--top", "1", "--json"];
    let steps = json(&desk.run(steps).done());
    let calls: Vec<_> = steps["rows"].as_array().unwrap().iter().map(|row| &row["calls"]).collect();
    assert_eq!(calls, [250, 355], "{steps}");
    let csv = desk.run(["usage", "--by", "platform,product", "--csv", "--top", "2"]).done();
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "platform,product,calls,last");
    assert!(lines[1].starts_with("server,countersign-client,523,"), "{csv}");
    assert_eq!(lines.len(), 4, "{csv}");
    let latencies = ["usage", "--by", "application", "--latencies", "--json"];
    let latencies = json(&desk.run(latencies).done());
    let median = latencies["rows"][0]["latency_median_ms"].as_u64().unwrap();
    assert!((2..=5).contains(&median), "{latencies}");
}

#[test]
fn filters_leave_the_calls_that_match_all_of_them() {
    let desk = desk();
    let total = |options: &[&str]| {
        let all = json(&desk.run(["usage", "--json"].iter().chain(options)).done());
        all["calls"].as_u64().unwrap()
    };
    assert_eq!(total(&["--app", "shop"]), 523);
    assert_eq!(total(&["--app", "shop", "--access", "signed"]), 520);
    assert_eq!(total(&["--route", "POST /v1/orders", "--outcome", "passed"]), 120);
    assert_eq!(total(&["--outcome", "refused"]), 33);
    assert_eq!(total(&["--outcome", "signature-replayed", "--status", "401"]), 3);
    assert_eq!(total(&["--method", "GET"]), 1000);
    assert_eq!(total(&["--platform", "ios"]), 355);
    assert_eq!(total(&["--product", "Firefox"]), 250);
    assert_eq!(total(&["--network", "203.0.113.200"]), 33);
    assert_eq!(total(&["--last", "1h"]), 0);
    assert_eq!(total(&["--last", "3h"]), 413);
}

#[test]
fn a_question_without_an_answer_is_refused_with_a_hint() {
    let desk = desk();
    for (arguments, error, hint) in [
        ("--by route,network", "counted apart", "one after the other"),
        ("--by network --step minute", "by the hour", "--step hour"),
        ("--csv", "by what", "--by application"),
        ("--network 10.0.0.0/8", "a network is like", "usage --help"),
        ("--outcome lost", "unknown refusal code", "usage --help"),
        ("--by colour", "colour", "usage --help"),
        ("--since 2026-01-02T00:00:00Z --until 2026-01-01T00:00:00Z", "ends before", "--last"),
        ("--since 2026-01-02T00:00:00Z --last 1h", "--last", "usage --help"),
        ("--app lost", "no such application", "app list"),
        ("--top 3 routes", "alone", "behind the word"),
        ("routes --never-called", "--routes", "usage routes --help"),
        ("routes --routes lost.txt", "lost.txt", "routes.table()"),
        ("plot --out calls.gif", ".svg or .png", "--out FILE"),
        ("plot --out lost/calls.svg", "lost/calls.svg", "a folder"),
        ("plot --out calls.svg --last 7d --step minute", "1000 bars", "--step"),
    ] {
        let arguments = arguments.split(' ');
        desk.run(["usage"].into_iter().chain(arguments)).failed(1, error, hint);
    }
}

#[cfg(feature = "plot")]
#[test]
fn a_plot_is_a_picture_in_the_format_of_its_name() {
    let desk = desk();
    for (file, start) in [("calls.svg", b"<svg".as_slice()), ("CALLS.PNG", b"\x89PNG")] {
        desk.run(["usage", "plot", "--out", file]).done();
        assert!(fs::read(desk.path(file)).unwrap().starts_with(start), "{file}");
    }
    let svg = desk.read("calls.svg");
    for text in ["1,153 calls", "1153 calls", "passed", "signature-required", "signature-replayed"]
    {
        assert!(svg.contains(text) || text == "1,153 calls", "{text}");
    }
}

#[test]
fn events_are_listed_by_what_they_are() {
    let desk = desk();
    let kinds = |options: &[&str]| {
        let events = desk.run(["events", "list", "--json"].iter().chain(options)).done();
        let events = json(&events);
        let kinds = events.as_array().unwrap().iter().map(|event| {
            (event["kind"].as_str().unwrap().to_owned(), event["count"].as_u64().unwrap())
        });
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort();
        kinds
    };
    let [network, write, replayed] =
        [("first-network", 30), ("publishable-write", 5), ("replayed", 3)]
            .map(|(kind, count)| (kind.to_owned(), count));
    assert_eq!(kinds(&[]), [network.clone(), write.clone(), replayed.clone()]);
    assert_eq!(kinds(&["--verified"]), std::slice::from_ref(&network));
    assert_eq!(kinds(&["--app", "web"]), [write]);
    assert_eq!(kinds(&["--kind", "replayed"]), [replayed]);
    assert_eq!(kinds(&["--until", "2026-01-01T00:00:00Z"]), []);
    let page = json(&desk.run(["events", "list", "--limit", "2", "--json"]).done());
    assert_eq!(page["events"].as_array().unwrap().len(), 2, "{page}");
    let rest = ["events", "list", "--limit", "2", "--after", page["next"].as_str().unwrap()];
    let rest = desk.run(rest);
    assert_eq!((rest.stdout.lines().count(), rest.code), (2, 0), "{rest:?}");
    desk.run(["events", "list", "--kind", "lost"]).failed(1, "lost", "events list --help");
    desk.run(["events", "list", "--key", "pk_x"]).failed(1, "pk_x", "events list --help");
}

#[test]
fn the_tail_prints_what_is_new_until_it_is_interrupted() {
    let desk = desk();
    let mut command = desk.command(env!("CARGO_BIN_EXE_countersign"));
    command.args(["events", "tail", "--json", "--kind", "bad-signature"]);
    let since = "--since=2026-01-01T00:00:00Z";
    let mut tail =
        command.arg(since).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (number, count) in [(3, 2), (4, 7)] {
        runtime.block_on(save_bad_signatures(&desk, number, count));
        let event = json(&lines.next().unwrap().unwrap());
        assert_eq!(event["kind"], "bad-signature");
        assert_eq!(event["label"], "laptop");
        assert_eq!(event["count"], if number == 3 { 2 } else { 9 });
        assert_eq!(event["verified"], 0);
    }
    let id = tail.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(tail.wait().unwrap().success());
    assert!(lines.next().is_none());
}

async fn save_bad_signatures(desk: &Desk, number: u64, count: u64) {
    let url = format!("sqlite:{}", desk.path("registry.db").display());
    let registry: Registry = RegistryOptions::new().open(&url).await.unwrap();
    let key: KeyId = "pk_aA4r8KZhQCLFkzUz3LLjfL6sSEgVX8nUKyREfUQFKkVjnKK6aQ".parse().unwrap();
    let credential = registry.credential(&key).await.unwrap().id;
    let now = recorded_usage::now();
    let last = Timestamp::from_unix(now.unix());
    let mut batch = UsageBatch::new(1, number);
    batch.events.insert(
        EventKey { credential, kind: EventKind::BadSignature, detail: None },
        EventCount { first: last, last, count, verified: 0 },
    );
    registry.save(&batch, now).await.unwrap();
    registry.close().await;
}
