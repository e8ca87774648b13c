//! Several servers and the Redis that they share: a request is handled once.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign_store::{Redis, RedisNonces, Window, system_time};
use harness::{NOW, Raw, RedisServer, Service, TestClock, exchange, key};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

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
    server.tell(&["HSET", "{countersign:default}:mark", "low_water", "0"]);
    server
}

async fn service(server: &RedisServer) -> Service {
    let clock = TestClock::default();
    // Redis has the time of this machine, and no other.
    clock.set(i64::try_from(system_time().unix() - NOW.unix()).unwrap());
    Service::start_by(clock, Service::keys(), nonces(server).await, |verifier| verifier).await
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

/// A service as a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(redis: &RedisServer, file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shared_service"))
            .arg(redis.url())
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The status, or nothing if the server ends before it answers.
async fn send(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(bytes).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    std::str::from_utf8(&head).unwrap().strip_prefix("HTTP/1.1 ")?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_servers_again_and_again_under_load_handles_nothing_twice() {
    let server = settled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handled");
    let mut processes = [Process::start(&server, &file), Process::start(&server, &file)];
    let mut captured: Vec<Vec<u8>> = Vec::new();
    let mut answered = 0;
    for round in 0..8 {
        let mut load = JoinSet::new();
        for number in 0..200 {
            let order = format!("order {round}-{number}");
            let request = Raw::order().body(order.as_bytes()).set("Content-Type", "text/plain");
            let bytes = request.signed_by(key(1), system_time()).bytes();
            captured.push(bytes.clone());
            let address = processes[number % 2].address;
            load.spawn(async move { send(address, &bytes).await });
        }
        // In the midst of it, when some have been answered.
        for _ in 0..50 {
            answered += usize::from(load.join_next().await.unwrap().unwrap() == Some(201));
        }
        processes[round % 2].kill();
        while let Some(status) = load.join_next().await {
            answered += usize::from(status.unwrap() == Some(201));
        }
        processes[round % 2] = Process::start(&server, &file);
        // An attacker has seen everything, and sends it again to both.
        for (number, bytes) in captured.iter().enumerate() {
            let status = send(processes[number % 2].address, bytes).await;
            answered += usize::from(status == Some(201));
            assert_eq!(send(processes[(number + 1) % 2].address, bytes).await, Some(401));
        }
    }
    let handled = fs::read_to_string(&file).unwrap();
    let handled: Vec<_> = handled.lines().collect();
    let different: HashSet<_> = handled.iter().collect();
    assert_eq!(different.len(), handled.len(), "something was handled twice");
    assert!(answered <= handled.len() && handled.len() <= captured.len());
    assert!(handled.len() > 1000, "{}", handled.len());
}
