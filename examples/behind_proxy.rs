//! The API of `axum_server` behind proxies that send a `Host` of their own, and say in `X-Forwarded-Host` which one they got and
//! in `X-Forwarded-For` from whom.
//!
//! ```console
//! $ cargo run --example behind_proxy -- 127.0.0.1:8080 https://api.example.com sqlite:countersign.db --proxy 10.0.0.7/32
//! ```

use std::{env, num::NonZeroU32, process::ExitCode, sync::Arc};

use axum::{Extension, Json, Router, extract::State, http::StatusCode, routing::get};
use countersign::{Origins, Window};
use countersign_server::{
    ForwardedFields, Ingress, Proxies, Publishable, SavedNonces, Signed, Verifier, serve,
};
use countersign_store::{ClientAddress, Limited, Limits, Quota, Readiness, Registry, system_time};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const USAGE: &str = "behind_proxy ADDRESS ORIGIN sqlite:FILE --proxy RANGE [--proxy RANGE]...";

/// Tells its callers where they are: the client, and not the proxy that asks for it.
async fn list(
    Publishable(caller): Publishable,
    Extension(client): Extension<ClientAddress>,
) -> Json<Value> {
    Json(json!({ "application": caller.application().name.as_str(), "client": client.to_string() }))
}

async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> (StatusCode, Json<Value>) {
    let content = json!({ "signed_by": caller.credential().label.as_str(), "order": order });
    (StatusCode::CREATED, Json(content))
}

/// Whether the replay guard accepts what is signed now, for a readiness probe: for some seconds after a crash it does not.
async fn ready(State(nonces): State<SavedNonces<Arc<Registry>>>) -> StatusCode {
    let now = system_time();
    match nonces.ready_at(now).await {
        Ok(from) if from <= now => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn run(
    mut arguments: impl Iterator<Item = String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (Some(address), Some(origin), Some(db)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("an address, an origin and a registry are needed".into());
    };
    let mut ranges = Vec::new();
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--proxy", Some(range)) => ranges.push(range.parse()?),
            _ => return Err("what follows the registry is --proxy and a range of addresses".into()),
        }
    }

    let origins = Origins::new([origin.parse()?])?;
    // Which fields the proxies write is for whoever set them up to know: others pass through them as clients wrote them.
    let proxies = Proxies::new(ranges, ForwardedFields::XForwarded)?;
    let ingress = Ingress::forwarded(origins, proxies);

    // Before the guard is resumed: a start that finds its port in use takes nothing away from the server that has it.
    let listener = TcpListener::bind(address).await?;
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    let saved =
        registry.file().map_or("nonces".into(), |file| format!("{}-nonces", file.display()));
    let nonces = SavedNonces::resume(Window::default(), registry.clone(), saved).await?;
    // By the address of the client: all clients of a proxy together would soon use up what one may.
    const READS_OF_ONE: NonZeroU32 = NonZeroU32::new(600).unwrap();
    let limits = Limits::default().unsigned_by_address([Quota::per_minute(READS_OF_ONE)]);
    let gate = Limited::new(nonces.clone(), limits);
    let verifier =
        Verifier::new(ingress, registry, gate).public_path("/health").public_path("/ready");

    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/v1/orders", get(list).post(add))
        .route("/health", get(async || "well\n"))
        .route("/ready", get(ready).with_state(nonces.clone()))
        .layer(verifier.layer());
    serve(listener, app, nonces.until_signal()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    // The log says which line a proxy's configuration lacks.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot serve: {error}");
            eprintln!("hint: {USAGE}");
            ExitCode::FAILURE
        }
    }
}
