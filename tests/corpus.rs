//! The corpus in `tests/corpus`: that it is whole, and that all of it is as expected over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::{Command, Output},
};

use axum::Router;
use countersign_server::serve;
use harness::corpus::{Corpus, Expect, Field, Protocol, run};
use tokio::{net::TcpListener, task::spawn_blocking};

#[test]
fn the_files_are_what_the_tables_make() {
    let made = Corpus::made();
    for (name, text) in made.files() {
        let path = Corpus::directory().join(&name);
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == text,
            "{name}: run `cargo run -p countersign-tests --bin corpus -- write`"
        );
    }
    let mut read = Corpus::read();
    read.groups.sort_by_key(|group| made.groups.iter().position(|other| other == group));
    assert_eq!(read, made);
}

/// A line of the README's table of rows.
struct Row {
    number: u16,
    statuses: String,
    codes: String,
    /// Where else it is tested; empty for here.
    elsewhere: String,
}

fn rows() -> Vec<Row> {
    let readme = std::fs::read_to_string(Corpus::directory().join("README.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, number, _, statuses, codes, elsewhere, _] = cells.try_into().ok()?;
        Some(Row { number: number.parse().ok()?, statuses, codes, elsewhere })
    };
    readme.lines().filter_map(row).collect()
}

#[test]
fn every_row_of_the_table_has_a_case_or_a_test_elsewhere() {
    let rows = rows();
    assert!(rows.iter().map(|row| row.number).eq(1..=114));
    let corpus = Corpus::read();
    let root = Corpus::directory().join("../..");
    let here: BTreeSet<u16> = corpus.cases().filter_map(|case| case.row).collect();
    for Row { number, elsewhere, .. } in rows {
        assert_eq!(here.contains(&number), elsewhere.is_empty(), "row {number}");
        for path in elsewhere.split('`').skip(1).step_by(2) {
            assert!(root.join(path).exists(), "row {number}: {path}");
        }
    }
}

#[test]
fn every_row_of_the_table_has_a_case_with_its_answer() {
    let corpus = Corpus::read();
    for row in rows().iter().filter(|row| row.elsewhere.is_empty()) {
        let as_said = |expect: &Expect| match (row.statuses.parse(), &expect.code) {
            (Ok(status), Some(code)) => {
                expect.status == Some(status) && row.codes.contains(&format!("`{code}`"))
            }
            (Ok(status), None) => expect.status == Some(status) && row.codes.is_empty(),
            // It is accepted.
            (Err(_), _) => expect.handler,
        };
        let mut steps =
            corpus.cases().filter(|case| case.row == Some(row.number)).flat_map(|case| &case.steps);
        assert!(steps.any(|step| as_said(&step.expect)), "row {}", row.number);
    }
}

#[test]
fn every_case_comes_from_a_valid_one_and_has_a_name_of_its_own() {
    let corpus = Corpus::read();
    let valid = corpus.cases().filter(|case| case.from.is_none());
    let valid: BTreeSet<_> = valid.map(|case| case.name.as_str()).collect();
    let mut names = BTreeSet::new();
    for case in corpus.cases() {
        assert!(names.insert(&case.name), "{} is there twice", case.name);
        let from = case.from.as_deref().unwrap_or(&case.name);
        assert!(valid.contains(from), "{}: no valid case {from}", case.name);
        let accepted = case.steps.iter().all(|step| step.expect.handler);
        assert!(case.from.is_some() || accepted && case.row.is_none(), "{}: not valid", case.name);
        let http1 = case.steps.iter().filter(|step| step.http1.is_some()).count();
        let http2 = case.steps.iter().filter(|step| step.http2.is_some()).count();
        let whole = [http1, http2].map(|sent| sent == 0 || sent == case.steps.len());
        assert!(whole == [true, true] && http1 + http2 > 0, "{}: sent in part", case.name);
    }
}

async fn all(protocol: Protocol) {
    let corpus = Corpus::read();
    let mut runs = Vec::new();
    for case in corpus.cases() {
        runs.extend(run(&corpus, case, protocol, None).await);
    }
    let wrong: Vec<_> = runs.iter().filter(|run| run.wrong.is_some()).collect();
    assert!(wrong.is_empty() && runs.len() > 180, "{} runs, {wrong:#?}", runs.len());
}

#[tokio::test]
async fn all_of_it_is_as_expected_over_http1() {
    all(Protocol::Http1).await;
}

#[tokio::test]
async fn all_of_it_is_as_expected_over_http2() {
    all(Protocol::Http2).await;
}

#[tokio::test]
async fn whatever_is_not_as_expected_is_told() {
    type Change = fn(&mut Expect);
    let changes: [(Change, &str); 7] = [
        (|expect| expect.status = Some(202), "201 instead of 202"),
        (|expect| expect.status = None, "201 instead of no answer"),
        (|expect| expect.code = Some("bad-request".into()), "201 instead of 201 bad-request"),
        (|expect| expect.handler = false, "handlers ran 1 times"),
        (|expect| expect.claim = Some(false), "1 nonces were claimed"),
        (|expect| header(expect, Field::Exactly("public".into())), "cache-control"),
        (|expect| header(expect, Field::There(false)), "cache-control"),
    ];
    let corpus = Corpus::read();
    let order = corpus.cases().find(|case| case.name == "a signed order").unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (change, told) in changes {
            let mut changed = order.clone();
            changed.steps.iter_mut().for_each(|step| change(&mut step.expect));
            let run = run(&corpus, &changed, protocol, None).await.unwrap();
            let wrong = run.wrong.unwrap_or_default();
            assert!(wrong.contains(told), "{told}: {wrong}");
        }
    }
}

fn header(expect: &mut Expect, field: Field) {
    expect.headers.insert("cache-control".into(), field);
}

/// Runs the program against a server.
async fn program(address: SocketAddr, protocol: &'static str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corpus"));
    command.args(["--protocol", protocol, "--against", &address.to_string()]);
    spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_a_server_that_verifies_from_one_that_does_not() {
    for protocol in ["http1", "http2"] {
        let verifying = Corpus::read().settings.start("usual").await;
        let output = program(verifying.service.address, protocol).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains(" as expected, 0 not; "), "{text}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Router::new().fallback(async || "anything goes");
        tokio::spawn(serve(listener, open, std::future::pending()));
        let output = program(address, protocol).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("200 instead of 401 signature-required"), "{text}");
    }
}
