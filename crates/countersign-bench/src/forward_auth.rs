use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign::{Nonce, Signer};
use countersign_service::{ProxyKind, set_up};
use countersign_store::system_time;
use http::Method;
use tokio::runtime::Runtime;

use crate::{
    connection::Connection,
    figure::{Figure, Target},
    nginx::{Nginx, UPSTREAM},
    order::{Order, ed25519},
    proxy::{read, serve_upstream},
    ratio::median,
    served::{self, Served},
};

/// The name by which the configuration of nginx has the verifier.
const VERIFIER: &str = "verifier";
/// The longest that a question may take.
const MOST: f64 = 0.2;

/// What a question of nginx takes beside the request itself: the time of a request through nginx that asks `countersign serve auth`,
/// less the time through nginx that does not, in front of the same upstream. One request is sent after the other.
pub(crate) fn figures(requests: usize) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let upstream = runtime.block_on(serve_upstream());
    let service = Served::auth(folder.path());
    runtime.block_on(served::register(folder.path()));
    let plain = Nginx::forward(folder.path(), upstream);
    let locations = asking(service.address, upstream);
    let behind = [(UPSTREAM, upstream), (VERIFIER, service.address)];
    let asks = Nginx::start(folder.path(), "asks", &behind, &locations);

    let signer = Signer::new(ed25519());
    let signed = |number: usize| signed_read(&signer, number);
    let key = read();
    let unsigned = |_: usize| key.clone();
    let makes: [(&str, &dyn Fn(usize) -> Bytes); 2] =
        [("read", &unsigned), ("signed read", &signed)];
    let figure = |(name, make): (&str, &dyn Fn(usize) -> Bytes)| {
        let (first, second) = times(&runtime, [asks.address, plain.address], requests, make);
        let added = first.saturating_sub(second).as_secs_f64() * 1000.0;
        Figure::new(format!("auth/{name}, added to nginx"), added, "ms", Some(Target::AtMost(MOST)))
            .detail(format!("{first:.1?} beside {second:.1?}"))
    };
    makes.map(figure).into()
}

/// The configuration that `countersign serve config` prints, with connections that are kept.
fn asking(service: SocketAddr, upstream: SocketAddr) -> String {
    let server = format!("http://{upstream}").parse().unwrap();
    set_up(ProxyKind::Nginx, service, &server)
        .replace(&format!("http://{service}"), &format!("http://{VERIFIER}"))
        .replace(&format!("http://{upstream}"), &format!("http://{UPSTREAM}"))
}

/// The median times of requests to two addresses, in turn.
fn times(
    runtime: &Runtime,
    to: [SocketAddr; 2],
    requests: usize,
    make: &dyn Fn(usize) -> Bytes,
) -> (Duration, Duration) {
    runtime.block_on(async {
        let [first, second] = to;
        let mut connections = [Connection::open(first).await, Connection::open(second).await];
        let mut times: [Vec<Duration>; 2] = Default::default();
        // The first tenth only warms up.
        for number in 0..requests + requests / 10 {
            for (connection, times) in connections.iter_mut().zip(&mut times) {
                // The two get the same request: only one of them verifies it.
                let request = make(number);
                let start = Instant::now();
                let (status, _) = connection.send(&request).await;
                let time = start.elapsed();
                assert_eq!(status, 200);
                if number >= requests / 10 {
                    times.push(time);
                }
            }
        }
        let [first, second] = times.map(median);
        (first, second)
    })
}

fn signed_read(signer: &Signer, number: usize) -> Bytes {
    let mut order = Order::unsigned();
    order.method = Method::GET;
    order.headers.remove(http::header::CONTENT_LENGTH);
    order.headers.remove(http::header::CONTENT_TYPE);
    let nonce = Nonce::from_random(u128::try_from(number).unwrap().to_be_bytes());
    let signed = signer.sign(&order.head(), b"", system_time(), &nonce).unwrap();
    signed.apply(&mut order.headers);
    let mut head = format!("GET {} HTTP/1.1\r\n", order.uri).into_bytes();
    for (name, value) in &order.headers {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head.into()
}
