//! Signature fields that are absent, unpaired, doubled or malformed.

use super::{
    Group,
    made::{self, Draft, Signing, accepted, bytes, http2, malformed, refused, row, unanswered},
    valid::ORDER,
};
use crate::Raw;

fn input(signing: &Signing, change: impl Fn(&str) -> String) -> Raw {
    signing.order().change("Signature-Input", change)
}

/// An order with one field twice.
fn twice(signing: &Signing, name: &str) -> Raw {
    let signed = signing.order();
    let value = signed.get(name);
    signed.add(name, value)
}

/// An order with this many signatures beside its own.
fn many(signing: &Signing, count: usize) -> Raw {
    let inputs: Vec<_> = (0..count).map(|at| format!("p{at}=()")).collect();
    let signatures: Vec<_> = (0..count).map(|at| format!("p{at}=:AA==:")).collect();
    input(signing, |own| format!("{own}, {}", inputs.join(", ")))
        .change("Signature", |own| format!("{own}, {}", signatures.join(", ")))
}

/// An order with a second signature.
fn second(signing: &Signing, tag: &str) -> Raw {
    input(signing, |own| format!("{own}, two=(\"@method\");tag=\"{tag}\""))
        .change("Signature", |own| format!("{own}, two=:AAAA:"))
}

/// An order with many covered components beside its own.
fn covering(signing: &Signing, more: usize) -> Raw {
    let mut request = Raw::order();
    let mut list = made::ALL.to_owned();
    for at in 0..more {
        request = request.add(&format!("X-{at}"), "1");
        list.push_str(&format!(" \"x-{at}\""));
    }
    request.signed_as(&signing.params_of(&list))
}

fn created(signing: &Signing, created: &str) -> Raw {
    signing.replaced("created=1763900000", created)
}

pub(super) fn group() -> Group {
    made::group(
        "signatures",
        fields().into_iter().chain(text()).chain(components()).chain(values()),
    )
}

fn fields() -> Vec<Draft> {
    let large = || format!("x=\"{}\"", "a".repeat(9 * 1024));
    vec![
        row(
            1,
            "an order without a signature",
            ORDER,
            |_| Raw::order(),
            refused(401, "signature-required"),
        ),
        row(
            2,
            "Signature without Signature-Input",
            ORDER,
            |s| s.order().without("Signature-Input"),
            malformed(),
        ),
        row(
            3,
            "Signature-Input without Signature",
            ORDER,
            |s| s.order().without("Signature"),
            malformed(),
        ),
        row(
            4,
            "the two fields have different labels",
            ORDER,
            |s| s.order().change("Signature", |own| own.replace("sig=", "gis=")),
            malformed(),
        ),
        row(7, "a second signature with our tag", ORDER, |s| second(s, "countersign"), malformed()),
        row(8, "a second signature with another tag", ORDER, |s| second(s, "proxy"), accepted(201)),
        row(9, "eight labels", ORDER, |s| many(s, 7), accepted(201)),
        row(9, "nine labels", ORDER, |s| many(s, 8), malformed()),
        row(9, "701 labels", ORDER, |s| many(s, 700), refused(431, "header-too-large")),
        row(
            10,
            "signature fields of more than 8 KiB",
            ORDER,
            |s| s.order().add("Signature", large()),
            refused(431, "header-too-large"),
        ),
        row(
            11,
            "the label twice in one field",
            ORDER,
            |s| input(s, |own| format!("{own}, {own}")),
            malformed(),
        ),
        row(12, "Signature-Input twice", ORDER, |s| twice(s, "Signature-Input"), malformed()),
        row(12, "Signature twice", ORDER, |s| twice(s, "Signature"), malformed()),
    ]
}

fn text() -> Vec<Draft> {
    vec![
        row(
            13,
            "created twice",
            ORDER,
            |s| created(s, "created=1763900000;created=1763900000"),
            malformed(),
        ),
        row(
            15,
            "created with leading zeros",
            ORDER,
            |s| created(s, "created=0001763900000"),
            malformed(),
        ),
        row(
            15,
            "two spaces between components",
            ORDER,
            |s| s.replaced("\"@path\"", " \"@path\""),
            malformed(),
        ),
        row(
            15,
            "base64 without its padding",
            ORDER,
            |s| s.order().change("Signature", |own| own.replace("==:", ":")),
            malformed(),
        ),
        row(16, "an unknown parameter", ORDER, |s| s.replaced(";alg", ";x=1;alg"), malformed()),
        row(
            17,
            "an item where a list of components belongs",
            ORDER,
            |s| s.order().set("Signature-Input", "sig=1"),
            malformed(),
        ),
        row(
            17,
            "a label in upper case",
            ORDER,
            |s| input(s, |own| own.replacen("sig=", "Sig=", 1)),
            malformed(),
        ),
        row(17, "a trailing comma", ORDER, |s| input(s, |own| format!("{own},")), malformed()),
        row(
            19,
            "a TAB in a parameter",
            ORDER,
            |s| input(s, |own| own.replacen("countersign", "counter\tsign", 1)),
            malformed(),
        ),
        row(
            19,
            "a byte that is not ASCII in a parameter",
            ORDER,
            |s| s.order().set("Signature-Input", b"sig=();tag=\"\xe9\""),
            malformed(),
        ),
    ]
}

fn components() -> Vec<Draft> {
    let path = "\"@path\"";
    vec![
        row(
            14,
            "a component twice",
            ORDER,
            move |s| s.replaced(path, "\"@path\" \"@path\""),
            malformed(),
        ),
        row(18, "32 components", ORDER, |s| covering(s, 26), accepted(201)),
        row(18, "33 components", ORDER, |s| covering(s, 27), malformed()),
        row(
            29,
            "a component of the request of a request (req)",
            ORDER,
            |s| s.replaced("\"@method\"", "\"@method\";req"),
            malformed(),
        ),
        row(
            29,
            "a component of the trailers (tr)",
            ORDER,
            |s| s.replaced("\"content-type\"", "\"content-type\";tr"),
            malformed(),
        ),
        row(
            111,
            "a member of Priority, which is a thousand times there",
            ORDER,
            |s| {
                let order = Raw::order().add("Priority", vec!["a;b"; 1_000].join(","));
                let own = "\"content-type\"";
                s.replaced_in(order, own, "\"content-type\" \"priority\";key=\"a\"")
            },
            malformed(),
        ),
        row(
            111,
            "Content-Type once more, as a structured field (sf)",
            ORDER,
            |s| s.replaced("\"content-type\"", "\"content-type\" \"content-type\";sf"),
            malformed(),
        ),
        row(
            111,
            "Content-Type once more, as bytes (bs)",
            ORDER,
            |s| s.replaced("\"content-type\"", "\"content-type\" \"content-type\";bs"),
            malformed(),
        ),
        row(
            112,
            "a long query, covered six times over",
            ORDER,
            |s| {
                let order = Raw::order().target(&format!("/v1/orders?z={}", "!".repeat(7_800)));
                let more =
                    "\"@query\" \"@target-uri\" \"@request-target\" \"@query-param\";name=\"z\"";
                s.replaced_in(order, "\"@query\"", more)
            },
            malformed(),
        ),
        row(
            112,
            "a long query, covered twice",
            ORDER,
            |s| {
                let order = Raw::order().target(&format!("/v1/orders?z={}", "!".repeat(7_800)));
                s.replaced_in(order, "\"@query\"", "\"@query\" \"@target-uri\"")
            },
            accepted(201),
        ),
        row(
            31,
            "an unknown derived component",
            ORDER,
            move |s| s.replaced(path, "\"@path\" \"@foo\""),
            malformed(),
        ),
        row(
            32,
            "a covered field that is not there",
            ORDER,
            move |s| s.replaced(path, "\"@path\" \"x-absent\""),
            malformed(),
        ),
        row(
            35,
            "a covered field that is there twice",
            ORDER,
            move |s| {
                let order = Raw::order().add("X-Twice", "1").add("X-Twice", "2");
                s.replaced_in(order, path, "\"@path\" \"x-twice\"")
            },
            malformed(),
        ),
        row(
            36,
            "@signature-params as a component",
            ORDER,
            move |s| s.replaced(path, "\"@path\" \"@signature-params\""),
            malformed(),
        ),
        row(97, "Content-Digest twice", ORDER, |s| twice(s, "Content-Digest"), malformed()),
        row(
            103,
            "bytes that are not ASCII in a covered field",
            ORDER,
            |s| Raw::order().set("Content-Type", b"caf\xc3\xa9").signed_as(&s.params()),
            malformed(),
        ),
    ]
}

fn values() -> Vec<Draft> {
    let keyid = |name, keyid: &'static str| {
        row(63, name, ORDER, move |s| s.replaced("KEYID", keyid), malformed())
    };
    let at = |row_number, name, value: &'static str| {
        row(row_number, name, ORDER, move |s| created(s, value), malformed())
    };
    vec![
        keyid("a keyid that is a URL", "https://evil.test/k"),
        keyid("a keyid that is a path", "../../../etc/passwd"),
        keyid("a keyid that is SQL", "' OR 1=1 --"),
        keyid("a keyid that is a pattern", "pk_********"),
        keyid("an empty keyid", ""),
        row(
            63,
            "a keyid of 10 KB",
            ORDER,
            |s| s.replaced("KEYID", &"a".repeat(10_000)),
            refused(431, "header-too-large"),
        ),
        row(
            63,
            "a keyid with NUL in it",
            ORDER,
            |s| {
                let raw = input(s, |own| own.replacen("pk_", "pk\0", 1));
                bytes(raw.bytes())
            },
            made::not_http(400),
        ),
        row(
            63,
            "a keyid with NUL in it, in HTTP/2",
            ORDER,
            |s| http2(input(s, |own| own.replacen("pk_", "pk\0", 1)), |_| ()),
            unanswered(),
        ),
        at(76, "created below zero", "created=-1"),
        at(76, "created as a decimal", "created=1763900000.5"),
        at(76, "created as a date", "created=@1763900000"),
        at(76, "created as a boolean", "created"),
        at(76, "created as a string", "created=\"1763900000\""),
        at(78, "created of 16 digits", "created=1763900000000000"),
        at(79, "expires as created", "created=1763900000;expires=1763900000"),
        at(79, "expires before created", "created=1763900000;expires=1763899999"),
    ]
}
