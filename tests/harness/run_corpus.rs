//! Runs the corpus over real sockets, or writes it.

use std::{net::SocketAddr, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use harness::corpus::{Corpus, Protocol, Run, run};

/// Sends every case of `tests/corpus` to a server of its own, and says what came of it.
///
/// Ends with 1 if anything is not as expected.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON object for each run.
    #[arg(long)]
    json: bool,
    /// Send over this version of HTTP alone.
    #[arg(long)]
    protocol: Option<Version>,
    /// Send to a server that is there already, set up as the usual one of `settings.json`: what can be sent without moving
    /// its clock. No nonce has been used at it, and whether handlers ran is not seen.
    #[arg(long, value_name = "ADDRESS", requires = "protocol")]
    against: Option<SocketAddr>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Write the files as the tables of the tests have them.
    Write,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    Http1,
    Http2,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Some(Command::Write)) {
        Corpus::made().write();
        return ExitCode::SUCCESS;
    }
    let corpus = Corpus::read();
    let protocols: &[Protocol] = match arguments.protocol {
        None => &[Protocol::Http1, Protocol::Http2],
        Some(Version::Http1) => &[Protocol::Http1],
        Some(Version::Http2) => &[Protocol::Http2],
    };
    let mut counted = Counted::default();
    if !arguments.json {
        println!("row  http1  http2  expected                      case");
    }
    for case in corpus.cases() {
        let mut runs = Vec::new();
        for protocol in protocols {
            runs.extend(run(&corpus, case, *protocol, arguments.against).await);
        }
        counted.add(&runs);
        if arguments.json {
            for run in &runs {
                println!("{}", serde_json::json!(run));
            }
        } else {
            print(&runs);
        }
    }
    if !arguments.json {
        let Counted { cases, left_out, runs, wrong } = counted;
        let right = runs.saturating_sub(wrong);
        println!(
            "{cases} cases sent {runs} times: {right} as expected, {wrong} not; {left_out} cases left out"
        );
    }
    if counted.wrong == 0 && counted.runs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Clone, Copy, Default)]
struct Counted {
    cases: usize,
    left_out: usize,
    runs: usize,
    wrong: usize,
}

impl Counted {
    fn add(&mut self, runs: &[Run]) {
        let count = |counted: &mut usize, more: usize| *counted = counted.saturating_add(more);
        count(if runs.is_empty() { &mut self.left_out } else { &mut self.cases }, 1);
        count(&mut self.runs, runs.len());
        count(&mut self.wrong, runs.iter().filter(|run| run.wrong.is_some()).count());
    }
}

fn print(runs: &[Run]) {
    let Some(first) = runs.first() else { return };
    let verdict = |protocol| match runs.iter().find(|run| run.protocol == protocol) {
        None => "-",
        Some(Run { wrong: None, .. }) => "ok",
        Some(Run { wrong: Some(_), .. }) => "WRONG",
    };
    let row = first.row.map(|row| row.to_string()).unwrap_or_default();
    let (http1, http2) = (verdict(Protocol::Http1), verdict(Protocol::Http2));
    println!("{row:>3}  {http1:<5}  {http2:<5}  {:<28}  {}", first.expected, first.name);
    for run in runs {
        if let Some(wrong) = &run.wrong {
            println!("     {}: {wrong}", run.protocol);
        }
    }
}
