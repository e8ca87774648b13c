//! `countersign serve` in front of a service, with real processes and sockets: what passes, and what the service sees of it.

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, signed_order},
    upstream::Upstream,
};

#[test]
fn a_read_with_a_publishable_key_gets_through_and_one_without_does_not() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let response = served.read(&key, "");
    assert_eq!((response.status, response.content()), (200, "well"), "{response:?}");
    assert!(response.text.to_lowercase().contains("x-own: 1"), "{response:?}");
    let received = upstream.next();
    assert_eq!(received.line(), "GET /v1/orders HTTP/1.1");
    assert_eq!(received.values("countersign-application"), ["shop"]);
    assert_eq!(received.values("countersign-credential"), [&key]);
    assert_eq!(received.values("countersign-access"), ["publishable"]);
    assert_eq!(received.values("countersign-scopes"), ["orders:read orders:write"]);
    assert_eq!(received.values("host"), ["api.example.com"]);
    let unsigned = "GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let response = served.send(unsigned);
    assert_eq!((response.status, response.code()), (401, "key-required"), "{response:?}");
    assert!(upstream.has_nothing());
}

#[test]
fn a_signed_write_gets_through_once() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, "a book", "");
    let response = served.send(&order);
    assert_eq!((response.status, response.content()), (200, "well"), "{response:?}");
    let received = upstream.next();
    assert_eq!(received.line(), "POST /v1/orders?expand=customer HTTP/1.1");
    assert_eq!((received.content.as_slice(), received.whole), (&b"a book"[..], true));
    assert_eq!(received.values("content-length"), ["6"]);
    assert_eq!(received.values("countersign-access"), ["signed"]);
    assert_eq!(received.values("countersign-credential"), [&key]);
    let response = served.send(&order);
    assert_eq!((response.status, response.code()), (401, "signature-replayed"), "{response:?}");
    let unsigned = "POST /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let response = served.send(unsigned);
    assert_eq!((response.status, response.code()), (401, "signature-required"), "{response:?}");
    assert!(response.is_refusal() && upstream.has_nothing());
}

#[test]
fn forged_content_never_comes_to_its_end() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, "a book", "").replace("\r\n\r\na book", "\r\n\r\na bomb");
    let response = served.send(order);
    assert_eq!((response.status, response.code()), (400, "digest-mismatch"), "{response:?}");
    let chunked = signed_order(&desk, "a book", "Transfer-Encoding: chunked\r\n");
    let chunked = chunked.replace("Content-Length: 6\r\n", "").replace("content-length: 6\r\n", "");
    let forged = chunked.replace("\r\n\r\na book", "\r\n\r\n2\r\na \r\n4\r\nbomb\r\n0\r\n\r\n");
    let response = served.send(forged);
    assert_eq!((response.status, response.code()), (400, "digest-mismatch"), "{response:?}");
    assert!(upstream.all().iter().all(|received| !received.whole));
}

#[test]
fn chunked_content_gets_through_as_it_was_signed() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let chunked = signed_order(&desk, "a book", "Transfer-Encoding: chunked\r\n");
    let chunked = chunked.replace("Content-Length: 6\r\n", "").replace("content-length: 6\r\n", "");
    let chunked = chunked.replace("\r\n\r\na book", "\r\n\r\n2\r\na \r\n4\r\nbook\r\n0\r\n\r\n");
    let response = served.send(chunked);
    assert_eq!(response.status, 200, "{response:?}");
    let received = upstream.next();
    assert_eq!((received.content.as_slice(), received.whole), (&b"a book"[..], true));
    assert_eq!(received.values("transfer-encoding"), ["chunked"]);
    assert!(received.values("content-length").is_empty());
}

#[test]
fn what_a_client_forges_does_not_reach_the_service() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let forged = [
        "Countersign-Application: other",
        "countersign_application: other",
        "COUNTERSIGN.SCOPES: all",
        "Countersign-Anything: x",
        "X-Forwarded-For: 192.0.2.1",
        "X_Forwarded_For: 192.0.2.1",
        "X-Forwarded-Uri: /other",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "X-Original-URL: /admin",
        "Connection: X-Own, Countersign-Access, Host",
        "X-Own: 1",
        "TE: trailers",
        "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic x",
        "Upgrade: h2c",
    ];
    let fields: String = forged.iter().map(|field| format!("{field}\r\n")).collect();
    let response = served.read(&key, &fields);
    assert_eq!(response.status, 200, "{response:?}");
    let received = upstream.next();
    for (name, values) in [
        ("countersign-application", vec!["shop"]),
        ("countersign-credential", vec![&key]),
        ("countersign-access", vec!["publishable"]),
        ("countersign-scopes", vec!["orders:read orders:write"]),
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-host", vec!["api.example.com"]),
        ("x-forwarded-proto", vec!["https"]),
        ("x-real-ip", vec!["127.0.0.1"]),
        ("forwarded", vec!["for=127.0.0.1;host=\"api.example.com\";proto=https"]),
        ("via", vec!["1.1 countersign"]),
        ("host", vec!["api.example.com"]),
    ] {
        assert_eq!(received.values(name), values, "{name}");
    }
    for name in [
        "countersign_application",
        "countersign.scopes",
        "countersign-anything",
        "x_forwarded_for",
        "x-forwarded-uri",
        "x-original-url",
        "x-own",
        "te",
        "keep-alive",
        "proxy-authorization",
        "upgrade",
        "connection",
    ] {
        assert!(received.values(name).is_empty(), "{name}: {received:?}");
    }
}

#[test]
fn the_target_is_handed_on_byte_by_byte() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    for target in ["/a%20b/%7Ec;d=1/~?x=%7e&y&&z=a/../b+%20", "/?", "/A%c3%a4?q=%C3%A4"] {
        let target = target.trim_end_matches('?');
        let response = served.send(format!(
            "GET {target} HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(response.status, 200, "{target}: {response:?}");
        assert_eq!(upstream.next().line(), format!("GET {target} HTTP/1.1"));
    }
    let absolute = format!(
        "GET https://api.example.com/b HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(served.send(absolute).status, 200);
    assert_eq!(upstream.next().line(), "GET /b HTTP/1.1");
    for target in ["/a/../b", "/a//b", "/a%2Fb", "/./", "/a\\b"] {
        let response = served.send(format!(
            "GET {target} HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(response.status, 400, "{target}: {response:?}");
    }
    assert!(upstream.has_nothing());
}

#[test]
fn upgrades_and_expectations_are_refused_by_name() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let websocket = format!(
        "GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let response = served.send(websocket);
    assert_eq!((response.status, response.code()), (501, "upgrade-unsupported"), "{response:?}");
    let response = served.read(&key, "Expect: x\r\n");
    assert_eq!((response.status, response.code()), (417, "expectation-failed"), "{response:?}");
    assert!(response.is_refusal(), "{response:?}");
    let order = signed_order(&desk, "a book", "Expect: 100-continue\r\n");
    let response = served.send(order);
    assert!(response.text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{response:?}");
    assert!(upstream.next().values("expect").is_empty());
}

#[test]
fn operators_have_a_listener_of_their_own() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    served.read(&key, "");
    assert_eq!(served.ask("/healthz").content(), "well\n");
    assert_eq!(served.ask("/readyz").content(), "ready\n");
    let metrics = served.ask("/metrics");
    assert!(metrics.text.contains("countersign_requests_total"), "{metrics:?}");
    assert_eq!(served.ask("/v1/orders").status, 404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n");
        assert_eq!(served.send(request).status, 401, "{path}");
    }
}

#[test]
fn a_service_says_what_it_lacks() {
    let desk = Desk::new();
    let serve = |arguments: &[&str]| desk.run([&["serve"], arguments].concat());
    serve(&[]).failed(1, "no origin is given", "--origin https://api.example.com");
    serve(&["--origin", ORIGIN]).failed(
        1,
        "no upstream is named",
        "--upstream http://127.0.0.1:3000",
    );
    serve(&["--origin", ORIGIN, "--upstream", "http://127.0.0.1:1", "--tls-key", "k.pem"]).failed(
        1,
        "a certificate is of use only with its key",
        "--tls-certificate",
    );
    let with_tls = ["--origin", ORIGIN, "--upstream", "https://127.0.0.1:1"];
    serve(&[&["config", "nginx"], &with_tls[..]].concat()).failed(
        1,
        "printed for http:// servers alone",
        "add TLS to the printed configuration",
    );
    serve(&["--config", "missing.toml"]).failed(
        1,
        "missing.toml: it cannot be read",
        "--config FILE",
    );
}
