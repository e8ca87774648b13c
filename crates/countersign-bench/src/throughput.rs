use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use countersign::{Claim, Policy};
use countersign_server::serve;
use countersign_store::system_time;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

use crate::{
    claims::claim,
    connection::Connection,
    figure::Figure,
    layer::{guard, verify},
    order::ed25519,
    post::{CONTENT, Posts, plain, verified},
    process::processor_time,
    ratio::{Ratio, median},
};

/// How many connections send requests at a time.
const CONNECTIONS: usize = 32;

/// How many requests are served in a second by two threads, which send them as well. They are signed beforehand.
///
/// The sum of the parts is the processor time of a request without the layer, of its verification with a prepared key, of the
/// digest of its content and of the claim of its nonce, each by itself.
pub(crate) fn figures(rounds: usize, requests: usize) -> Vec<Figure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let posts = Posts::new(ed25519());
    let prepared = verified(&ed25519(), guard(), |verifier| verifier);
    let unprepared = verified(&ed25519(), guard(), |verifier| verifier.prepared_keys_memory(0));
    let apps = [prepared, unprepared, plain()];
    let (policy, key, guard) = (Policy::default(), ed25519().verifying_key().prepared(), guard());
    let mut rounds_of: [Vec<Round>; 4] = Default::default();
    // The first round only warms up.
    for round in 0..=rounds {
        let mut round_of = Vec::new();
        for app in &apps {
            let signed = (0..requests).map(|_| posts.bytes(system_time())).collect();
            round_of.push(run(&runtime, app.clone(), signed));
        }
        let heads: Vec<_> = (0..requests).map(|_| posts.signed_order(system_time())).collect();
        round_of.push(Round::of(|| {
            for head in heads {
                let used = verify(&head, &policy, &key);
                black_box(Sha256::digest(CONTENT));
                assert!(matches!(claim(&guard, &used, system_time()), Ok(Claim::Fresh)));
            }
        }));
        if round > 0 {
            rounds_of.iter_mut().zip(round_of).for_each(|(all, round)| all.push(round));
        }
    }
    let number = f64::from(u32::try_from(requests).unwrap());
    let micros = |time: Duration| time.as_secs_f64() / number * 1e6;
    let [prepared, unprepared, plain, parts] = &rounds_of;
    let elapsed = |of: &[Round]| of.iter().map(|round| round.elapsed).collect::<Vec<_>>();
    let processor = |of: &[Round]| of.iter().map(|round| round.processor).collect::<Vec<_>>();
    let summed = processor(plain).into_iter().zip(processor(parts)).map(|(one, other)| one + other);
    let ratio = |name: &str, first: Vec<Duration>, second: Vec<Duration>| {
        Figure::new(name, Ratio::of(first.into_iter().zip(second).collect()).median, "ratio", None)
    };
    let mut figures = Vec::new();
    let sides = [
        ("with the layer", prepared),
        ("with the layer, unprepared", unprepared),
        ("without", plain),
    ];
    for (name, side) in sides {
        let per_second = number / median(elapsed(side)).as_secs_f64();
        figures.push(Figure::new(format!("served/{name}"), per_second, "/s", None));
        let time = micros(median(processor(side)));
        figures.push(Figure::new(format!("processor/{name}"), time, "µs", None));
    }
    figures.push(ratio("served/with by without", elapsed(plain), elapsed(prepared)));
    let name = "processor/prepared by unprepared";
    figures.push(ratio(name, processor(prepared), processor(unprepared)));
    figures.push(ratio(
        "processor/with by the sum of its parts",
        processor(prepared),
        summed.collect(),
    ));
    figures
}

/// What a round took, by the clock and of processors.
struct Round {
    elapsed: Duration,
    processor: Duration,
}

impl Round {
    fn of(work: impl FnOnce()) -> Self {
        let (start, before) = (Instant::now(), processor_time());
        work();
        Self { elapsed: start.elapsed(), processor: processor_time() - before }
    }
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
