//! A service as a process, with a replay guard of its own whose ceiling is in an SQLite registry. Everything is in the folder
//! that is its argument: `registry.db`, `clock`, which it reads whenever it wants to know the time, `handled`, with a line
//! for each order, and `nonces`, where it leaves its memory when its standard input ends. `GET /ready` says whether its guard accepts
//! what is signed now.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{env, fs, path::PathBuf, sync::Arc};

use axum::{http::StatusCode, routing::get};
use countersign::{Timestamp, Window};
use countersign_server::serve;
use countersign_store::{MemoryNonces, Readiness as _, Registry};
use harness::{Service, order_log, order_verifier};
use tokio::{io::AsyncReadExt, net::TcpListener};

#[tokio::main]
async fn main() {
    let folder = PathBuf::from(env::args().nth(1).unwrap());
    let clock = folder.join("clock");
    let now = move || Timestamp::from_unix(fs::read_to_string(&clock).unwrap().parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let db = format!("sqlite:{}", folder.join("registry.db").display());
    let ceiling = Arc::new(Registry::open_or_create(&db).await.unwrap());
    let memory = folder.join("nonces");
    let nonces = MemoryNonces::resume(Window::default(), ceiling, &memory, now()).await.unwrap();
    let nonces = Arc::new(nonces);
    let verifier = order_verifier(Service::keys(), Arc::clone(&nonces)).clock(now.clone());
    let (guard, clock) = (Arc::clone(&nonces), now.clone());
    let ready = async move || {
        let now = clock();
        match guard.ready_at(now).await {
            Ok(from) if from <= now => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    };
    let app = order_log(folder.join("handled"))
        .route("/ready", get(ready))
        .layer(verifier.public_path("/ready").layer());
    println!("{}", listener.local_addr().unwrap());
    let told_to_stop = async {
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.unwrap();
    };
    serve(listener, app, told_to_stop).await;
    nonces.stop(&memory, now()).await.unwrap();
}
