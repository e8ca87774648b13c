//! Several servers and the Redis that they share: a request is handled once. And the PostgreSQL that they share: a change reaches
//! all of them.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use countersign::{KeyId, ProvenKey, Window};
use countersign_store::{NewCredential, Redis, RedisNonces, Registry, system_time};
use harness::{Postgres, Process, Raw, RedisServer, Service, exchange, key};
use tokio::{sync::Semaphore, task::JoinSet};

fn at(server: &RedisServer) -> Redis {
    Redis::single(&server.url()).unwrap().timeout(Duration::from_secs(20))
}

async fn nonces(server: &RedisServer) -> RedisNonces {
    RedisNonces::connect(at(server), Window::default(), system_time()).await.unwrap()
}

/// A Redis whose guard was made long ago, so that it accepts at once.
async fn settled() -> RedisServer {
    let server = RedisServer::start();
    drop(nonces(&server).await);
    server.settle("default");
    server
}

async fn service(server: &RedisServer) -> Service {
    // Redis has the time of this machine, and no other.
    Service::start_with(Service::keys(), nonces(server).await, |verifier| {
        verifier.clock(system_time)
    })
    .await
}

fn signed() -> Vec<u8> {
    Raw::order().signed_by(key(1), system_time()).bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_to_two_servers_at_once_is_handled_by_one() {
    let server = settled().await;
    let services = [service(&server).await, service(&server).await];
    let addresses = services.each_ref().map(|service| service.address);
    let mut requests = JoinSet::new();
    let few = std::sync::Arc::new(Semaphore::new(32));
    for _ in 0..2000 {
        let few = std::sync::Arc::clone(&few);
        requests.spawn(async move {
            let _one_of_few = few.acquire().await.unwrap();
            let bytes = signed();
            let sent = addresses.map(|address| exchange(address, &bytes));
            let [one, other] = sent;
            let (one, other) = tokio::join!(one, other);
            let mut answers = [one, other].map(|answer| (answer.status, answer.code()));
            answers.sort();
            answers
        });
    }
    while let Some(answers) = requests.join_next().await {
        let expected = [(201, String::new()), (401, "signature-replayed".into())];
        assert_eq!(answers.unwrap(), expected);
    }
    assert_eq!(services[0].handled() + services[1].handled(), 2000);
    assert!(services.iter().all(|service| service.handled() > 100), "one of them had it all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_copies_at_once_one_is_handled() {
    let server = settled().await;
    let services = [service(&server).await, service(&server).await];
    for _ in 0..20 {
        let before: usize = services.iter().map(Service::handled).sum();
        let (bytes, mut copies) = (signed(), JoinSet::new());
        for copy in 0..64 {
            let (bytes, address) = (bytes.clone(), services[copy % 2].address);
            copies.spawn(async move { exchange(address, &bytes).await.status });
        }
        let mut statuses = copies.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses[0], 201);
        assert!(statuses[1..].iter().all(|&status| status == 401), "{statuses:?}");
        assert_eq!(services.iter().map(Service::handled).sum::<usize>(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_writes_are_refused_and_reads_go_on() {
    let mut server = settled().await;
    let service = service(&server).await;
    assert_eq!(exchange(service.address, &signed()).await.status, 201);
    server.kill();
    let refused = exchange(service.address, &signed()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "replay-store-unavailable"));
    assert!(refused.get("retry-after").is_some());
    let read = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    assert_eq!(exchange(service.address, &read.bytes()).await.status, 200);
    assert_eq!(service.handled(), 2, "one write, one read");
}

fn start(redis: &RedisServer, file: &Path) -> Process {
    let arguments = [OsString::from(redis.url()), file.into()];
    Process::start(env!("CARGO_BIN_EXE_shared_service"), arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_servers_again_and_again_under_load_handles_nothing_twice() {
    let server = settled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handled");
    let mut processes = [start(&server, &file), start(&server, &file)];
    let mut captured: Vec<Vec<u8>> = Vec::new();
    let mut answered = 0;
    for round in 0..8 {
        let mut load = JoinSet::new();
        for number in 0..200 {
            let order = format!("order {round}-{number}");
            let request = Raw::order().body(order.as_bytes()).set("Content-Type", "text/plain");
            let bytes = request.signed_by(key(1), system_time()).bytes();
            captured.push(bytes.clone());
            load.spawn(processes[number % 2].send(bytes));
        }
        // In the midst of it, when some have been answered.
        for _ in 0..50 {
            answered += usize::from(load.join_next().await.unwrap().unwrap() == Some(201));
        }
        processes[round % 2].kill();
        while let Some(status) = load.join_next().await {
            answered += usize::from(status.unwrap() == Some(201));
        }
        processes[round % 2] = start(&server, &file);
        // An attacker has seen everything, and sends it again to both.
        for (number, bytes) in captured.iter().enumerate() {
            let status = processes[number % 2].send(bytes.clone()).await;
            answered += usize::from(status == Some(201));
            assert_eq!(processes[(number + 1) % 2].send(bytes.clone()).await, Some(401));
        }
    }
    let handled = fs::read_to_string(&file).unwrap();
    let handled: Vec<_> = handled.lines().collect();
    let different: HashSet<_> = handled.iter().collect();
    assert_eq!(different.len(), handled.len(), "something was handled twice");
    assert!(answered <= handled.len() && handled.len() <= captured.len());
    assert!(handled.len() > 1000, "{}", handled.len());
}

/// Ends a test that waits for something that never happens. Far longer than a busy machine takes: the time itself is measured by
/// `countersign-bench -- registry`, and printed here.
const NEVER: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_at_one_server_is_effective_at_the_other() {
    let (postgres, redis) = (Postgres::start(), settled().await);
    let registries = [
        Registry::open_or_create(&postgres.url()).await.unwrap(),
        Registry::open(&postgres.url()).await.unwrap(),
    ];
    let [first, second] = &registries;
    first.add_application("shop", "test", system_time()).await.unwrap();
    let proven = ProvenKey::from(&key(1));
    first.add_credential(NewCredential::new("shop", "", &proven), system_time()).await.unwrap();
    let start = async |registry: &Registry| {
        Service::start_with(registry.clone(), nonces(&redis).await, |verifier| {
            verifier.clock(system_time)
        })
        .await
    };
    let services = [start(first).await, start(second).await];
    for service in &services {
        assert_eq!(exchange(service.address, &signed()).await.status, 201);
    }
    let [here, there] = services.each_ref().map(|service| service.address);
    first.revoke(&KeyId::Publishable(key(1).publishable_key()), None, system_time()).await.unwrap();
    let revoked = Instant::now();
    assert_eq!(exchange(here, &signed()).await.code(), "key-revoked");
    let mut last_accepted = None;
    let refused = loop {
        let response = exchange(there, &signed()).await;
        match response.status {
            201 => last_accepted = Some(revoked.elapsed()),
            _ => break response.code(),
        }
        assert!(revoked.elapsed() < NEVER, "it is still accepted");
    };
    assert_eq!(refused, "key-revoked");
    println!("the last request was accepted {last_accepted:?} after the revocation");
}
