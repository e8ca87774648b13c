//! The same requests over HTTP/2: one base, one verdict.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use harness::{NOW, Raw, Service, key};
use http::{Request, StatusCode, Version};

/// Sends a request over HTTP/2, with an `:authority` and trailers as given.
async fn send(
    service: &Service,
    raw: &Raw,
    uri: &str,
    trailer: Option<(&'static str, &'static str)>,
) -> (StatusCode, String) {
    let stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request =
        Request::builder().method(raw.method.as_str()).uri(uri).version(Version::HTTP_2);
    for (name, value) in &raw.headers {
        request = request.header(name.to_ascii_lowercase(), value.as_slice());
    }
    let mut client = client.ready().await.unwrap();
    let ends = raw.body.is_empty() && trailer.is_none();
    let (response, mut body) = client.send_request(request.body(()).unwrap(), ends).unwrap();
    if !ends {
        body.send_data(Bytes::from(raw.body.clone()), trailer.is_none()).unwrap();
    }
    if let Some((name, value)) = trailer {
        let mut trailers = http::HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        body.send_trailers(trailers).unwrap();
    }
    let response = response.await.unwrap();
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        text.extend(piece.unwrap());
    }
    let problem: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_head_names_one_of_our_hosts_whatever_it_says_of_the_scheme() {
    let service = Service::start().await;
    let order = || Raw::order().signed_by(key(1), NOW);
    let hostless = || order().without("Host");
    let created = (StatusCode::CREATED, String::new());
    let ours = "https://api.example.com/v1/orders?expand=customer";
    assert_eq!(send(&service, &hostless(), ours, None).await, created);
    assert_eq!(send(&service, &order(), ours, None).await, created, "both, agreeing");
    let http = ours.replace("https", "http");
    assert_eq!(send(&service, &hostless(), &http, None).await, created, "row 59 of the catalogue");
    let cases = [
        ("44", order(), ours.replace("api.", "evil."), 400, "bad-request"),
        ("44, reversed", order().set("Host", "evil.test"), ours.to_owned(), 400, "bad-request"),
        ("45", hostless(), ours.replace("api.", "c."), 421, "misdirected"),
        ("46", hostless(), ours.replace("api.", "b."), 401, "signature-invalid"),
        ("51", hostless(), "https://api.example.com/v1/orders?".to_owned(), 400, "bad-target"),
        (
            "93",
            Raw::read().signed().without("Host").body(b"x"),
            ours.to_owned(),
            401,
            "signature-policy",
        ),
        ("94", hostless().body(b"other"), ours.to_owned(), 400, "digest-mismatch"),
    ];
    for (row, raw, uri, status, code) in cases {
        let before = service.handled();
        let answer = send(&service, &raw, &uri, None).await;
        assert_eq!(answer, (StatusCode::from_u16(status).unwrap(), code.to_owned()), "row {row}");
        assert_eq!(service.handled(), before, "row {row}");
    }
    let key = key(1).publishable_key().to_string();
    let read = Raw::read().without("Host").add("X-Api-Key", key).add("Content-Length", "0");
    let plain = "https://api.example.com/v1/plain";
    let signature = Some(("signature", "sig=:AA==:"));
    let unread = send(&service, &read, plain, signature).await;
    assert_eq!(unread, (StatusCode::OK, String::new()), "trailers that nobody gets to see");
    let trailed = send(&service, &hostless(), ours, signature).await;
    assert_eq!(trailed, (StatusCode::BAD_REQUEST, "bad-request".to_owned()), "row 101");
}

#[tokio::test]
async fn a_request_captured_over_one_version_is_a_replay_over_the_other() {
    let service = Service::start().await;
    let order = Raw::order().signed();
    assert_eq!(harness::exchange(service.address, &order.bytes()).await.status, 201);
    let (order, ours) =
        (order.without("Host"), "https://api.example.com/v1/orders?expand=customer");
    let again = send(&service, &order, ours, None).await;
    assert_eq!(again, (StatusCode::UNAUTHORIZED, "signature-replayed".to_owned()));
}

#[tokio::test]
async fn outer_white_space_in_a_field_is_not_signed() {
    let service = Service::start().await;
    let order = Raw::order().target("/v1/plain").signed().without("Host");
    let padded = order.set("Content-Type", "  application/json ");
    let ours = "https://api.example.com/v1/plain";
    assert_eq!(send(&service, &padded, ours, None).await.0, StatusCode::OK);
}
