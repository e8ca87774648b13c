//! What Countersign costs, beside bare cryptography and other libraries, in one run.
//!
//! ```console
//! $ cargo run --release -p countersign-bench -- compare
//! $ cargo run --release -p countersign-bench -- compare --json
//! $ cargo run --release -p countersign-bench -- hostile
//! $ cargo run --release -p countersign-bench -- claims
//! $ cargo run --release -p countersign-bench -- limits
//! $ cargo run --release -p countersign-bench -- redis
//! $ cargo run --release -p countersign-bench -- registry
//! $ cargo run --release -p countersign-bench -- usage
//! $ cargo run --release -p countersign-bench -- layer
//! $ cargo run --release -p countersign-bench -- throughput
//! $ cargo run --release -p countersign-bench -- memory
//! $ cargo run --release -p countersign-bench -- proxy
//! $ cargo run --release -p countersign-bench -- auth
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that cannot go on ends"
)]

mod aws;
mod claims;
mod compare;
mod connection;
mod figure;
mod forward_auth;
mod hostile;
mod httpsig;
mod layer;
mod limits;
mod memory;
mod nginx;
mod order;
mod post;
mod process;
mod proxy;
mod ratio;
mod redis;
mod registry;
mod served;
mod throughput;
mod usage;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::figure::Figure;

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
    /// Sends requests that are made to be dear to refuse, and prints what they cost a server and how many bytes they are; exits
    /// with 1 if one costs too much
    Hostile {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many requests of each kind are sent over each protocol
        #[arg(long, default_value_t = 1000)]
        requests: usize,
    },
    /// Prints how many checks of a limit are made in a second
    Limits {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many rounds the median is of
        #[arg(long, default_value_t = 50)]
        rounds: usize,
    },
    /// Prints what a replay guard and limits in Redis cost, beside those in memory; starts a redis-server of its own
    Redis {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many requests are sent in each of the measurements
        #[arg(long, default_value_t = 40_000)]
        requests: usize,
        /// How many nonces are live when their size is measured
        #[arg(long, default_value_t = 1_000_000)]
        nonces: usize,
    },
    /// Prints what lookups, listings and revocations cost in a registry with many credentials, in an SQLite file and, where
    /// PostgreSQL is installed, on a server of its own
    Registry {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many credentials the registry has
        #[arg(long, default_value_t = 1_000_000)]
        credentials: usize,
    },
    /// Prints what a query of usage and a flush take, in an SQLite file and, where PostgreSQL is installed, on a server of its own;
    /// exits with 1 if one takes too long
    Usage {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
    },
    /// Prints what the layer makes of a signed POST of 1 KiB; exits with 1 if it is more than its parts and a tenth
    Layer {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many rounds the median is of
        #[arg(long, default_value_t = 300)]
        rounds: usize,
    },
    /// Prints how many signed POSTs of 1 KiB are served in a second, with the layer and without
    Throughput {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many rounds the median is of
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// How many requests are sent in a round, with the layer and without
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
    },
    /// Serves many requests, and prints what memory they take; exits with 1 if it grows
    Memory {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many requests are sent
        #[arg(long, default_value_t = 1_000_000)]
        requests: u64,
        /// How many keys they are signed with, in turn
        #[arg(long, default_value_t = 1)]
        keys: u32,
    },
    /// Prints what `countersign serve` costs beside nginx, in front of the same upstream; exits with 1 if it is too much
    Proxy {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many rounds the median is of
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// How many requests are sent in a round, through each
        #[arg(long, default_value_t = 5_000)]
        requests: usize,
    },
    /// Prints what nginx takes longer if it asks `countersign serve auth` about each request; exits with 1 if it is too much
    Auth {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many requests of each kind are sent
        #[arg(long, default_value_t = 5_000)]
        requests: usize,
    },
    /// Runs the service that `proxy` measures; without an upstream, the one that `auth` does
    #[command(hide = true)]
    Serve { folder: std::path::PathBuf, upstream: Option<String> },
    /// Fills the replay guard of one process, and prints what a claim costs; exits with 1 if it is too much
    Claims {
        /// Print a JSON list
        #[arg(long)]
        json: bool,
        /// How many nonces are live at a time
        #[arg(long, default_value_t = 10_000_000)]
        live: u64,
    },
}

fn main() -> ExitCode {
    let all_met = match Cli::parse().command {
        Command::Compare { json, rounds } => tell(&compare::figures(rounds.max(1)), json),
        Command::Hostile { json, requests } => tell(&wire::figures(requests.max(1)), json),
        Command::Claims { json, live } => tell(&claims::figures(live.max(1000)), json),
        Command::Layer { json, rounds } => tell(&layer::figures(rounds.max(1)), json),
        Command::Throughput { json, rounds, requests } => {
            tell(&throughput::figures(rounds.max(1), requests.max(1)), json)
        }
        Command::Memory { json, requests, keys } => {
            tell(&memory::figures(requests.max(1000), keys.max(1)), json)
        }
        Command::Proxy { json, rounds, requests } => {
            tell(&proxy::figures(rounds.max(1), requests.max(1)), json)
        }
        Command::Auth { json, requests } => tell(&forward_auth::figures(requests.max(10)), json),
        Command::Serve { folder, upstream } => served::run(&folder, upstream.as_deref()).is_ok(),
        Command::Limits { json, rounds } => tell(&limits::figures(rounds.max(1)), json),
        Command::Redis { json, requests, nonces } => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            tell(&runtime.block_on(redis::figures(requests.max(1), nonces.max(1))), json)
        }
        Command::Registry { json, credentials } => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            tell(&runtime.block_on(registry::figures(credentials.max(10_000))), json)
        }
        Command::Usage { json } => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            tell(&runtime.block_on(usage::figures()), json)
        }
    };
    if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints figures, one line each or as one list, and returns whether all are met.
fn tell(figures: &[Figure], json: bool) -> bool {
    if json {
        println!("{}", figures.iter().map(Figure::json).collect::<serde_json::Value>());
    } else {
        figures.iter().for_each(|figure| println!("{figure}"));
    }
    figures.iter().all(Figure::is_met)
}
