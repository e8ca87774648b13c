//! A flood of requests with bad signatures, through a verifier that is called without a socket. It is alone in its process,
//! whose memory is the figure.
//!
//! ```console
//! $ COUNTERSIGN_FLOOD=10000000 cargo test --release -p countersign-tests --test flood -- --nocapture
//! ```

use std::{
    env, fs,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::body::Body;
use countersign::Code;
use countersign_store::{Limited, Limits, Quota};
use harness::{Counted, Raw, Service, TestClock, key, router, verifier};
use http::{Request, StatusCode};
use tower::ServiceExt;

/// How many requests it has, unless `COUNTERSIGN_FLOOD` says another number.
const FLOOD: u64 = 20_000;

/// What this process has in memory, in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[tokio::test]
async fn a_flood_of_bad_signatures_with_distinct_nonces_stores_nothing() {
    let number = env::var("COUNTERSIGN_FLOOD").map_or(FLOOD, |number| number.parse().unwrap());
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let (nonces, asked) = Counted::new(Service::nonces());
    let two = [Quota::per_minute(NonZeroU32::new(2).unwrap())];
    let gate = Limited::new(nonces, Limits::default().signed(two)).clock(clock.monotonic());
    let verifier = verifier(&clock, Service::keys(), gate);
    let app = router(Arc::clone(&handled)).layer(verifier.layer());
    // One signature under ever new nonces: each is one of its own, and is verified.
    let (template, _) = Raw::order().forged(&key(1)).request().into_parts();
    let input = template.headers["signature-input"].to_str().unwrap().to_owned();
    let (before, rest) = input.split_once("nonce=\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    let (start, at_first) = (Instant::now(), resident());
    for at in 0..number {
        let mut head = template.clone();
        let input = format!("{before}nonce=\"{at:022}\"{after}");
        head.headers.insert("signature-input", input.try_into().unwrap());
        let flooding = Request::from_parts(head, Body::from(Raw::order().body));
        let answer = app.clone().oneshot(flooding).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.extensions().get(), Some(&Code::SignatureInvalid));
    }
    println!("{number} bad signatures in {:?}", start.elapsed());
    assert_eq!((asked.load(Ordering::SeqCst), handled.load(Ordering::SeqCst)), (0, 0));
    if let (Some(before), Some(after)) = (at_first, resident()) {
        println!("{before} KiB resident before, {after} KiB after");
        assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    }
    // The credential whose key id they had has all of its budget.
    let answer = app.oneshot(Raw::order().signed().request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["ratelimit"], "\"signed-60\";r=1;t=30");
}
