//! Signatures that hold, and prove too little.

use super::{
    Group,
    made::{self, Draft, accepted, policy, refused, row},
    valid::{KEYED, ORDER, READ, keyed, ours},
};
use crate::Raw;

pub(super) fn group() -> Group {
    made::group("policy", coverage().into_iter().chain(parameters()).chain(digests()))
}

fn uncovered(number: u16, name: &'static str) -> Draft {
    row(number, &format!("{name} is not covered"), ORDER, move |s| s.uncovered(name), policy())
}

fn coverage() -> Vec<Draft> {
    let overridden = |name: &'static str| {
        row(
            33,
            &format!("{name} on an unsigned read"),
            KEYED,
            move |_| keyed(&ours(1)).add(name, "DELETE"),
            refused(401, "signature-required"),
        )
    };
    let added = |number, name: &'static str, value: &'static str| {
        let case = format!("{name} is not covered");
        row(number, &case, ORDER, move |s| s.order().add(name, value), policy())
    };
    let digest = "\"content-digest\"";
    vec![
        row(
            20,
            "nothing is covered",
            ORDER,
            |s| Raw::order().without("Content-Type").signed_as(&s.params_of("")),
            policy(),
        ),
        uncovered(21, "@method"),
        uncovered(22, "@authority"),
        uncovered(23, "@path"),
        uncovered(24, "@query"),
        row(
            25,
            "a parameter of the query is covered, and not the query",
            ORDER,
            |s| s.replaced("\"@query\"", "\"@query-param\";name=\"expand\""),
            policy(),
        ),
        uncovered(26, "content-digest"),
        row(
            28,
            "a member of Content-Digest is covered, and not the field",
            ORDER,
            move |s| s.replaced(digest, "\"content-digest\";key=\"sha-256\""),
            policy(),
        ),
        row(
            28,
            "Content-Digest is covered as bytes (bs)",
            ORDER,
            move |s| s.replaced(digest, "\"content-digest\";bs"),
            policy(),
        ),
        uncovered(30, "content-type"),
        row(
            33,
            "X-HTTP-Method-Override is not covered",
            ORDER,
            |s| s.order().add("X-HTTP-Method-Override", "DELETE"),
            policy(),
        ),
        overridden("X-HTTP-Method-Override"),
        overridden("X-HTTP-Method"),
        overridden("X-Method-Override"),
        added(33, "X-HTTP-Method", "DELETE"),
        added(33, "X-Method-Override", "DELETE"),
        added(109, "If-Match", "\"1\""),
        added(109, "If-Unmodified-Since", "Sun, 23 Nov 2025 12:13:20 GMT"),
        added(109, "If-None-Match", "*"),
        added(109, "If-Modified-Since", "Sun, 23 Nov 2025 12:13:20 GMT"),
        added(109, "If-Range", "\"1\""),
        added(109, "Range", "bytes=0-0"),
        added(109, "Content-Range", "bytes 0-0/15"),
        row(
            109,
            "If-None-Match that was signed",
            ORDER,
            |s| s.sign(Raw::order().add("If-None-Match", "*")),
            accepted(201),
        ),
        row(
            109,
            "If-None-Match on a read, not covered",
            READ,
            |s| s.read().add("If-None-Match", "*"),
            accepted(200),
        ),
        added(110, "X-Original-URL", "/admin"),
        added(110, "X-Rewrite-URL", "/admin"),
        row(
            110,
            "X-Original-URL on a read, not covered",
            READ,
            |s| s.read().add("X-Original-URL", "/admin"),
            policy(),
        ),
        row(
            34,
            "Idempotency-Key is not covered",
            ORDER,
            |s| s.order().add("Idempotency-Key", "1"),
            policy(),
        ),
    ]
}

fn parameters() -> Vec<Draft> {
    let lacking = |name: &'static str| {
        row(37, &format!("no {name}"), ORDER, move |s| s.lacking(name), policy())
    };
    vec![
        lacking("created"),
        lacking("keyid"),
        lacking("nonce"),
        lacking("tag"),
        row(
            38,
            "another tag",
            ORDER,
            |s| s.replaced("\"countersign\"", "\"other\""),
            refused(401, "signature-required"),
        ),
    ]
}

fn digests() -> Vec<Draft> {
    let digested = |name, digest: &'static str| {
        row(
            95,
            name,
            ORDER,
            move |s| Raw::order().add("Content-Digest", digest).signed_as(&s.params()),
            refused(400, "digest-unsupported"),
        )
    };
    vec![
        row(
            27,
            "content without Content-Digest",
            ORDER,
            |s| s.order().without("Content-Digest"),
            policy(),
        ),
        row(93, "content in a signed read", READ, |s| s.read().body(b"more"), policy()),
        row(
            93,
            "content in an unsigned read",
            KEYED,
            |_| keyed(&ours(1)).body(b"more"),
            refused(401, "signature-required"),
        ),
        digested("an MD5 digest alone", "md5=:Sd/dVLAcvNLSq16eXua5uQ==:"),
        digested("a SHA-1 digest alone", "sha=:AAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
        digested("a digest of an unknown kind alone", "crc=:AAAA:"),
        row(
            95,
            "a digest of an unknown kind beside SHA-256",
            ORDER,
            |s| {
                let digest = countersign::ContentDigest::sha256(&Raw::order().body);
                let order = Raw::order().add("Content-Digest", format!("{digest}, crc=:AAAA:"));
                order.signed_as(&s.params())
            },
            accepted(201),
        ),
    ]
}
