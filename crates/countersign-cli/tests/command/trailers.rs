use countersign::{
    ContentDigest, KeyFile, Message, PrivateKey, RequestHead, ResponseHead, SignatureParams,
    Target, sign,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use crate::desk::Desk;

const EXPIRES: &str = "Wed, 9 Nov 2022 07:28:00 GMT";
const NOT_THIS: &str = "signature-invalid";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    });
    fields.collect()
}

fn lines(fields: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().unwrap())
    };
    fields.iter().map(line).collect()
}

fn key(desk: &Desk) -> PrivateKey {
    let key = KeyFile::parse(desk.read("id.key").as_bytes(), None).unwrap();
    key.into_private().unwrap()
}

fn params(components: &[&str]) -> SignatureParams<'static> {
    SignatureParams {
        label: "sig",
        components: components.iter().map(|text| text.parse().unwrap()).collect(),
        created: None,
        expires: None,
        nonce: None,
        key_id: None,
        algorithm: None,
        tag: None,
    }
}

/// The response of RFC 9421 §2.1.4, of which the key of the desk signs these components.
fn response(desk: &Desk, components: &[&str], trailers: &HeaderMap) -> String {
    let digest = ContentDigest::sha256(b"HTTPMessageSignatures").to_string();
    let mut headers = headers(&[
        ("content-type", "text/plain"),
        ("transfer-encoding", "chunked"),
        ("trailer", "Expires"),
        ("content-digest", &digest),
    ]);
    let head = ResponseHead { status: StatusCode::OK, headers: &headers };
    let message = Message::from(head).with_trailers(trailers);
    sign(&message, &key(desk), &params(components)).unwrap().apply(&mut headers);
    let chunks = "4\r\nHTTP\r\n7\r\nMessage\r\na\r\nSignatures\r\n0\r\n";
    format!("HTTP/1.1 200 OK\r\n{}\r\n{chunks}{}\r\n", lines(&headers), lines(trailers))
}

fn look(desk: &Desk, command: &[&str], message: &str) -> crate::desk::Finished {
    let fixed = ["--policy", "none", "--key", "id.key", "-"];
    desk.run_with(command.iter().chain(&fixed), message.as_bytes())
}

#[test]
fn a_signed_trailer_verifies_and_a_changed_one_does_not() {
    let (desk, publishable) = Desk::with_key();
    let trailers = headers(&[("expires", EXPIRES)]);
    let covered = ["\"@status\"", "\"trailer\"", "\"expires\";tr", "\"content-digest\""];
    let message = response(&desk, &covered, &trailers);
    let trailer = format!("expires: {EXPIRES}\r\n");
    let verified = format!("verified: signed by {publishable}");
    let absent = "the covered component \"expires\";tr is not in the message";
    let table = [
        ("", "", &*verified),
        ("expires: ", "Expires:\t", &verified),
        ("0\r\nexpires", "0\r\nx-other: 1\r\nexpires", &verified),
        ("7\r\nMessage\r\na\r\nSignatures", "11\r\nMessageSignatures", &verified),
        ("4\r\nHTTP", "1;x=\"y\"\r\nH\r\n03\r\nTTP", &verified),
        ("trailer:", "expires: 0\r\ntrailer:", &verified),
        ("07:28:00", "07:28:01", NOT_THIS),
        (&trailer, "", absent),
        (&trailer, "expired: 0\r\n", absent),
        (&trailer, &format!("{trailer}{trailer}"), NOT_THIS),
        ("trailer: Expires", "trailer: Age", NOT_THIS),
        ("Message", "Massage", "digest-mismatch"),
        ("7\r\nMessage\r\n", "", "digest-mismatch"),
        ("0\r\nexpires", "1\r\n!\r\n0\r\nexpires", "digest-mismatch"),
    ];
    for (from, to, said) in table {
        let changed = message.replacen(from, to, 1);
        assert!(from.is_empty() || changed != message, "{from}");
        for text in [changed.clone(), changed.replace("\r\n", "\n"), changed.clone() + "\n"] {
            for command in ["verify", "explain"] {
                let outcome = look(&desk, &[command], &text);
                let code = if said == verified { 0 } else { 3 };
                assert_eq!(outcome.code, code, "{from} → {to}: {outcome:?}");
                assert!(outcome.stdout.contains(said), "{from} → {to}: {outcome:?}");
            }
        }
    }
    let moved = message.replacen(&trailer, "", 1).replacen("trailer:", &(trailer + "trailer:"), 1);
    assert!(look(&desk, &["verify"], &moved).stdout.contains(absent), "as a header it is another");
}

#[test]
fn chunks_that_are_not_exactly_so_cannot_be_read() {
    let (desk, _) = Desk::with_key();
    let trailers = headers(&[("expires", EXPIRES)]);
    let message = response(&desk, &["\"expires\";tr"], &trailers);
    let table = [
        ("transfer-encoding: chunked", "transfer-encoding: gzip, chunked", "chunked alone"),
        ("trailer:", "content-length: 21\r\ntrailer:", "Content-Length"),
        ("HTTP/1.1", "HTTP/1.0", "HTTP/1.0"),
        ("7\r\nMessage", "6\r\nMessage", "by its size"),
        ("7\r\nMessage", "+7\r\nMessage", "hexadecimal"),
        ("0\r\nexpires", "expires", "hexadecimal"),
        ("expires: ", "expires : ", "trailer is malformed"),
        ("GMT\r\n\r\n", "GMT\r\n", "no empty line"),
        ("GMT\r\n\r\n", "GMT\r\n\r\nmore", "something follows"),
        ("HTTP\r\n", "HTTP\n", "no line end"),
    ];
    for (from, to, error) in table {
        let changed = message.replacen(from, to, 1);
        assert_ne!(changed, message);
        for command in ["verify", "explain"] {
            look(&desk, &[command], &changed).failed(1, error, "as HTTP/1.1 sends it");
        }
    }
}

#[test]
fn a_signed_digest_is_compared_with_the_content_wherever_it_is_and_whatever_form_of_it_is_signed() {
    let (desk, _) = Desk::with_key();
    let digest = |content: &[u8]| ContentDigest::sha256(content).to_string();
    let right = headers(&[("content-digest", &digest(b"HTTPMessageSignatures"))]);
    let wrong = headers(&[("content-digest", &digest(b"other"))]);
    let table: [(&HeaderMap, &[&str], i32); 11] = [
        (&wrong, &["\"content-digest\";sf"], 0),
        (&wrong, &["\"content-digest\";bs"], 0),
        (&wrong, &["\"content-digest\";key=\"sha-256\""], 0),
        (&right, &["\"content-digest\";sf;tr"], 0),
        (&wrong, &["\"content-digest\";tr;sf"], 3),
        (&wrong, &["\"content-digest\";bs;tr"], 3),
        (&wrong, &["\"content-digest\";key=\"sha-256\";tr"], 3),
        (&right, &["\"content-digest\";tr"], 0),
        (&right, &["\"content-digest\"", "\"content-digest\";tr"], 0),
        (&wrong, &["\"content-digest\";tr"], 3),
        (&wrong, &["\"content-digest\""], 0),
    ];
    for (trailers, components, code) in table {
        let message = response(&desk, components, trailers);
        for command in ["verify", "explain"] {
            assert_eq!(look(&desk, &[command], &message).code, code, "{components:?}");
            let changed = message.replacen("Message", "Massage", 1);
            let outcome = look(&desk, &[command], &changed);
            assert!(outcome.stdout.contains("digest-mismatch"), "{components:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_digest_that_counts_and_is_not_signed_stands_in_for_none_that_is() {
    let (desk, _) = Desk::with_key();
    let sha256 = ContentDigest::sha256(b"HTTPMessageSignatures");
    let digests = format!("md5=:AAAAAAAAAAAAAAAAAAAAAA==:, {sha256}");
    let trailers = headers(&[("content-digest", &digests)]);
    let md5 = "\"content-digest\";key=\"md5\";tr";
    for (components, code) in [
        (vec![md5], 3),
        (vec![md5, "\"content-digest\";tr"], 0),
        (vec!["\"content-digest\";key=\"sha-256\";tr"], 0),
    ] {
        let message = response(&desk, &components, &trailers);
        for command in ["verify", "explain"] {
            let outcome = look(&desk, &[command], &message);
            assert_eq!(outcome.code, code, "{components:?}: {outcome:?}");
            let unsupported = outcome.stdout.contains("digest-unsupported");
            assert_eq!(unsupported, code == 3, "{components:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_trailer_is_explained_as_other_components() {
    let (desk, _) = Desk::with_key();
    let trailers = headers(&[("expires", EXPIRES)]);
    let message = response(&desk, &["\"@status\"", "\"expires\";tr"], &trailers);
    let told = look(&desk, &["explain", "--json"], &message).done();
    let told: Value = serde_json::from_str(&told).unwrap();
    let base = told["signature_base"].as_str().unwrap();
    assert!(base.starts_with(&format!("\"@status\": 200\n\"expires\";tr: {EXPIRES}\n")), "{base}");
}

#[test]
fn a_signature_among_the_trailers_verifies_and_no_server_looks_at_it() {
    let (desk, publishable) = Desk::with_key();
    let moved = |message: &str| {
        let (head, chunks) = message.split_once("\r\n\r\n").unwrap();
        let is_signature = |line: &&str| line.starts_with("signature");
        let (signature, rest): (Vec<_>, Vec<_>) = head.split("\r\n").partition(is_signature);
        let chunks = chunks.strip_suffix("\r\n").unwrap();
        format!("{}\r\n\r\n{chunks}{}\r\n\r\n", rest.join("\r\n"), signature.join("\r\n"))
    };
    let answer = moved(&response(&desk, &["\"@status\"", "\"content-digest\""], &HeaderMap::new()));
    for command in ["verify", "explain"] {
        let outcome = look(&desk, &[command], &answer);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(outcome.stdout.contains(&publishable), "{outcome:?}");
        for (from, to) in [("200 OK", "201 OK"), ("Message", "Massage"), ("signature:", "x:")] {
            let changed = answer.replacen(from, to, 1);
            assert_ne!(changed, answer);
            assert_eq!(look(&desk, &[command], &changed).code, 3, "{from}");
        }
    }
    let request = "POST /a HTTP/1.1\r\nhost: example.com\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\
                   signature-input: sig=();tag=\"countersign\"\r\nsignature: sig=:AAAA:\r\n\r\n";
    let by_default = ["--key", "id.key", "-"];
    let outcome = desk.run_with(["verify"].iter().chain(&by_default), request.as_bytes());
    assert_eq!(outcome.code, 3, "{outcome:?}");
    assert!(outcome.stdout.contains("signature-required"), "{outcome:?}");
    for command in ["verify", "explain"] {
        let outcome =
            desk.run_with([command, "--json"].iter().chain(&by_default), request.as_bytes());
        let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
        for name in ["label", "keyid", "signature_base"] {
            assert_eq!(told[name], Value::Null, "{command} {name}");
        }
    }
    let outcome = desk.run_with(["explain"].iter().chain(&by_default), request.as_bytes());
    assert!(outcome.stdout.contains("a server does not look at trailers"), "{outcome:?}");
}

#[test]
fn an_answer_is_bound_to_the_trailers_of_its_request() {
    let (desk, publishable) = Desk::with_key();
    let request = |trailer: &str| {
        format!(
            "POST /a HTTP/1.1\r\nhost: example.com\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailer}\r\n"
        )
    };
    desk.write("right", request("x-sum: 1\r\n"), 0o600);
    desk.write("wrong", request("x-sum: 2\r\n"), 0o600);
    desk.write("none", request(""), 0o600);
    let uri = "/a".parse().unwrap();
    let (origin, none) = ("https://example.com".parse().unwrap(), HeaderMap::new());
    let target = Target::origin_form(&uri);
    let asked = RequestHead { method: &Method::POST, target, origin: &origin, headers: &none };
    let trailers = headers(&[("x-sum", "1")]);
    let mut signed = HeaderMap::new();
    let message = Message::from(ResponseHead { status: StatusCode::OK, headers: &none });
    let message = message.with_request(asked).with_request_trailers(&trailers);
    sign(&message, &key(&desk), &params(&["\"x-sum\";req;tr"])).unwrap().apply(&mut signed);
    let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines(&signed));
    let verified = format!("verified: signed by {publishable}");
    for (file, said) in
        [("right", &*verified), ("wrong", NOT_THIS), ("none", "is not in the message")]
    {
        let outcome = look(&desk, &["verify", "--request", file], &answer);
        assert!(outcome.stdout.contains(said), "{file}: {outcome:?}");
    }
}
