//! The corpus in `tests/corpus`: that it is whole, and that all of it is as expected over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::{Command, Output},
};

use axum::Router;
use countersign_server::serve;
use harness::corpus::{Corpus, Protocol, run};
use tokio::{net::TcpListener, task::spawn_blocking};

/// The rows of the table of bad inputs.
const ROWS: std::ops::RangeInclusive<u16> = 1..=108;

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

#[test]
fn every_row_of_the_table_has_a_case_or_a_test() {
    let corpus = Corpus::read();
    let readme = std::fs::read_to_string(Corpus::directory().join("README.md")).unwrap();
    let (_, elsewhere) = readme.split_once("## Rows that are elsewhere").unwrap();
    let (elsewhere, _) = elsewhere.split_once("## Where").unwrap();
    let named = elsewhere.lines().filter_map(|line| line.split('|').nth(1)?.trim().parse().ok());
    let elsewhere: BTreeSet<u16> = named.collect();
    let here: BTreeSet<u16> = corpus.cases().filter_map(|case| case.row).collect();
    let both: BTreeSet<u16> = &here | &elsewhere;
    assert_eq!(both, ROWS.collect());
    assert!(here.is_disjoint(&elsewhere), "{:?}", &here & &elsewhere);
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
        let output = program(verifying.address, protocol).await;
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
