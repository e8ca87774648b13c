//! `[proxies]`: another proxy in front of `countersign serve` tells who the client is, and for which host it asks.

use crate::{
    desk::Desk,
    served::{ORIGIN, Response, Served, desk_with_shop, signed_order},
    upstream::Upstream,
};

/// A service behind a proxy, with these settings.
fn served(desk: &Desk, upstream: &Upstream, settings: &str) -> Served {
    let text = format!(
        "origins = [\"{ORIGIN}\"]\n{settings}\n[upstream]\nservers = [\"{}\"]\n",
        upstream.url()
    );
    desk.write("serve.toml", text, 0o600);
    Served::with(desk, &["--config", "serve.toml"])
}

/// A read as a proxy hands it on, which has the host in a field of its own.
fn read(served: &Served, key: &str, fields: &str) -> Response {
    served.send(format!(
        "GET /v1/orders HTTP/1.1\r\nHost: internal:8080\r\nX-Api-Key: {key}\r\nConnection: close\r\n{fields}\r\n"
    ))
}

#[test]
fn a_trusted_proxy_tells_the_address_of_the_client() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let served = served(&desk, &upstream, "[proxies]\naddresses = [\"127.0.0.1/32\"]\n");
    // The client wrote the first address, and the proxy the second.
    let fields = "X-Forwarded-For: 192.0.2.1, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(served.read(&key, fields).status, 200);
    let received = upstream.next();
    assert_eq!(received.values("x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(received.values("x-real-ip"), ["203.0.113.9"]);
    let forwarded = "for=203.0.113.9;host=\"api.example.com\";proto=https";
    assert_eq!(received.values("forwarded"), [forwarded]);
}

#[test]
fn a_peer_that_is_no_listed_proxy_is_the_client_whatever_it_says() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let settings = "[proxies]\naddresses = [\"192.0.2.7/32\"]\nhost = \"forwarded\"\n";
    let served = served(&desk, &upstream, settings);
    let fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: api.example.com\r\n";
    assert_eq!(served.read(&key, fields).status, 200);
    assert_eq!(upstream.next().values("x-forwarded-for"), ["127.0.0.1"]);
    let refused = read(&served, &key, fields);
    assert_eq!((refused.status, refused.code()), (421, "misdirected"), "{refused:?}");
    assert!(upstream.has_nothing());
}

#[test]
fn a_trusted_proxy_tells_the_host_that_was_asked_for() {
    for (fields, settings) in [
        (
            "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-Proto: https\r\n",
            "",
        ),
        (
            "Forwarded: for=203.0.113.9;host=api.example.com;proto=https\r\n",
            "fields = \"forwarded\"\n",
        ),
    ] {
        let (desk, key) = desk_with_shop();
        let upstream = Upstream::well();
        let proxies = "[proxies]\naddresses = [\"127.0.0.0/8\"]\nhost = \"forwarded\"\n";
        let served = served(&desk, &upstream, &format!("{proxies}{settings}"));
        let response = read(&served, &key, fields);
        assert_eq!(response.status, 200, "{response:?}");
        let received = upstream.next();
        assert_eq!(received.values("host"), ["api.example.com"]);
        assert_eq!(received.values("x-forwarded-host"), ["api.example.com"]);
        assert_eq!(received.values("x-forwarded-for"), ["203.0.113.9"]);
        let order = signed_order(&desk, "a book", fields);
        let (head, host) = ("HTTP/1.1\r\nHost: api.example.com", "HTTP/1.1\r\nHost: internal:8080");
        assert!(order.contains(head), "{order}");
        let order = order.replace(head, host);
        assert_eq!(served.send(&order).status, 200);
        assert_eq!(upstream.next().values("host"), ["api.example.com"]);
        // The host is taken from the field alone.
        let other = fields.replace("api.example.com", "other.example.com");
        let refused = served.read(&key, &other);
        assert_eq!((refused.status, refused.code()), (421, "misdirected"), "{refused:?}");
        let refused = served.read(&key, "X-Forwarded-For: 203.0.113.9\r\n");
        assert_ne!(refused.status, 200, "{refused:?}");
        assert!(upstream.has_nothing());
    }
}

#[test]
fn each_client_behind_a_proxy_has_its_own_limit() {
    let (desk, key) = desk_with_shop();
    let upstream = Upstream::well();
    let settings =
        "[proxies]\naddresses = [\"127.0.0.1/32\"]\n[limits]\nunsigned_by_address = [\"1/1h\"]\n";
    let served = served(&desk, &upstream, settings);
    for (client, status) in [("203.0.113.1", 200), ("203.0.113.1", 429), ("203.0.113.2", 200)] {
        let response = served.read(&key, &format!("X-Forwarded-For: {client}\r\n"));
        assert_eq!(response.status, status, "{client}: {response:?}");
    }
}
