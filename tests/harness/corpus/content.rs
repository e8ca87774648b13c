//! Content that is not what was signed, or does not arrive.

use countersign::ContentDigest;

use super::{
    Expect, Group,
    made::{self, Draft, Sent, Signing, accepted, bytes, extra, refused, row, unanswered},
    settings::{IMPATIENT, SMALL},
    valid::{KEYED, ORDER, keyed, ours},
};
use crate::{End, Raw};

const ZERO_CHUNK: &str = "0\r\n\r\n";

pub(super) fn group() -> Group {
    made::group("content", digests().into_iter().chain(lengths()).chain(trailers()))
}

fn mismatch() -> Expect {
    refused(400, "digest-mismatch")
}

/// In one chunk, with what comes behind it.
fn chunked(request: Raw, end: &str) -> Vec<u8> {
    let body = request.body.clone();
    let mut bytes = request.add("Transfer-Encoding", "chunked").head_bytes();
    bytes.extend(format!("\r\n{:x}\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes.extend(b"\r\n");
    bytes.extend(end.as_bytes());
    bytes
}

/// The last byte is announced and not sent.
fn cut_short(signing: &Signing, end: End) -> Sent {
    let order = signing.order();
    let mut sent = order.bytes();
    sent.pop();
    bytes(sent).with_http2(&order, |request| {
        request.body.pop();
        request.end = end;
    })
}

fn digests() -> Vec<Draft> {
    let body =
        |name, body: &'static [u8]| row(94, name, ORDER, move |s| s.order().body(body), mismatch());
    let both = |name, sha256: &'static [u8], sha512: &'static [u8]| {
        let request = move |s: &Signing| {
            let digests = (ContentDigest::sha256(sha256), ContentDigest::sha512(sha512));
            let order = Raw::order().add("Content-Digest", format!("{}, {}", digests.0, digests.1));
            order.signed_as(&s.params())
        };
        row(96, name, ORDER, request, mismatch())
    };
    let own = br#"{"item":"book"}"#;
    vec![
        body("a letter of the content changed", br#"{"item":"bool"}"#),
        body("a space behind the content", br#"{"item":"book"} "#),
        body("the content without its last byte", br#"{"item":"book""#),
        row(
            94,
            "another digest than the content has",
            ORDER,
            |s| {
                let digest = ContentDigest::sha256(b"other").to_string();
                Raw::order().add("Content-Digest", digest).signed_as(&s.params())
            },
            mismatch(),
        ),
        both("SHA-256 is right, SHA-512 is wrong", own, b"other"),
        both("SHA-512 is right, SHA-256 is wrong", b"other", own),
        row(94, "the nonce is spent all the same", ORDER, |s| s.order().body(b"other"), mismatch())
            .again(0, refused(401, "signature-replayed")),
    ]
}

fn lengths() -> Vec<Draft> {
    let too_large = || refused(413, "content-too-large");
    let sized =
        |length: usize| Raw::order().body(format!("\"{}\"", "a".repeat(length - 2)).as_bytes());
    vec![
        row(
            98,
            "content of 1,000 bytes, where they are allowed",
            ORDER,
            move |s| s.sign(sized(1000)),
            accepted(201),
        )
        .on(SMALL),
        row(98, "content of 1,001 bytes", ORDER, move |s| s.sign(sized(1001)), too_large())
            .on(SMALL),
        row(
            98,
            "a chunk of 1,001 bytes",
            ORDER,
            move |s| bytes(chunked(s.sign(sized(1001)), ZERO_CHUNK)),
            too_large(),
        )
        .on(SMALL),
        row(
            98,
            "content-length says 1,001",
            ORDER,
            move |s| {
                let order = s.sign(sized(1001)).add("Content-Length", "1001");
                let mut sent = order.bytes();
                sent.truncate(sent.len() - 1000);
                bytes(sent).with_http2(&order, |request| {
                    request.body.truncate(1);
                    request.end = End::Open;
                })
            },
            too_large(),
        )
        .on(SMALL),
        row(
            99,
            "the last byte of the content does not come",
            ORDER,
            |s| cut_short(s, End::Open),
            refused(408, "request-timeout"),
        )
        .on(IMPATIENT),
        row(
            100,
            "an order in one chunk",
            ORDER,
            |s| bytes(chunked(s.order(), ZERO_CHUNK)),
            accepted(201),
        ),
        row(
            100,
            "a chunk whose length is no number",
            ORDER,
            |s| bytes(chunked(s.order(), "zz\r\n")),
            refused(400, "bad-request"),
        ),
        row(
            100,
            "the stream is reset within the content",
            ORDER,
            |s| cut_short(s, End::Reset).only_http2(),
            unanswered(),
        )
        .then(0, |s| Sent::from(s.order()).only_http2(), accepted(201)),
        row(
            100,
            "content-length says more than comes",
            ORDER,
            |s| made::http2(s.order().add("Content-Length", "16"), |_| ()),
            unanswered(),
        ),
        extra(
            "a good request behind one that is refused",
            ORDER,
            |s| {
                let good = s.order().bytes();
                bytes([Raw::order().body(&good).bytes(), good].concat())
            },
            refused(401, "signature-required"),
        ),
    ]
}

fn trailers() -> Vec<Draft> {
    let trailed = |name: &str, expect: Expect| {
        let field = name.to_owned();
        let request = move |s: &Signing| {
            let order = s.order();
            let trailer = format!("0\r\n{field}: x=1\r\n\r\n");
            bytes(chunked(order.clone(), &trailer)).with_http2(&order, |request| {
                let name = field.to_ascii_lowercase();
                request.trailers.push((name.as_str().into(), "x=1".into()));
            })
        };
        row(101, &format!("{name} in the trailers"), ORDER, request, expect)
    };
    let bad_request = || refused(400, "bad-request");
    vec![
        trailed("X-Other", accepted(201)),
        trailed("Signature", bad_request()),
        trailed("Signature-Input", bad_request()),
        trailed("Content-Digest", bad_request()),
        row(
            101,
            "Signature in the trailers of an unsigned read, which nobody sees",
            KEYED,
            |_| {
                made::http2(keyed(&ours(1)).add("Content-Length", "0"), |request| {
                    request.trailers.push(("signature".into(), "sig=:AA==:".into()));
                })
            },
            accepted(200),
        ),
    ]
}
