//! A service as a process, so that it can be killed. Its replay guard is in the Redis at the first argument, and each order
//! that it handles is a line more in the file at the second.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{env, time::Duration};

use countersign::Window;
use countersign_server::serve;
use countersign_store::{Redis, RedisNonces, system_time};
use harness::{Service, order_log, order_verifier};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let [redis, file] = [1, 2].map(|at| env::args().nth(at).unwrap());
    let redis = Redis::single(&redis).unwrap().timeout(Duration::from_secs(20));
    let nonces = RedisNonces::connect(redis, Window::default(), system_time()).await.unwrap();
    let app = order_log(file.into()).layer(order_verifier(Service::keys(), nonces).layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    serve(listener, app, std::future::pending()).await;
}
