//! Bad inputs that take several requests, or several servers; [the corpus](corpus/README.md) has the rest.

#![expect(clippy::arithmetic_side_effects, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use countersign_test::FailingStore;
use harness::{Answer, NOW, Raw, Service, exchange, exchange_http2, key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn ours(number: u8) -> String {
    key(number).publishable_key().to_string()
}

async fn refused(service: &Service, row: &str, request: &[u8], status: u16, code: &str) -> Answer {
    let before = service.handled();
    let answer = exchange(service.address, request).await;
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "row {row}: {answer:?}");
    assert_eq!(service.handled(), before, "row {row}: a handler ran");
    answer
}

async fn accepted(service: &Service, row: &str, request: &Raw, status: u16) -> Answer {
    let before = service.handled();
    let answer = exchange(service.address, &request.bytes()).await;
    assert_eq!(answer.status, status, "row {row}: {answer:?}");
    assert_eq!(service.handled(), before + 1, "row {row}");
    answer
}

#[tokio::test]
async fn an_unknown_key_and_a_signature_that_does_not_hold_are_one_answer() {
    let service = Service::start().await;
    let shape = async |request: Raw| {
        let answer = exchange(service.address, &request.bytes()).await;
        let mut problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        problem["request_id"] = serde_json::Value::Null;
        let names: Vec<_> = answer.headers.into_iter().map(|(name, _)| name).collect();
        (answer.status, names, problem)
    };
    let unknown = shape(Raw::order().signed_by(key(9), NOW)).await;
    assert_eq!(unknown.2["code"], "signature-invalid");
    for number in [1, 2, 3, 4] {
        assert_eq!(shape(Raw::order().forged(&key(number))).await, unknown, "key {number}");
    }
}

#[tokio::test]
async fn a_request_captured_over_one_version_is_a_replay_over_the_other() {
    let service = Service::start().await;
    let again = async |replay: Answer| {
        assert_eq!((replay.status, replay.code().as_str()), (401, "signature-replayed"));
        assert_eq!(service.handled(), 1);
    };
    let order = Raw::order().signed();
    accepted(&service, "82", &order, 201).await;
    again(exchange_http2(service.address, &order.http2()).await.answer()).await;
    service.handled.store(0, std::sync::atomic::Ordering::SeqCst);
    let order = Raw::order().signed();
    assert_eq!(exchange_http2(service.address, &order.http2()).await.answer().status, 201);
    again(exchange(service.address, &order.bytes()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_copies_at_once_one_is_handled() {
    let service = Service::start().await;
    for _ in 0..5 {
        let before = service.handled();
        let bytes: Arc<[u8]> = Raw::order().signed().bytes().into();
        let copies: Vec<_> = (0..64)
            .map(|_| {
                let (bytes, address) = (Arc::clone(&bytes), service.address);
                tokio::spawn(async move { exchange(address, &bytes).await })
            })
            .collect();
        let mut created = 0;
        for copy in copies {
            let answer = copy.await.unwrap();
            match answer.status {
                201 => created += 1,
                _ => assert_eq!(answer.code(), "signature-replayed"),
            }
        }
        assert_eq!((created, service.handled() - before), (1, 1), "row 83");
    }
}

#[tokio::test]
async fn whoever_is_refused_while_sending_can_go_on_and_read_why() {
    let service = Service::start().await;
    let forged = Raw::order().body(&[b'a'; 48 << 10]).signed_by(key(9), NOW).bytes();
    let (first, rest) = forged.split_at(8 << 10);
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    let mut answer = vec![0];
    stream.read_exact(&mut answer).await.unwrap();
    // It is refused, and the connection about to be closed: were it reset now, the answer could be lost.
    for piece in rest.chunks(4 << 10) {
        stream.write_all(piece).await.unwrap();
    }
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("signature-invalid"),
        "{answer}"
    );
    assert_eq!(service.handled(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_answer_lets_nothing_through() {
    let deaf = Service::start_with(Service::keys(), FailingStore, |verifier| verifier).await;
    let order = Raw::order().signed().bytes();
    let answer = refused(&deaf, "106", &order, 503, "replay-store-unavailable").await;
    assert!(answer.get("retry-after").is_some());
    let read = Raw::read().add("X-Api-Key", ours(1));
    accepted(&deaf, "107", &read, 200).await;
    let blind = Service::start_with(FailingStore, Service::nonces(), |verifier| verifier).await;
    for request in [order, read.bytes()] {
        let answer = refused(&blind, "108", &request, 503, "registry-unavailable").await;
        assert!(answer.get("retry-after").is_some());
    }
}

#[tokio::test]
async fn an_open_path_is_open_and_nothing_beside_it() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.insecure_open_path("/health")
    })
    .await;
    let health = |method: &str| Raw::read().target("/health").method(method);
    assert_eq!(exchange(service.address, &health("GET").bytes()).await.status, 200);
    assert_eq!(exchange(service.address, &health("POST").body(b"x").bytes()).await.status, 200);
    let beside = ["/health/", "/Health", "/api/health", "/healthy"];
    for target in beside {
        let request = Raw::read().target(target).bytes();
        refused(&service, target, &request, 401, "key-required").await;
    }
    let foreign = health("GET").add("X-Api-Key", "of another service").add("Cookie", "api_key=1");
    assert_eq!(exchange(service.address, &foreign.bytes()).await.status, 200);
    let bad = health("GET").signed_by(key(9), NOW).bytes();
    refused(&service, "a bad signature", &bad, 401, "signature-invalid").await;
}

#[tokio::test]
async fn the_limit_on_content_is_the_verifiers_own() {
    let service = Service::start_with(Service::keys(), Service::nonces(), |verifier| {
        verifier.content_limit(4 << 20)
    })
    .await;
    let order = |length: usize| {
        Raw::order().body(format!("\"{}\"", "a".repeat(length - 2)).as_bytes()).signed()
    };
    accepted(&service, "98, at the limit", &order(4 << 20), 201).await;
    // It is refused for what it announces, long before it is sent.
    let begun = &order((4 << 20) + 1).bytes()[..4096];
    refused(&service, "98", begun, 413, "content-too-large").await;
}
