use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use countersign_server::serve;
use countersign_store::system_time;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

use crate::{
    connection::Connection,
    figure::Figure,
    layer::guard,
    order::ed25519,
    post::{Posts, plain, verified},
    process::processor_time,
    ratio::{Ratio, median},
};

/// How many connections send requests at a time.
const CONNECTIONS: usize = 32;

/// How many requests are served in a second by two threads, which send them as well. They are signed beforehand.
pub(crate) fn figures(rounds: usize, requests: usize) -> Vec<Figure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let posts = Posts::new(ed25519());
    let (plain, verified) = (plain(), verified(&ed25519(), guard(), |verifier| verifier));
    let mut rounds_of: Vec<(Round, Round)> = Vec::new();
    // The first round only warms up.
    for round in 0..=rounds {
        let sign = || -> Vec<Bytes> { (0..requests).map(|_| posts.bytes(system_time())).collect() };
        let one = run(&runtime, verified.clone(), sign());
        let other = run(&runtime, plain.clone(), sign());
        if round > 0 {
            rounds_of.push((one, other));
        }
    }
    let number = f64::from(u32::try_from(requests).unwrap());
    let side = |of: fn(&(Round, Round)) -> Duration| {
        median(rounds_of.iter().map(of).collect()).as_secs_f64()
    };
    let per_second = |time: f64| number / time;
    let micros = |time: f64| time / number * 1e6;
    let elapsed = rounds_of.iter().map(|(one, other)| (other.elapsed, one.elapsed)).collect();
    vec![
        Figure::new("served/with the layer", per_second(side(|(one, _)| one.elapsed)), "/s", None),
        Figure::new("served/without", per_second(side(|(_, other)| other.elapsed)), "/s", None),
        Figure::new("served/with by without", Ratio::of(elapsed).median, "ratio", None),
        Figure::new("processor/with the layer", micros(side(|(one, _)| one.processor)), "µs", None),
        Figure::new("processor/without", micros(side(|(_, other)| other.processor)), "µs", None),
    ]
}

/// What a round took, by the clock and of processors.
struct Round {
    elapsed: Duration,
    processor: Duration,
}

fn run(runtime: &Runtime, app: Router, requests: Vec<Bytes>) -> Round {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, app, std::future::pending()));
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(address).await);
        }
        let (start, before) = (Instant::now(), processor_time());
        let mut senders = JoinSet::new();
        for mut connection in connections {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            senders.spawn(async move {
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert_eq!(connection.send(request).await.0, 201);
                }
            });
        }
        senders.join_all().await;
        let round = Round { elapsed: start.elapsed(), processor: processor_time() - before };
        serving.abort();
        round
    })
}
