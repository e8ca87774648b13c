//! An API that moves to signatures: two routes are enforced, one is only observed, and what becomes of requests is counted where
//! Prometheus reads it, and told in the spans of the log.
//!
//! ```console
//! $ cargo run --features metrics --example metrics
//! $ cargo run --features metrics --example metrics -- --serve
//! ```
//!
//! With `--serve` it stays up, and prints where the API and its metrics are.

use std::{env, error::Error, process::ExitCode, sync::Arc};

use axum::{Json, Router, routing::get};
use countersign::{Origins, PrivateKey, ProvenKey, Window};
use countersign_client::Client;
use countersign_server::{
    Publishable, Route, Routes, Signed, SignedBy, Verifier, serve, until_signal,
};
use countersign_store::{MemoryNonces, NewCredential, Registry, system_time};
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tracing_subscriber::fmt::format::FmtSpan;

async fn list(Publishable(_): Publishable) -> &'static str {
    "no orders\n"
}

async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> String {
    format!("{}: {order}\n", caller.credential().label)
}

/// A route of before: whoever called it still does.
async fn refund(caller: Option<SignedBy>) -> &'static str {
    if caller.is_some() { "refunded, signed\n" } else { "refunded\n" }
}

fn routes() -> Routes {
    Routes::new()
        .route(Route::read("/v1/orders"), list)
        .route(Route::signed(Method::POST, "/v1/orders"), add)
        .route(Route::signed(Method::POST, "/v1/refunds").insecure_observe(), refund)
}

async fn run(stay: bool) -> Result<(), Box<dyn Error>> {
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE).init();

    let folder = tempfile::tempdir()?;
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let key = PrivateKey::ed25519(&seed);
    registry.add_application("shop", "test", system_time()).await?;
    let proven = ProvenKey::from(&key);
    registry.add_credential(NewCredential::new("shop", "laptop", &proven), system_time()).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time()).await?;
    let verifier = Verifier::new(Origins::new([origin.parse()?])?, registry.clone(), nonces);
    let app = verifier.protect(routes())?;
    let (stop, asked_to_stop) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, app, async { drop(asked_to_stop.await) }));

    // Where strangers do not get: a port of its own, which nobody routes to from outside.
    let inside = TcpListener::bind("127.0.0.1:0").await?;
    let metrics = format!("http://{}/metrics", inside.local_addr()?);
    let page = Router::new().route("/metrics", get(async move || prometheus.render()));
    tokio::spawn(serve(inside, page, std::future::pending()));

    let publishable = key.publishable_key().to_string();
    let client = Client::new(key)?;
    let plain = reqwest::Client::new();
    let (orders, refunds) = (format!("{origin}/v1/orders"), format!("{origin}/v1/refunds"));
    let order = client.post(orders.as_str()).json(&json!({ "item": "book" })).sign()?;
    let again = order.try_clone().ok_or("a request from memory can be cloned")?;
    plain.get(&orders).header("X-Api-Key", &publishable).send().await?;
    plain.execute(order).await?;
    plain.execute(again).await?;
    plain.post(&orders).body("{}").send().await?;
    plain.post(&refunds).send().await?;
    client.post(refunds.as_str()).send().await?;

    for line in plain.get(&metrics).send().await?.text().await?.lines() {
        if line.contains("countersign_requests_total") {
            println!("{line}");
        }
    }
    if stay {
        let stopped = until_signal()?;
        println!("{origin}/v1/orders with X-Api-Key: {publishable}\n{metrics}");
        stopped.await;
    }
    // The threads of the registry may hold the span of a request for a moment longer than the request lasts.
    drop(stop);
    serving.await?;
    if let Some(registry) = Arc::into_inner(registry) {
        registry.close().await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args().any(|argument| argument == "--serve")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!(
                "hint: it needs two free ports of 127.0.0.1 and a folder for temporary files"
            );
            ExitCode::FAILURE
        }
    }
}
