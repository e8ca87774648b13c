//! A service as a process, so that it can be killed. Its replay guard is in the Redis at the first argument, and each order
//! that it handles is a line more in the file at the second.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{env, fs::OpenOptions, io::Write as _};

use axum::{Router, http::StatusCode, routing::post};
use countersign::Origins;
use countersign_server::{Signed, Verifier, serve};
use countersign_store::{Redis, RedisNonces, Window, system_time};
use harness::Service;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let [redis, file] = [1, 2].map(|at| env::args().nth(at).unwrap());
    let redis = Redis::single(&redis).unwrap().timeout(std::time::Duration::from_secs(20));
    let nonces = RedisNonces::connect(redis, Window::default(), system_time()).await.unwrap();
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let verifier = Verifier::new(origins, Service::keys(), nonces);
    let handled = async move |Signed(_, order): Signed<String>| {
        let mut file = OpenOptions::new().append(true).create(true).open(&file).unwrap();
        // One write, so that lines of several processes stay whole.
        file.write_all(format!("{order}\n").as_bytes()).unwrap();
        StatusCode::CREATED
    };
    let app = Router::new().route("/v1/orders", post(handled)).layer(verifier.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    serve(listener, app, std::future::pending()).await;
}
