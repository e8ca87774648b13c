//! A large upload in a process of its own, so that its memory is that of nothing else.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_client::Client;
use countersign_server::{Route, Routes, Signed};
use harness::{NOW, PARAMS, Raw, Service, TestClock, key, verifier};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A gibibyte of which nobody ever holds more than some pieces.
#[tokio::test]
async fn an_upload_of_a_gibibyte_takes_no_memory_of_its_size() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 1 << 10;
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let (counted, largest) = (Arc::clone(&handled), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&largest);
    let handler = async move |Signed(_, mut body): Signed<Body>| {
        let mut length = 0_u64;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return (StatusCode::BAD_REQUEST, String::new()) };
            length += frame.into_data().unwrap().len() as u64;
            seen.fetch_max(resident(), Ordering::SeqCst);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        (StatusCode::CREATED, length.to_string())
    };
    let routes =
        Routes::new().route(Route::signed(Method::POST, "/v1/orders").streamed(1 << 30), handler);
    let app = verifier(&clock, Service::keys(), Service::nonces()).protect(routes).unwrap();
    let service = Service::serve(clock, app, handled).await;

    let piece = vec![b'a'; PIECE];
    let mut digest = Sha256::new();
    for _ in 0..PIECES {
        digest.update(&piece);
    }
    let digest = STANDARD.encode(digest.finalize());
    let order = Raw::order()
        .set("Content-Digest", format!("sha-256=:{digest}:"))
        .add("Content-Length", (PIECE * PIECES).to_string());
    let covered = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;
    let head = order.body(b"").signed_as(&format!("({covered}){}", PARAMS));
    let before = resident();
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(&head.head_bytes()).await.unwrap();
    stream.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    for _ in 0..PIECES {
        stream.write_all(&piece).await.unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
    assert!(text.ends_with(&(PIECE * PIECES).to_string()), "{text}");
    assert_eq!(service.handled(), 1);
    let grown = largest.load(Ordering::SeqCst).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more were held");
}

/// Two gibibytes by the client: it reads the file for its digest, and again while it sends.
#[tokio::test]
async fn a_client_sends_a_file_of_two_gibibytes_in_flat_memory() {
    const HOST: &str = "api.example.com";
    const LENGTH: u64 = 2 << 30;
    let (clock, handled) = (TestClock::default(), Arc::new(AtomicUsize::new(0)));
    let largest = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&largest);
    let handler = async move |Signed(_, mut body): Signed<Body>| {
        let mut length = 0_u64;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return (StatusCode::BAD_REQUEST, String::new()) };
            length += frame.into_data().unwrap().len() as u64;
            seen.fetch_max(resident(), Ordering::SeqCst);
        }
        (StatusCode::CREATED, length.to_string())
    };
    let routes =
        Routes::new().route(Route::signed(Method::PUT, "/files/a").streamed(LENGTH), handler);
    let app = verifier(&clock, Service::keys(), Service::nonces()).protect(routes).unwrap();
    let service = Service::serve(clock, app, handled).await;

    // Without blocks on the disk: its zeros are made while they are read.
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LENGTH).unwrap();
    let http = reqwest::Client::builder().resolve(HOST, service.address).no_proxy();
    let client = Client::new(key(1)).unwrap().http(http).unwrap().clock(|| NOW);
    let before = resident();
    let upload = client.put(format!("http://{HOST}/files/a")).file(file.path());
    let response = upload.timeout(Duration::from_secs(300)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.text().await.unwrap(), LENGTH.to_string());
    let grown = largest.load(Ordering::SeqCst).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more were held");
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
