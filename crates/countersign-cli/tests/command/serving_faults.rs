//! `countersign serve` in front of services that fail, and those that lead a proxy astray.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::mpsc::channel,
};

use crate::{
    served::{ORIGIN, Served, desk_with_shop, response, signed_order},
    upstream::{PATIENCE, Upstream},
};

const TIMES: &str = "[upstream]\nconnect_timeout = \"300ms\"\nresponse_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n";

#[test]
fn a_service_that_is_gone_is_told_from_one_that_breaks_off() {
    let (desk, key) = desk_with_shop();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}");
    let served = Served::with(&desk, &["--upstream", &gone, "--origin", ORIGIN]);
    let response = served.read(&key, "");
    assert_eq!((response.status, response.code()), (502, "upstream-unreachable"), "{response:?}");
    assert!(response.is_refusal() && response.text.contains("application/problem+json"));
    assert!(served.ask("/metrics").text.contains("upstream-unreachable"));

    let answers: [&[u8]; 10] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nwell!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nwell!",
        b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nwell",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nwell\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    ];
    for bytes in answers {
        let upstream = Upstream::bytes(bytes);
        let (desk, key) = desk_with_shop();
        let served = Served::start(&desk, &upstream);
        let response = served.read(&key, "");
        let answer = String::from_utf8_lossy(bytes);
        assert_eq!(
            (response.status, response.code()),
            (502, "upstream-broken"),
            "{answer}: {response:?}"
        );
    }
}

#[test]
fn a_response_that_breaks_off_is_no_whole_response() {
    for (bytes, chunked) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell"[..], false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\nxyz\r\n", true),
    ] {
        let upstream = Upstream::bytes(bytes);
        let (desk, key) = desk_with_shop();
        let served = Served::start(&desk, &upstream);
        let response = served.read(&key, "");
        // It has no end: fewer bytes than announced, or no last chunk.
        assert!(matches!(response.status, 200 | 502 | 0), "{response:?}");
        assert!(!chunked || !response.text.ends_with("0\r\n\r\n"), "{response:?}");
        assert!(!response.text.contains("\r\n\r\nwell\r\n\r\n"), "{response:?}");
    }
}

#[test]
fn a_second_response_behind_the_first_is_nobodys() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::start(|stream, _| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwellHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        )
    });
    let served = Served::start(&desk, &upstream);
    for _ in 0..3 {
        let response = served.read(&key, "");
        assert!(!response.text.contains("evil"), "{response:?}");
        assert!(matches!(response.status, 200 | 502), "{response:?}");
    }
}

#[test]
fn a_service_that_does_not_respond_is_given_up() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::start(|stream, _| {
        // Until the proxy gives up.
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    desk.write("serve.toml", TIMES, 0o600);
    let url = upstream.url();
    let served =
        Served::with(&desk, &["--config", "serve.toml", "--upstream", &url, "--origin", ORIGIN]);
    let response = served.read(&key, "");
    assert_eq!((response.status, response.code()), (504, "upstream-timeout"), "{response:?}");
    let response = served.send(signed_order(&desk, "a book", ""));
    assert_eq!((response.status, response.code()), (504, "upstream-timeout"), "{response:?}");
}

#[test]
fn a_service_that_pauses_for_too_long_is_broken_off() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::start(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    desk.write("serve.toml", TIMES, 0o600);
    let url = upstream.url();
    let served =
        Served::with(&desk, &["--config", "serve.toml", "--upstream", &url, "--origin", ORIGIN]);
    let response = served.read(&key, "");
    assert!(response.status == 200 && response.content() == "well", "{response:?}");
}

#[test]
fn a_service_may_respond_before_it_has_read_the_content() {
    let (desk, _) = desk_with_shop();
    let upstream = early();
    let served = Served::start(&desk, &upstream);
    let content = "x".repeat(100_000);
    let order = signed_order(&desk, &content, "");
    let answer = served.send(&order);
    assert_eq!((answer.status, answer.content()), (200, "well"), "{answer:?}");
    // The response waits for the verdict, whoever reads the content.
    let order = signed_order(&desk, &content, "");
    let forged = format!("{}y", order.strip_suffix('x').unwrap());
    let answer = served.send(forged);
    assert_eq!((answer.status, answer.code()), (400, "digest-mismatch"), "{answer:?}");
}

#[test]
fn a_service_that_responds_early_and_reads_nothing_is_given_up() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::stuck(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
    desk.write("serve.toml", TIMES, 0o600);
    let url = upstream.url();
    let served =
        Served::with(&desk, &["--config", "serve.toml", "--upstream", &url, "--origin", ORIGIN]);
    // More than fits into the buffers on the way.
    desk.write("large.txt", "x".repeat(20 << 20), 0o600);
    let answer = served.send(signed_order(&desk, "@large.txt", ""));
    assert_eq!((answer.status, answer.content()), (200, "well"), "{answer:?}");
}

#[test]
fn a_service_that_spoke_http_1_0_gets_content_without_a_length() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::start(|stream, _| {
        stream.write_all(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nwell",
        )
    });
    let served = Served::start(&desk, &upstream);
    assert_eq!(served.read(&key, "").content(), "well");
    upstream.next();
    let chunked = signed_order(&desk, "a book", "Transfer-Encoding: chunked\r\n");
    let chunked = chunked.replace("Content-Length: 6\r\n", "");
    let chunked = chunked.replace("\r\n\r\na book", "\r\n\r\n6\r\na book\r\n0\r\n\r\n");
    let answer = served.send(chunked);
    assert_eq!((answer.status, answer.content()), (200, "well"), "{answer:?}");
    assert_eq!(upstream.next().content, b"a book");
}

#[test]
fn a_service_gets_all_of_the_content_even_if_the_client_does_not_read_the_early_response() {
    const MANY: usize = 32 << 20;
    let (desk, _) = desk_with_shop();
    let (upstream, full) = Upstream::talkative(MANY);
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, &"x".repeat(100_000), "");
    let (before, after) = order.as_bytes().split_at(order.len() - 50_000);
    let mut stream = served.connect();
    stream.write_all(before).unwrap();
    full.recv_timeout(PATIENCE).unwrap();
    stream.write_all(after).unwrap();
    let received = upstream.next();
    assert!(received.whole && received.content.len() == 100_000, "{}", received.content.len());
    assert_eq!(response(&mut stream).content().matches('y').count(), MANY);
}

/// Responds as soon as it has the head, and reads nothing of the content.
fn early() -> Upstream {
    Upstream::early(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell")
}

#[test]
fn requests_go_to_the_servers_that_can_be_reached() {
    let (desk, key) = desk_with_shop();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gone, well) = (format!("http://{gone}"), Upstream::well());
    let url = well.url();
    let arguments = ["--upstream", &gone, "--upstream", &url, "--origin", ORIGIN];
    let served = Served::with(&desk, &arguments);
    for _ in 0..6 {
        assert_eq!(served.read(&key, "").status, 200);
    }
    assert_eq!(well.all().len(), 6);
}

#[test]
fn a_server_that_fails_its_health_check_gets_no_requests() {
    let (desk, key) = desk_with_shop();
    let ill = Upstream::start(|stream, received| {
        let status = if received.line().contains("/health") { "503 Ill" } else { "200 OK" };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nill").as_bytes())
    });
    desk.write(
        "serve.toml",
        format!(
            "origins = [\"{ORIGIN}\"]\n[upstream]\nservers = [\"{}\"]\nhealth_path = \"/health\"\nhealth_interval = \"50ms\"\n",
            ill.url()
        ),
        0o600,
    );
    let served = Served::with(&desk, &["--config", "serve.toml"]);
    while served.ask("/readyz").status == 200 {}
    let response = served.read(&key, "");
    assert_eq!((response.status, response.code()), (503, "upstream-unavailable"), "{response:?}");
    assert!(response.text.to_lowercase().contains("retry-after: 1"), "{response:?}");
}

#[test]
fn a_connection_that_the_service_closed_meanwhile_costs_no_request() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::start(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let served = Served::start(&desk, &upstream);
    for _ in 0..20 {
        let response = served.read(&key, "");
        assert_eq!(response.status, 200, "{response:?}");
    }
}

#[test]
fn a_connection_that_the_service_closed_is_closed_without_another_request() {
    let (desk, key) = desk_with_shop();
    let (closed, closes) = channel();
    let upstream = Upstream::serve(move |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")?;
        stream.shutdown(Shutdown::Write)?;
        closed.send(stream.read(&mut [0])?).unwrap();
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let served = Served::start(&desk, &upstream);
    assert_eq!(served.read(&key, "").status, 200);
    assert_eq!(closes.recv_timeout(PATIENCE), Ok(0));
}

#[test]
fn a_client_that_goes_away_ends_its_request_alone() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let order = signed_order(&desk, &"x".repeat(1_000), "");
    let mut stream = served.connect();
    stream.write_all(&order.as_bytes()[..order.len() - 500]).unwrap();
    drop(stream);
    assert_eq!(served.read(&key, "").status, 200);
    // A kept connection serves several requests.
    let mut stream = served.connect();
    for last in [false, true] {
        let connection = if last { "close" } else { "keep-alive" };
        let request = format!(
            "GET /v1/orders HTTP/1.1\r\nHost: api.example.com\r\nX-Api-Key: {key}\r\nConnection: {connection}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
    }
    let both = response(&mut stream);
    assert_eq!(both.text.matches("HTTP/1.1 200").count(), 2, "{both:?}");
}
