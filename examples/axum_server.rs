//! An API that anyone with a publishable key may read, and only the holder of a private key may write.
//!
//! ```console
//! $ cargo run --example axum_server -- 127.0.0.1:8080 sqlite:countersign.db
//! $ cargo run --example axum_server -- 0.0.0.0:8080 sqlite:countersign.db http://shop.example:8080 http://localhost:8080
//! ```
//!
//! What follows the registry are the origins by which callers know the server. A server that listens at every address has to be
//! told at least one. Without them it is known by the address where it listens.

use std::{env, net::SocketAddr, process::ExitCode};

use axum::{Json, Router, http::StatusCode, routing::get};
use countersign::{Origin, Origins, Window};
use countersign_server::{Publishable, SavedNonces, Signed, Verifier, serve};
use countersign_store::{Limited, Limits, MasterKeys, Quota, RegistryOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Runs for whoever shows a publishable key.
async fn list(Publishable(caller): Publishable) -> Json<Value> {
    Json(json!({ "application": caller.application().name.as_str(), "orders": [] }))
}

/// Runs once for each request that the private key signed, with the content that was signed.
async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> (StatusCode, Json<Value>) {
    let content = json!({ "signed_by": caller.credential().label.as_str(), "order": order });
    (StatusCode::CREATED, Json(content))
}

async fn run(
    address: &str,
    db: &str,
    mut origins: Vec<Origin>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Before the guard is resumed: a start that finds its port in use takes nothing away from the server that has it.
    let listener = TcpListener::bind(address).await?;
    let here = format!("http://{}", listener.local_addr()?);
    // The names by which callers know this server, such as https://api.example.com. Requests for any other host are refused.
    if origins.is_empty() {
        origins.push(here.parse()?);
    }
    let origins = Origins::new(origins)?;

    // HMAC secrets in the registry are sealed with the master key in COUNTERSIGN_MASTER_KEY, if it is set.
    let options = RegistryOptions::new().master_keys(MasterKeys::from_environment()?);
    let registry = std::sync::Arc::new(options.open_or_create(db).await?);
    // The replay guard, and the file that has its memory from a stop to the next start: a restart refuses nobody.
    let saved =
        registry.file().map_or("nonces".into(), |file| format!("{}-nonces", file.display()));
    let nonces = SavedNonces::resume(Window::default(), registry.clone(), saved).await?;
    let gate = Limited::new(nonces.clone(), limits());
    // Health checks ask by the address of the instance, without a key.
    let verifier = Verifier::new(origins, registry, gate).public_path("/health");

    // The verifier stands outside all routes, so that none of them can be called past it.
    let app = Router::new()
        .route("/v1/orders", get(list).post(add))
        .route("/health", get(async || "well\n"))
        .layer(verifier.layer());
    println!("{here}");
    // Until Ctrl-C, or SIGTERM of systemd, Docker or Kubernetes; then the guard is saved.
    serve(listener, app, nonces.until_signal()).await?;
    Ok(())
}

/// What callers may do in how long. Reads with a publishable key and signed calls have budgets of their own: whoever knows
/// just the publishable key cannot use up what the holder of the private one has.
fn limits() -> Limits {
    use std::num::NonZeroU32;

    const LONG_RUN: NonZeroU32 = NonZeroU32::new(20).unwrap();
    const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
    const READS: NonZeroU32 = NonZeroU32::new(6_000).unwrap();
    const READS_OF_ONE: NonZeroU32 = NonZeroU32::new(600).unwrap();
    Limits::default()
        .signed([Quota::per_second(LONG_RUN).burst(BURST)])
        .unsigned([Quota::per_minute(READS)])
        .unsigned_by_address([Quota::per_minute(READS_OF_ONE)])
}

#[tokio::main]
async fn main() -> ExitCode {
    // The log says what only the operator can mend, such as a host name that is missing among the origins.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let db = arguments.next().unwrap_or("sqlite:countersign.db".into());
    let outcome = match origins(&address, arguments) {
        Ok(origins) => run(&address, &db, origins).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An address with an @ in it may hold a password.
            let shown = [&address, &db].into_iter().all(|text| !text.contains('@'));
            let what = if shown { format!(" {address} with {db}") } else { String::new() };
            eprintln!("error: cannot serve{what}: {}", with_causes(&*error));
            eprintln!(
                "hint: name a free address, a registry, and the origins that callers use: axum_server ADDRESS sqlite:FILE [ORIGIN]..."
            );
            ExitCode::FAILURE
        }
    }
}

/// The origins that are named behind the registry. An address that stands for all addresses of a machine is in no URL.
fn origins(
    address: &str,
    named: impl Iterator<Item = String>,
) -> Result<Vec<Origin>, Box<dyn std::error::Error>> {
    let origins: Vec<Origin> = named.map(|origin| origin.parse()).collect::<Result<_, _>>()?;
    let everywhere = address.parse().is_ok_and(|at: SocketAddr| at.ip().is_unspecified());
    if everywhere && origins.is_empty() {
        return Err("no origin is named, and callers use another host than this address".into());
    }
    Ok(origins)
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = causes.map(ToString::to_string).collect();
    // Some say what the one below them says.
    texts.dedup();
    texts.join(": ")
}
