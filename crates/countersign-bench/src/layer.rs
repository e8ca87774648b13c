use std::{
    hint::black_box,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::StatusCode};
use bytes::Bytes;
use countersign::{Claim, Content, NonceUse, Policy, PrivateKey, Unverified, VerifyingKey, Window};
use countersign_store::{MemoryNonces, system_time};
use http::Request;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::ServiceExt as _;

use crate::{
    claims::claim,
    connection::Connection,
    figure::{Figure, Target},
    order::{Order, ed25519, hmac},
    post::{CONTENT, Posts, plain, verified},
    ratio::{Ratio, median},
};

/// How many requests are timed together.
const TOGETHER: usize = 64;
/// The allowed time of the layer beside the handler and the parts of its own work, for Ed25519.
const MARK: Target = Target::AtMost(1.10);

/// The time of the layer for a signed POST of 1 KiB: beside the handler alone, and beside the sum of the handler and the
/// necessary work, which is to verify the head, to digest the content and to claim the nonce.
pub(crate) fn figures(rounds: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    in_process(rounds, "ed25519", ed25519, Keys::Unprepared, Some(MARK), &mut figures);
    in_process(rounds, "ed25519-prepared", ed25519, Keys::Prepared, None, &mut figures);
    in_process(rounds, "hmac-sha256", hmac, Keys::Prepared, None, &mut figures);
    over_sockets(rounds, &mut figures);
    figures
}

/// Whether keys are prepared, in the server and in the sum of its parts.
#[derive(Clone, Copy)]
enum Keys {
    Prepared,
    Unprepared,
}

impl Keys {
    fn verified(self, key: &PrivateKey) -> Router {
        verified(key, guard(), |verifier| match self {
            Self::Prepared => verifier,
            Self::Unprepared => verifier.prepared_keys_memory(0),
        })
    }

    fn of(self, key: &PrivateKey) -> VerifyingKey {
        match self {
            Self::Prepared => key.verifying_key().prepared(),
            Self::Unprepared => key.verifying_key(),
        }
    }
}

/// A replay guard that accepts at once and has room for all requests here.
pub(crate) fn guard() -> MemoryNonces {
    let started = system_time().minus(Duration::from_secs(3600));
    let guard = MemoryNonces::volatile(Window::default(), started).unwrap();
    guard.memory(1 << 30).share(10_000_000)
}

/// The router is called as `serve` calls it, on one thread, without a socket.
fn in_process(
    rounds: usize,
    name: &str,
    key: fn() -> PrivateKey,
    keys: Keys,
    mark: Option<Target>,
    figures: &mut Vec<Figure>,
) {
    let runtime = runtime();
    let posts = Posts::new(key());
    let send = |app: &Router, requests: Vec<Request<Body>>| {
        runtime.block_on(async {
            for request in requests {
                let response = app.clone().oneshot(request).await.unwrap();
                assert_eq!(response.status(), StatusCode::CREATED);
            }
        });
    };
    let (plain, verified) = (plain(), keys.verified(&key()));
    measure(
        Setting {
            rounds,
            name: &format!("post-1KiB/{name}/in-process"),
            key: &keys.of(&key()),
            posts: &posts,
            added: Added::Apart,
            mark,
        },
        || posts.request(system_time()),
        |requests| send(&verified, requests),
        |requests| send(&plain, requests),
        figures,
    );
}

/// A connection is kept, and requests are sent in turn. Client and server have a thread each.
fn over_sockets(rounds: usize, figures: &mut Vec<Figure>) {
    let runtime = runtime();
    let key = ed25519();
    let posts = Posts::new(ed25519());
    let connect = |app| runtime.block_on(Connection::open(serve(app)));
    let mut to_plain = connect(plain());
    let mut to_verified = connect(Keys::Unprepared.verified(&key));
    let send = |connection: &mut Connection, requests: Vec<Bytes>| {
        runtime.block_on(async {
            for request in requests {
                assert_eq!(connection.send(&request).await.0, 201);
            }
        });
    };
    measure(
        Setting {
            rounds,
            name: "post-1KiB/ed25519/over-a-socket",
            key: &Keys::Unprepared.of(&key),
            posts: &posts,
            added: Added::InTurn,
            mark: Some(MARK),
        },
        || posts.bytes(system_time()),
        |requests| send(&mut to_verified, requests),
        |requests| send(&mut to_plain, requests),
        figures,
    );
}

/// How the handler and the parts are timed to be added up.
#[derive(Clone, Copy)]
enum Added {
    /// Each by itself, over and over.
    Apart,
    /// In turn for each request, so that the parts find caches as they are after an exchange.
    InTurn,
}

struct Setting<'a> {
    rounds: usize,
    name: &'a str,
    key: &'a VerifyingKey,
    posts: &'a Posts,
    added: Added,
    mark: Option<Target>,
}

/// Measures all of it in turn, round by round, so that other work of the machine affects all alike.
fn measure<R>(
    setting: Setting<'_>,
    ready: impl Fn() -> R,
    mut verified: impl FnMut(Vec<R>),
    mut plain: impl FnMut(Vec<R>),
    figures: &mut Vec<Figure>,
) {
    let Setting { rounds, name, key, posts, added, mark } = setting;
    let together = || (0..TOGETHER).map(|_| ready()).collect::<Vec<_>>();
    let policy = Policy::default();
    let guard = guard();
    let mut rounds_of: [Vec<Duration>; 6] = Default::default();
    // The first rounds only warm up.
    for round in 0..rounds + 3 {
        let (requests, same) = (together(), together());
        let heads: Vec<_> = (0..TOGETHER).map(|_| posts.signed_order(system_time())).collect();
        let with_layer = time(|| verified(requests));
        let without = time(|| plain(same));
        let mut uses = Vec::with_capacity(TOGETHER);
        let verifying = time(|| uses.extend(heads.iter().map(|head| verify(head, &policy, key))));
        let digesting = time(|| {
            for _ in 0..TOGETHER {
                black_box(Sha256::digest(CONTENT));
            }
        });
        let claiming = time(|| {
            for used in &uses {
                assert!(matches!(claim(&guard, used, system_time()), Ok(Claim::Fresh)));
            }
        });
        let all = match added {
            Added::Apart => without + verifying + digesting + claiming,
            Added::InTurn => {
                let heads = (0..TOGETHER).map(|_| posts.signed_order(system_time()));
                let requests: Vec<_> = together().into_iter().zip(heads).collect();
                time(|| {
                    for (request, head) in requests {
                        plain(vec![request]);
                        let used = verify(&head, &policy, key);
                        black_box(Sha256::digest(CONTENT));
                        assert!(matches!(claim(&guard, &used, system_time()), Ok(Claim::Fresh)));
                    }
                })
            }
        };
        if round >= 3 {
            let times = [with_layer, all, without, verifying, digesting, claiming];
            rounds_of.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        }
    }
    let [with_layer, all, without, verifying, digesting, claiming] = &rounds_of;
    let beside = |second: &[Duration]| {
        Ratio::of(with_layer.iter().copied().zip(second.iter().copied()).collect())
    };
    let (to_plain, to_parts) = (beside(without), beside(all));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let detail =
        |ratio: Ratio| format!("{:.2} µs by {:.2} µs", micros(ratio.first), micros(ratio.second));
    figures.push(
        Figure::new(format!("{name}/plain"), to_plain.median, "ratio", None)
            .detail(detail(to_plain)),
    );
    figures.push(
        Figure::new(format!("{name}/parts"), to_parts.median, "ratio", mark)
            .detail(detail(to_parts)),
    );
    let parts = [
        ("with the layer", with_layer),
        ("without", without),
        ("verifying the head", verifying),
        ("digesting 1 KiB", digesting),
        ("claiming the nonce", claiming),
    ];
    for (what, times) in parts {
        let time = micros(median(times.clone()));
        figures.push(Figure::new(format!("{name}: {what}"), time, "µs", None));
    }
}

/// From the head to the claim.
pub(crate) fn verify(order: &Order, policy: &Policy, key: &VerifyingKey) -> NonceUse {
    let unverified = Unverified::parse(order.head(), Content::Present, policy, system_time());
    unverified.unwrap().unwrap().verify(key).unwrap().nonce_use(1)
}

/// The mean time of one.
fn time(together: impl FnOnce()) -> Duration {
    let start = Instant::now();
    together();
    start.elapsed().checked_div(u32::try_from(TOGETHER).unwrap()).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Serves on a thread of its own, until the process ends.
fn serve(app: Router) -> SocketAddr {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(countersign_server::serve(listener, app, std::future::pending()));
    });
    address
}
