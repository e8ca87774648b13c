//! Targets, hosts, methods and fields that can be read in two ways, or that nobody should send.

use super::{
    Expect, Group,
    made::{
        self, Draft, Sent, Signing, accepted, bytes, extra, http1, http2, invalid, not_http,
        refused, row, unanswered,
    },
    valid::{KEYED, ORDER, READ, keyed, ours},
};
use crate::{Http2, Raw};

pub(super) fn group() -> Group {
    let cases = hosts().into_iter().chain(other_hosts()).chain(targets());
    made::group("heads", cases.chain(methods()).chain(fields()))
}

fn bad_request() -> Expect {
    refused(400, "bad-request")
}

fn misdirected() -> Expect {
    refused(421, "misdirected")
}

/// An order that is sent to this host.
fn to(signing: &Signing, host: &str) -> Raw {
    signing.order().set("Host", host)
}

/// An order whose fields in HTTP/2 are changed.
fn order_http2(signing: &Signing, change: impl FnOnce(&mut Http2)) -> Sent {
    http2(signing.order(), change)
}

/// An order with the whole URI as its target.
fn absolute(signing: &Signing, origin: &str) -> Raw {
    let signed = signing.order();
    signed.clone().target(&format!("{origin}{}", signed.target))
}

fn hosts() -> Vec<Draft> {
    vec![
        row(
            40,
            "Host twice",
            ORDER,
            |s| http1(s.order().add("Host", "api.example.com")),
            bad_request(),
        ),
        row(40, "two hosts", ORDER, |s| http1(s.order().add("Host", "evil.test")), bad_request()),
        row(
            44,
            "a host beside :authority that agrees",
            ORDER,
            |s| order_http2(s, |h| h.add("host", "api.example.com")),
            accepted(201),
        ),
        row(
            44,
            "a host beside :authority that is another",
            ORDER,
            |s| order_http2(s, |h| h.add("host", "evil.test")),
            bad_request(),
        ),
        row(
            44,
            "an :authority beside the host that is another",
            ORDER,
            |s| {
                order_http2(s, |h| {
                    h.set(":authority", "evil.test");
                    h.add("host", "api.example.com");
                })
            },
            bad_request(),
        ),
        row(
            44,
            "two hosts beside :authority",
            ORDER,
            |s| {
                order_http2(s, |h| {
                    h.add("host", "api.example.com");
                    h.add("host", "evil.test");
                })
            },
            bad_request(),
        ),
        row(41, "no Host", ORDER, |s| s.order().without("Host"), bad_request()),
        row(
            41,
            "no Host, and a whole URI as the target",
            ORDER,
            |s| http1(absolute(s, "https://api.example.com").without("Host")),
            bad_request(),
        ),
        row(
            41,
            "a host in place of :authority",
            ORDER,
            |s| {
                order_http2(s, |h| {
                    h.remove(":authority");
                    h.add("host", "api.example.com");
                })
            },
            accepted(201),
        ),
        row(42, "a Host with a user", ORDER, |s| to(s, "user@api.example.com"), bad_request()),
        row(42, "a Host with a path", ORDER, |s| http1(to(s, "api.example.com/x")), bad_request()),
        row(42, "a Host with a query", ORDER, |s| http1(to(s, "api.example.com?x")), bad_request()),
        row(42, "a Host with a space", ORDER, |s| http1(to(s, "api.example.com x")), bad_request()),
        row(42, "an empty Host", ORDER, |s| http1(to(s, "")), bad_request()),
        row(
            42,
            "an :authority with a path",
            ORDER,
            |s| authority(s, "api.example.com/x"),
            unanswered(),
        ),
        row(
            42,
            "an :authority with a query",
            ORDER,
            |s| authority(s, "api.example.com?x"),
            unanswered(),
        ),
        row(
            42,
            "an :authority with a space",
            ORDER,
            |s| authority(s, "api.example.com x"),
            unanswered(),
        ),
        row(42, "an empty :authority", ORDER, |s| authority(s, ""), unanswered()),
        row(
            43,
            "a whole URI as the target, of another host",
            ORDER,
            |s| http1(absolute(s, "https://evil.test")),
            bad_request(),
        ),
        row(
            43,
            "a whole URI as the target, of this host",
            ORDER,
            |s| http1(absolute(s, "https://api.example.com")),
            accepted(201),
        ),
    ]
}

fn authority(signing: &Signing, authority: &str) -> Sent {
    order_http2(signing, |h| h.set(":authority", authority))
}

fn other_hosts() -> Vec<Draft> {
    vec![
        row(45, "a host that is not served", ORDER, |s| to(s, "evil.test"), misdirected()),
        row(
            45,
            "a host with a dot at its end",
            ORDER,
            |s| to(s, "api.example.com."),
            misdirected(),
        ),
        row(
            45,
            "an unsigned read of a host that is not served",
            KEYED,
            |_| keyed(&ours(1)).set("Host", "evil.test"),
            misdirected(),
        ),
        row(46, "another host that is served", ORDER, |s| to(s, "b.example.com"), invalid()),
        row(
            47,
            "the host in upper case, with the port of https",
            ORDER,
            |s| to(s, "API.EXAMPLE.com:443"),
            accepted(201),
        ),
        row(
            48,
            "the host with the port of http",
            ORDER,
            |s| to(s, "api.example.com:80"),
            misdirected(),
        ),
        row(
            49,
            "X-Forwarded-Host from a stranger, the host not served",
            ORDER,
            |s| to(s, "evil.test").add("X-Forwarded-Host", "api.example.com"),
            misdirected(),
        ),
        row(
            49,
            "X-Forwarded-Host from a stranger, the host served",
            ORDER,
            |s| s.order().add("X-Forwarded-Host", "evil.test"),
            accepted(201),
        ),
        extra(
            "the scheme http",
            ORDER,
            |s| order_http2(s, |h| h.set(":scheme", "http")),
            accepted(201),
        ),
        row(
            113,
            "the scheme ftp",
            ORDER,
            |s| order_http2(s, |h| h.set(":scheme", "ftp")),
            misdirected(),
        ),
        row(
            113,
            "a whole URI as the target, under ftp",
            ORDER,
            |s| http1(absolute(s, "ftp://api.example.com")),
            misdirected(),
        ),
        extra(
            "a whole URI as the target, under http, as behind a proxy that ended TLS",
            ORDER,
            |s| http1(absolute(s, "http://api.example.com")),
            accepted(201),
        ),
    ]
}

fn targets() -> Vec<Draft> {
    let bad = || refused(400, "bad-target");
    // The target changes after signing, so that only the target is to blame.
    let sent = |number, name, target: &'static str| {
        row(number, name, READ, move |s| s.read().target(target), bad())
    };
    let root = |name, target: &'static str, from_now: Expect| {
        let request = move |s: &Signing| http1(s.sign(Raw::read().target("/")).target(target));
        row(89, name, READ, request, from_now)
    };
    vec![
        sent(51, "a question mark with no query behind it", "/v1/orders?"),
        row(
            52,
            "more in the query than was signed",
            READ,
            |s| s.sign(Raw::read().target("/p?a=1")).target("/p?a=1&a=2"),
            invalid(),
        ),
        sent(53, "dot segments", "/a/../b"),
        sent(53, "dot segments, percent-encoded", "/a/%2e%2e/b"),
        sent(53, "a single dot as a segment", "/a/./b"),
        sent(54, "two slashes at the start", "//a"),
        sent(54, "two slashes", "/a//b"),
        sent(55, "a slash, percent-encoded", "/a%2Fb"),
        sent(55, "a backslash, percent-encoded", "/a%5Cb"),
        sent(55, "a backslash", "/a\\b"),
        sent(55, "NUL, percent-encoded", "/a%00"),
        sent(56, "a percent sign before what is no number", "/%zz"),
        sent(56, "a percent sign before one digit", "/a%1"),
        sent(56, "bytes that are not ASCII in the path", "/\u{e9}"),
        row(
            57,
            "the case of a percent-encoded byte changed",
            READ,
            |s| s.sign(Raw::read().target("/v1/a%2db")).target("/v1/a%2Db"),
            invalid(),
        ),
        row(
            58,
            "a route nested under /api",
            ORDER,
            |s| s.sign(Raw::order().target("/api/v1/orders?a=1")),
            accepted(201),
        ),
        row(
            58,
            "a route nested under /api/deep",
            ORDER,
            |s| s.sign(Raw::order().target("/api/deep/v1/orders?a=1")),
            accepted(201),
        ),
        row(
            59,
            "a target of 9,000 bytes",
            READ,
            |s| s.read().target(&format!("/{}", "a".repeat(8999))),
            refused(414, "uri-too-long"),
        ),
        row(89, "OPTIONS of *", READ, |s| s.read().method("OPTIONS").target("*"), bad()),
        root("a host as the target", "api.example.com", bad()),
        root("a host and a port as the target", "api.example.com:443", bad()),
        row(
            89,
            "a :path without a slash",
            READ,
            |s| http2(s.read(), |h| h.set(":path", "v1/orders")),
            unanswered(),
        ),
        row(89, "an empty :path", READ, |s| http2(s.read(), |h| h.set(":path", "")), unanswered()),
        row(
            89,
            "a whole URI as the :path",
            READ,
            |s| http2(s.read(), |h| h.set(":path", "https://api.example.com/v1/orders")),
            unanswered(),
        ),
    ]
}

fn methods() -> Vec<Draft> {
    let not_allowed = || refused(405, "method-not-allowed");
    vec![
        row(
            50,
            "HTTP/1.0",
            ORDER,
            |s| http1(Raw { version: "HTTP/1.0", ..s.order() }),
            refused(505, "bad-request"),
        ),
        row(
            88,
            "CONNECT",
            READ,
            |s| {
                let connect = s.read().method("CONNECT").target("api.example.com:443");
                http1(connect.clone()).with_http2(&connect, |h| {
                    h.remove(":scheme");
                    h.remove(":path");
                })
            },
            not_allowed(),
        ),
        row(
            88,
            "extended CONNECT (RFC 8441)",
            READ,
            |s| {
                http2(s.read().method("CONNECT"), |h| {
                    h.headers.insert(1, (":protocol".into(), "websocket".into()));
                })
            },
            unanswered(),
        ),
        row(88, "TRACE", READ, |s| s.read().method("TRACE"), not_allowed()),
        row(90, "a method in lower case", READ, |s| s.read().method("get"), not_allowed()),
        row(90, "an unknown method", READ, |s| s.read().method("FROB"), not_allowed()),
        row(
            91,
            "an upgrade to WebSocket",
            ORDER,
            |s| http1(s.order().add("Connection", "upgrade").add("Upgrade", "websocket")),
            accepted(201),
        ),
        row(
            91,
            "an upgrade to HTTP/2",
            ORDER,
            |s| {
                let upgrade = s.order().add("Connection", "upgrade, http2-settings");
                http1(upgrade.add("Upgrade", "h2c").add("HTTP2-Settings", "AAAA"))
            },
            accepted(201),
        ),
        row(
            91,
            "a field for one hop alone",
            ORDER,
            |s| order_http2(s, |h| h.add("upgrade", "websocket")),
            unanswered(),
        ),
    ]
}

fn fields() -> Vec<Draft> {
    let line = |name, line: &'static str| {
        let request = move |s: &Signing| {
            let mut sent = s.read().head_bytes();
            sent.extend(format!("{line}\r\n\r\n").into_bytes());
            bytes(sent)
        };
        (name, request)
    };
    let (name, request) = line("a field with the name of a derived component", "@method: GET");
    let named = row(39, name, READ, request, not_http(400));
    let extras = [
        line("a field that goes on in the next line", "X-A: b\r\n c"),
        line("a space before the colon of a field", "X-A : b"),
        line("NUL in a field", "X-A: \0"),
        line("a bare CR in a field", "X-A: b\rc"),
    ];
    let http2_field = |name: &'static str, value: &'static str| {
        move |s: &Signing| order_http2(s, |h| h.add(name, value))
    };
    let mut cases = vec![
        named,
        row(
            39,
            "a field with the name of a derived component, in HTTP/2",
            ORDER,
            http2_field("@method", "GET"),
            unanswered(),
        ),
        extra("a field name in upper case", ORDER, http2_field("X-A", "b"), unanswered()),
        extra("LF in a field, in HTTP/2", ORDER, http2_field("x-a", "b\nc"), unanswered()),
        extra("NUL in a field, in HTTP/2", ORDER, http2_field("x-a", "\0"), unanswered()),
        extra("a pseudo-header field twice", ORDER, http2_field(":path", "/"), unanswered()),
        extra(
            "white space around a field",
            ORDER,
            |s| {
                let padded = "  application/json ";
                let order = s.sign(Raw::order());
                Sent::from(order.clone().set("Content-Type", padded)).with_http2(&order, |h| {
                    h.set("content-type", padded);
                })
            },
            accepted(201),
        ),
    ];
    cases.extend(extras.map(|(name, request)| extra(name, READ, request, not_http(400))));
    cases
}
