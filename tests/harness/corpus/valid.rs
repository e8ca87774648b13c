//! What passes, and what the other cases are one change away from.

use super::{
    Group, hmac,
    made::{self, Draft, accepted, valid},
};
use crate::{Raw, key};

pub(super) const ORDER: &str = "a signed order";
pub(super) const READ: &str = "a signed read";
pub(super) const SECRET: &str = "a signed read of what only signers may see";
pub(super) const KEYED: &str = "a read with a publishable key";
pub(super) const HMAC: &str = "an order signed with HMAC";

/// The publishable key of a number.
pub(super) fn ours(number: u8) -> String {
    key(number).publishable_key().to_string()
}

/// A read with a publishable key in its header.
pub(super) fn keyed(key: &str) -> Raw {
    Raw::read().add("X-Api-Key", key)
}

pub(super) fn group() -> Group {
    let cases: Vec<Draft> = vec![
        valid(ORDER, |s| s.order(), accepted(201)),
        valid(READ, |s| s.read(), accepted(200)),
        valid(SECRET, |s| s.sign(Raw::read().target("/v1/secret")), accepted(200)),
        valid(
            "a signed read of a route that was raised to signed",
            |s| s.sign(Raw::read().target("/v1/raised")),
            accepted(200),
        ),
        valid(HMAC, |s| s.sign_by(Raw::order(), hmac()), accepted(201)),
        valid(KEYED, |_| keyed(&ours(1)), accepted(200)),
        valid(
            "a read with a publishable key in the query",
            |_| Raw::read().target(&format!("/v1/orders?api_key={}", ours(1))),
            accepted(200),
        ),
        valid(
            "a read with a publishable key in a cookie",
            |_| Raw::read().add("Cookie", format!("a=b; api_key={}", ours(1))),
            accepted(200),
        ),
        valid(
            "a read with a publishable key that is quarantined",
            |_| keyed(&ours(4)),
            accepted(200),
        ),
        valid(
            "a signed read with the publishable key of its signer",
            |s| s.read().add("X-Api-Key", ours(1)),
            accepted(200),
        ),
        valid(
            "a signed order with every field that has to be covered when it is there",
            |s| {
                s.sign(Raw::order().add("Content-Encoding", "identity").add("Idempotency-Key", "1"))
            },
            accepted(201),
        ),
    ];
    made::group("valid", cases)
}
