//! An API that speaks TLS itself, with no proxy in front, and shows a certificate that was renewed without a restart.
//!
//! ```console
//! $ openssl req -x509 -nodes -days 30 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -out localhost.pem -keyout localhost.key
//! $ cargo run --features tls --example tls_server -- 127.0.0.1:8443 sqlite:countersign.db localhost.pem localhost.key
//! ```
//!
//! What follows the key are the origins by which callers know the server, such as `https://api.example.com`. Without them it is
//! known as `https://localhost`, with the port where it listens.
//!
//! With a key that is registered: `countersign curl --key shop.key --cacert localhost.pem https://localhost:8443/v1/orders`.

use std::{env, error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::{Json, Router, routing::get};
use countersign::{Origins, Window};
use countersign_server::{Listener, Publishable, SavedNonces, Signed, Tls, Verifier, serve};
use countersign_store::Registry;
use serde_json::Value;
use tokio::{net::TcpListener, time};

async fn list(Publishable(caller): Publishable) -> String {
    format!("the orders of {}", caller.application().name)
}

async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> String {
    format!("{} ordered {order}", caller.credential().label)
}

/// Looks once an hour for what a program such as certbot has put in the place of the files.
async fn reload(tls: Tls) {
    let mut hours = time::interval(Duration::from_secs(3_600));
    loop {
        hours.tick().await;
        if let Err(error) = tls.reload() {
            eprintln!("warning: the old certificate is shown still: {error}");
        }
    }
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [address, db, certificate, key, origins @ ..] = arguments else {
        return Err("at least four arguments are needed".into());
    };
    let tls = Tls::from_files(certificate, key)?;
    // Before the guard is resumed: a start that finds its port in use takes nothing away from the server that has it.
    let listener = TcpListener::bind(address).await?;
    let here = format!("https://localhost:{}", listener.local_addr()?.port());
    let origins = if origins.is_empty() { std::slice::from_ref(&here) } else { origins };
    let origins: Vec<_> = origins.iter().map(|origin| origin.parse()).collect::<Result<_, _>>()?;
    let origins = Origins::new(origins)?;
    let registry = Arc::new(Registry::open_or_create(db).await?);
    let saved =
        registry.file().map_or("nonces".into(), |file| format!("{}-nonces", file.display()));
    let nonces = SavedNonces::resume(Window::default(), registry.clone(), saved).await?;
    let verifier = Verifier::new(origins, registry, nonces.clone()).public_path("/health");
    let app = Router::new()
        .route("/v1/orders", get(list).post(add))
        .route("/health", get(async || "well\n"))
        .layer(verifier.layer());
    println!("{here}");
    tokio::spawn(reload(tls.clone()));
    serve(Listener::from(listener).tls(tls), app, nonces.until_signal()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: tls_server ADDRESS sqlite:FILE CERTIFICATE.pem KEY.pem [ORIGIN]...");
            ExitCode::FAILURE
        }
    }
}
