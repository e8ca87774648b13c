//! Keys that are unknown, revoked, of another kind or in the wrong place, and signatures that are not theirs.

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::PrivateKey;

use super::{
    Expect, Group,
    made::{self, Draft, Signing, extra, invalid, malformed, refused, row},
    valid::{HMAC, KEYED, ORDER, READ, SECRET, keyed, ours},
};
use crate::{Raw, key};

/// The order of Ed25519's group, in little endian (RFC 8032 §5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn group() -> Group {
    let cases = places().into_iter().chain(states()).chain(algorithms()).chain(bits());
    made::group("keys", cases.chain(publishable()))
}

fn order_by(signing: &Signing, number: u8) -> Raw {
    signing.sign_by(Raw::order(), key(number))
}

/// With the bytes of its signature changed.
fn resigned(request: Raw, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Raw {
    let own = request.get("Signature");
    let text = own.trim_start_matches("sig=:").trim_end_matches(':');
    let signature = change(STANDARD.decode(text).unwrap());
    request.set("Signature", format!("sig=:{}:", STANDARD.encode(signature)))
}

fn flipped(request: Raw) -> Raw {
    resigned(request, |mut signature| {
        signature[0] ^= 1;
        signature
    })
}

/// An order with another R in its signature.
fn with_r(signing: &Signing, r: [u8; 32]) -> Raw {
    resigned(signing.order(), |signature| [&r[..], &signature[32..]].concat())
}

fn with_s_plus_l(signature: Vec<u8>) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let mut carry = 0;
    let added = s.iter().zip(L).map(|(s, l)| {
        let sum = u16::from(*s).saturating_add(u16::from(l)).saturating_add(carry);
        carry = sum >> 8;
        u8::try_from(sum & 0xff).unwrap()
    });
    [r, &added.collect::<Vec<_>>()].concat()
}

fn signature_required() -> Expect {
    refused(401, "signature-required")
}

fn places() -> Vec<Draft> {
    let ambiguous = || refused(400, "ambiguous-credential");
    vec![
        row(
            5,
            "a wrong signature beside a publishable key",
            READ,
            |s| flipped(s.read()).add("X-Api-Key", ours(1)),
            invalid(),
        ),
        row(
            6,
            "a publishable key in the query of a signed read",
            READ,
            |s| s.sign(Raw::read().target(&format!("/v1/orders?api_key={}", ours(1)))),
            ambiguous(),
        ),
        row(
            6,
            "a publishable key in the query of a signed read, its name percent-encoded",
            READ,
            |s| s.sign(Raw::read().target(&format!("/v1/orders?api%5Fkey={}", ours(5)))),
            ambiguous(),
        ),
        row(
            6,
            "another publishable key beside a signature",
            READ,
            |s| s.read().add("X-Api-Key", ours(5)),
            ambiguous(),
        ),
        row(
            6,
            "two publishable keys",
            KEYED,
            |_| keyed(&ours(1)).add("X-Api-Key", ours(5)),
            ambiguous(),
        ),
    ]
}

fn states() -> Vec<Draft> {
    let state =
        |name, number, code| row(61, name, ORDER, move |s| order_by(s, number), refused(401, code));
    let wrong =
        |name, number| row(60, name, ORDER, move |s| flipped(order_by(s, number)), invalid());
    vec![
        row(60, "a key that is not registered", ORDER, |s| order_by(s, 9), invalid()),
        wrong("a revoked key and a wrong signature", 2),
        wrong("an expired key and a wrong signature", 3),
        wrong("a quarantined key and a wrong signature", 4),
        state("a revoked key", 2, "key-revoked"),
        state("an expired key", 3, "key-expired"),
        state("a quarantined key", 4, "key-quarantined"),
    ]
}

fn algorithms() -> Vec<Draft> {
    let alg = |name, alg: &'static str| {
        row(64, name, ORDER, move |s| s.replaced("alg=\"ed25519\"", alg), invalid())
    };
    let unknown = |name, alg: &'static str| {
        row(114, name, ORDER, move |s| s.replaced("alg=\"ed25519\"", alg), malformed())
    };
    // Whoever takes the public key for a secret accepts what anybody can sign.
    let confused = |name, alg: &'static str| {
        let request = move |s: &Signing| {
            let public = key(1).publishable_key();
            let hmac = PrivateKey::hmac_sha256([1; 16], public.as_bytes()).unwrap();
            s.sign_by(Raw::order(), hmac).change("Signature-Input", |own| {
                let (head, _) = own.split_once(";keyid=").unwrap();
                format!("{head};keyid=\"{public}\"{alg};tag=\"countersign\"")
            })
        };
        row(65, name, ORDER, request, invalid())
    };
    vec![
        alg("alg of another kind", "alg=\"hmac-sha256\""),
        unknown("alg in upper case", "alg=\"ED25519\""),
        unknown("alg \"none\"", "alg=\"none\""),
        unknown("alg \"EdDSA\", as JOSE has it", "alg=\"EdDSA\""),
        unknown("alg that is no String", "alg=ed25519"),
        row(
            64,
            "alg of another kind with an HMAC key",
            HMAC,
            |s| {
                let change = |own: &str| own.replace("hmac-sha256", "ed25519");
                s.sign_by(Raw::order(), super::hmac()).change("Signature-Input", change)
            },
            invalid(),
        ),
        confused("HMAC with the public key, alg says so", ";alg=\"hmac-sha256\""),
        confused("HMAC with the public key, no alg", ""),
        confused("HMAC with the public key, alg says ed25519", ";alg=\"ed25519\""),
    ]
}

fn bits() -> Vec<Draft> {
    let sized = |length: usize| {
        row(
            66,
            &format!("a signature of {length} bytes"),
            ORDER,
            move |s| resigned(s.order(), |_| vec![7; length]),
            invalid(),
        )
    };
    let identity = |last: u8| {
        let mut r = [0; 32];
        (r[0], r[31]) = (1, last);
        r
    };
    let mut above_p = [0xff; 32];
    (above_p[0], above_p[31]) = (0xee, 0x7f);
    vec![
        row(62, "one bit of the signature flipped", ORDER, |s| flipped(s.order()), invalid()),
        row(
            62,
            "one bit of the HMAC flipped",
            HMAC,
            |s| flipped(s.sign_by(Raw::order(), super::hmac())),
            invalid(),
        ),
        sized(0),
        sized(31),
        sized(63),
        sized(65),
        sized(128),
        row(67, "S + L in place of S", ORDER, |s| resigned(s.order(), with_s_plus_l), invalid()),
        row(67, "an R of small order", ORDER, move |s| with_r(s, identity(0)), invalid()),
        row(
            67,
            "an R with a sign that it has not",
            ORDER,
            move |s| with_r(s, identity(0x80)),
            invalid(),
        ),
        row(67, "an R above the field's prime", ORDER, move |s| with_r(s, above_p), invalid()),
    ]
}

fn publishable() -> Vec<Draft> {
    let read = |name, from, key: fn() -> String, code| {
        extra(name, from, move |_| keyed(&key()), refused(401, code))
    };
    vec![
        row(
            69,
            "an order with a publishable key alone",
            ORDER,
            |_| Raw::order().add("X-Api-Key", ours(1)),
            signature_required(),
        ),
        row(
            69,
            "a publishable key on a route for signers",
            SECRET,
            |_| keyed(&ours(1)).target("/v1/secret"),
            signature_required(),
        ),
        row(
            69,
            "a publishable key on a route that was raised to signed",
            SECRET,
            |_| keyed(&ours(1)).target("/v1/raised"),
            signature_required(),
        ),
        row(
            69,
            "a publishable key, and a method that writes",
            KEYED,
            |_| keyed(&ours(1)).target("/v1/plain").method("DELETE"),
            signature_required(),
        ),
        row(
            69,
            "a publishable key, a method that writes, and no such route",
            KEYED,
            |_| keyed(&ours(1)).target("/nowhere").method("POST"),
            signature_required(),
        ),
        row(
            70,
            "a private key in the place of a publishable one",
            KEYED,
            |_| keyed(&key(1).expose_text()),
            signature_required(),
        ),
        extra("a read without a key", KEYED, |_| Raw::read(), refused(401, "key-required")),
        extra(
            "a read without a key, and no such route",
            KEYED,
            |_| Raw::read().target("/nowhere"),
            refused(401, "key-required"),
        ),
        read("a publishable key that is not registered", KEYED, || ours(9), "key-unknown"),
        read("what is no publishable key at all", KEYED, || "pk_1".to_owned(), "key-unknown"),
        read("a publishable key that was revoked", KEYED, || ours(2), "key-unknown"),
        read("a publishable key that has expired", KEYED, || ours(3), "key-unknown"),
    ]
}
