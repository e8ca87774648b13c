use std::{
    mem,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::StatusCode, routing::post};
use countersign::{Claim, Nonce, NonceUse, Origins, Signer, Window};
use countersign_server::{SignedBy, Verifier};
use countersign_store::{
    Gate, Limits, MemoryNonces, NonceStore, Quota, Redis, RedisGate, RedisNonces, system_time,
};
use harness::{CountingProxy, RedisServer, Service};
use http::Request;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::{
    figure::{Figure, Target},
    order::{CONTENT, Order},
};

/// How many requests are under way at a time.
const AT_ONCE: usize = 64;

/// All figures, on a Redis of its own.
pub(crate) async fn figures(requests: usize, nonces: usize) -> Vec<Figure> {
    let server = RedisServer::start();
    let redis = |url: &str| Redis::single(url).unwrap().timeout(Duration::from_secs(20));
    let connect = async |redis: Redis| {
        RedisNonces::connect(redis, Window::default(), system_time()).await.unwrap()
    };
    drop(connect(redis(&server.url())).await);
    // As if it had been there long ago, so that it accepts at once.
    server.settle("default");
    let limits = || {
        // So much that nothing is over it.
        let quotas = [Quota::per_second(NonZeroU32::MAX), Quota::per_minute(NonZeroU32::MAX)];
        Limits::default().signed(quotas)
    };
    let gate = async |redis: Redis| {
        let servers = NonZeroU32::MIN;
        RedisGate::connect(redis, Window::default(), limits(), servers, system_time()).await
    };
    let memory = || {
        let started = system_time().minus(Duration::from_secs(3600));
        let nonces = MemoryNonces::volatile(Window::default(), started).unwrap();
        nonces.memory(512 << 20).share(10_000_000)
    };

    let mut figures = Vec::new();
    let mut push = |name, value, unit, target| figures.push(Figure::new(name, value, unit, target));
    let url = server.url();
    push("claim/memory", claims(memory(), requests).await, "/s", None);
    push("claim/redis", claims(connect(redis(&url)).await, requests).await, "/s", None);
    push("signed-write/memory", writes(memory(), requests).await, "/s", None);
    push("signed-write/redis", writes(connect(redis(&url)).await, requests).await, "/s", None);
    let gated = gate(redis(&url)).await.unwrap();
    push("signed-write/redis-with-limits", writes(gated, requests).await, "/s", None);

    let proxy = CountingProxy::start(server.port()).await;
    let gated = app(gate(redis(&proxy.url())).await.unwrap());
    let (before, writes) = (proxy.trips(), 100u32);
    for request in signed(usize::try_from(writes).unwrap()) {
        assert_eq!(gated.clone().oneshot(request).await.unwrap().status(), StatusCode::CREATED);
    }
    let trips = u32::try_from(proxy.trips() - before).unwrap();
    let trips = f64::from(trips) / f64::from(writes);
    push("round-trips/signed-write-with-limits", trips, "", Some(Target::AtMost(1.0)));

    push(
        "bytes/nonce",
        bytes_of_a_nonce(&server, &connect(redis(&url)).await, nonces).await,
        "B",
        None,
    );
    figures
}

fn nonce_use(number: usize, ago: usize) -> NonceUse {
    let number = u128::try_from(number).unwrap();
    let ago = Duration::from_secs(u64::try_from(ago).unwrap());
    NonceUse::new(1, system_time().minus(ago), Nonce::from_random(number.to_be_bytes()))
}

/// Claims a second.
async fn claims<N: NonceStore>(nonces: N, number: usize) -> f64 {
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    let first = FIRST.fetch_add(number, Ordering::Relaxed);
    let nonces = Arc::new(nonces);
    per_second(number, move |at| {
        let nonces = Arc::clone(&nonces);
        async move {
            let used = nonce_use(first + at, 0);
            assert_eq!(nonces.claim(&used, system_time()).await.unwrap(), Claim::Fresh);
        }
    })
    .await
}

/// Signed writes a second that a router with the verifier in front handles.
async fn writes<G: Gate>(gate: G, number: usize) -> f64 {
    let (app, requests) = (app(gate), signed(number));
    let requests = Arc::new(requests.into_iter().map(Mutex::new).collect::<Vec<_>>());
    per_second(number, move |at| {
        let (app, request) = (app.clone(), requests.get(at).unwrap());
        let request = mem::take(&mut *request.lock().unwrap());
        async move {
            assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::CREATED);
        }
    })
    .await
}

/// How often a second something is done, so many times at once.
async fn per_second<F: Future<Output = ()> + Send + 'static>(
    number: usize,
    once: impl Fn(usize) -> F + Clone + Send + 'static,
) -> f64 {
    let (next, mut workers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let start = Instant::now();
    for _ in 0..AT_ONCE {
        let (next, once) = (Arc::clone(&next), once.clone());
        workers.spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= number {
                    return;
                }
                once(at).await;
            }
        });
    }
    workers.join_all().await;
    f64::from(u32::try_from(number).unwrap()) / start.elapsed().as_secs_f64()
}

fn app<G: Gate>(gate: G) -> Router {
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let verifier = Verifier::new(origins, Service::keys(), gate);
    let add = async |SignedBy(_): SignedBy| StatusCode::CREATED;
    Router::new().route("/v1/orders", post(add)).layer(verifier.layer())
}

/// Orders that are signed in advance, so that signing is not measured.
fn signed(number: usize) -> Vec<Request<Body>> {
    static NONCE: AtomicUsize = AtomicUsize::new(0);
    let signer = Signer::new(harness::key(1));
    let order = Order::unsigned();
    let sign = |_| {
        let number = NONCE.fetch_add(1, Ordering::Relaxed);
        let nonce = Nonce::from_random(u128::try_from(number).unwrap().to_be_bytes());
        let fields = signer.sign(&order.head(), CONTENT, system_time(), &nonce).unwrap();
        let mut request = Request::new(Body::from(CONTENT));
        *request.method_mut() = order.method.clone();
        *request.uri_mut() = order.uri.clone();
        *request.headers_mut() = order.headers.clone();
        fields.apply(request.headers_mut());
        request
    };
    (0..number).map(sign).collect()
}

/// What Redis takes of memory for each nonce, when so many are live that were signed in the last minute.
async fn bytes_of_a_nonce(server: &RedisServer, nonces: &RedisNonces, number: usize) -> f64 {
    server.tell(&["FLUSHALL"]);
    drop(nonces.claim(&nonce_use(0, 0), system_time()).await);
    server.settle("default");
    let used = || -> f64 { server.info("used_memory").parse().unwrap() };
    let before = used();
    let redis = Redis::single(&server.url()).unwrap().timeout(Duration::from_secs(20));
    let nonces = RedisNonces::connect(redis, Window::default(), system_time()).await.unwrap();
    per_second(number, move |at| {
        let nonces = nonces.clone();
        async move {
            let used = nonce_use(at, at % 60);
            assert_eq!(nonces.claim(&used, system_time()).await.unwrap(), Claim::Fresh);
        }
    })
    .await;
    (used() - before) / f64::from(u32::try_from(number).unwrap())
}
