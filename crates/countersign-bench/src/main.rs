//! What Countersign costs, beside bare cryptography and other libraries, in one run.
//!
//! ```console
//! $ cargo run --release -p countersign-bench -- compare
//! $ cargo run --release -p countersign-bench -- compare --json
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that cannot go on ends"
)]

mod aws;
mod compare;
mod hostile;
mod httpsig;
mod order;
mod ratio;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints ratios, each with what it should reach; exits with 1 if one does not
    Compare {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many rounds the median is of
        #[arg(long, default_value_t = 300)]
        rounds: usize,
    },
}

fn main() -> ExitCode {
    let Command::Compare { json, rounds } = Cli::parse().command;
    let figures = compare::figures(rounds.max(1));
    if json {
        println!("{}", figures.iter().map(compare::Figure::json).collect::<serde_json::Value>());
    } else {
        for figure in &figures {
            println!("{figure}");
        }
    }
    match figures.iter().all(compare::Figure::is_met) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
