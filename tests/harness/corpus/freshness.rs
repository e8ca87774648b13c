//! Time, and requests that are sent again.

use super::{
    Expect, Group,
    made::{self, Draft, Signing, accepted, refused, row},
    settings::{COLD, SPARING},
    valid::{ORDER, READ},
};
use crate::Raw;

const DATE: &str = "Sun, 23 Nov 2025 12:13:20 GMT";

pub(super) fn group() -> Group {
    made::group("freshness", windows().into_iter().chain(replays()))
}

fn stale() -> Expect {
    refused(401, "signature-stale")
}

fn replayed() -> Expect {
    refused(401, "signature-replayed")
}

fn at(signing: &Signing, from_now: i64) -> Raw {
    signing.sign_at(Raw::order(), from_now)
}

fn expiring(signing: &Signing, expires: &str) -> Raw {
    signing.replaced("created=1763900000", &format!("created=1763900000;expires={expires}"))
}

fn windows() -> Vec<Draft> {
    vec![
        row(72, "signed 11 s from now", ORDER, |s| at(s, 11), stale()).telling("date", DATE),
        row(73, "signed 10 s from now", ORDER, |s| at(s, 10), accepted(201)),
        row(74, "signed 71 s ago", ORDER, |s| at(s, -71), stale()).telling("date", DATE),
        row(74, "signed 70 s ago", ORDER, |s| at(s, -70), accepted(201)),
        row(75, "signed before the replay guard began", ORDER, |s| at(s, 0), stale())
            .on(COLD)
            .telling("date", DATE)
            .telling("retry-after", "11"),
        row(
            77,
            "signed at the end of time",
            ORDER,
            |s| s.replaced("created=1763900000", "created=999999999999999"),
            stale(),
        )
        .telling("date", DATE),
        row(80, "expired one second ago", ORDER, |s| expiring(s, "1763900005"), accepted(201))
            .then(5, |s| expiring(s, "1763900005"), accepted(201))
            .then(6, |s| expiring(s, "1763900005"), stale()),
        row(81, "expires in 30 years", ORDER, |s| expiring(s, "2763900000"), accepted(201))
            .again(61, replayed())
            .again(71, stale()),
    ]
}

fn replays() -> Vec<Draft> {
    vec![
        row(82, "the same order again", ORDER, |s| s.order(), accepted(201)).again(0, replayed()),
        row(82, "the same order again, a minute later", ORDER, |s| s.order(), accepted(201))
            .again(60, replayed())
            .again(71, stale()),
        row(82, "the same read again", READ, |s| s.read(), accepted(200)).again(0, replayed()),
        row(87, "the same nonce, signed a second later", ORDER, |s| at(s, 0), accepted(201)).then(
            1,
            |s| at(&s.with_first_nonce(), 1),
            accepted(201),
        ),
        row(105, "a third nonce, where two are remembered", ORDER, |s| s.order(), accepted(201))
            .then(0, |s| s.order(), accepted(201))
            .then(0, |s| s.order(), refused(429, "rate-limited"))
            .on(SPARING),
    ]
}
