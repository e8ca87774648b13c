//! One mutation away from a request that passes, and the answer to each.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use countersign::{
    Claim, Code, Component, Content, ContentDigest, Derived, DigestAlgorithm, Nonce, Origin,
    Policy, PrivateKey, Rejection, RequestHead, SignError, SignedFields, Signer, Target, Timestamp,
    Unmeetable, Unverified,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
const BODY: &[u8] = br#"{"item":"book"}"#;

#[derive(Clone)]
struct Request {
    method: Method,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn key() -> PrivateKey {
    PrivateKey::ed25519(&[5; 32])
}

impl Request {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }

    fn unsigned() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Self {
            method: Method::POST,
            uri: Uri::from_static("/v1/orders?expand=customer"),
            origin: "https://api.example.com".parse().unwrap(),
            headers,
            body: BODY.to_vec(),
        }
    }

    fn sign_with(&self, key: PrivateKey) -> SignedFields {
        let nonce = Nonce::from_random([9; 16]);
        Signer::new(key).sign(&self.head(), &self.body, NOW, &nonce).unwrap()
    }

    fn signed() -> Self {
        let mut request = Self::unsigned();
        request.sign_with(key()).apply(&mut request.headers);
        request
    }

    /// Signed with whatever components and parameters, properly over the base that they make.
    fn signed_as(mut self, params: &str) -> Self {
        let digest = ContentDigest::sha256(&self.body).to_header().unwrap();
        self.headers.entry("content-digest").or_insert(digest);
        self.resign(params);
        self
    }

    fn resign(&mut self, params: &str) {
        self.put(&format!("sig={params}"), "sig=:AAAA:");
        let base = countersign::Candidate::select(&self.head().into(), None);
        let signature = base.map(|one| key().sign(one.signature_base().as_bytes()));
        let signature = signature.unwrap_or_else(|_| vec![0; 64]);
        self.put(&format!("sig={params}"), &field(&signature));
    }

    fn put(&mut self, input: &str, signature: &str) {
        self.headers.insert("signature-input", input.parse().unwrap());
        self.headers.insert("signature", signature.parse().unwrap());
    }

    fn get(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    fn check_with(&self, policy: &Policy, now: Timestamp) -> Result<(), Rejection> {
        let content = if self.body.is_empty() { Content::Absent } else { Content::Present };
        let unverified = Unverified::parse(self.head(), content, policy, now)?;
        let unverified = unverified.ok_or(Rejection::Required)?;
        let mut content = unverified.verify(&key().verifying_key())?.redeem(Claim::Fresh)?.read();
        content.update(&self.body);
        content.finish().map(drop)
    }

    fn check(&self) -> Result<(), Code> {
        self.check_with(&Policy::default(), NOW).map_err(|rejection| rejection.code())
    }
}

fn field(signature: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("sig=:{}:", STANDARD.encode(signature))
}

const PARAMS: &str = r#";created=1763900000;nonce="CQkJCQkJCQkJCQkJCQkJCQ";keyid="pk_12345";alg="ed25519";tag="countersign""#;
const ALL: &str = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;

fn params() -> String {
    format!("({ALL}){PARAMS}")
}

#[test]
fn a_signed_request_is_verified() {
    assert_eq!(Request::signed().check(), Ok(()));
    assert_eq!(Request::unsigned().signed_as(&params()).check(), Ok(()));
    let mut read = Request::unsigned();
    (read.method, read.body) = (Method::GET, Vec::new());
    read.headers.clear();
    read.sign_with(key()).apply(&mut read.headers);
    assert_eq!(read.check(), Ok(()));
}

#[test]
fn the_wire_is_the_one_of_the_design() {
    let request = Request::signed();
    let key_id = key().publishable_key();
    let expected = format!(
        r#"sig=("@method" "@authority" "@path" "@query" "content-digest" "content-type");created=1763900000;nonce="CQkJCQkJCQkJCQkJCQkJCQ";keyid="{key_id}";alg="ed25519";tag="countersign""#
    );
    assert_eq!(request.get("signature-input"), expected);
}

#[test]
fn a_request_without_signature_fields_is_unsigned_and_nothing_else_is() {
    let parse = |request: &Request| {
        Unverified::parse(request.head(), Content::Present, &Policy::default(), NOW)
            .map(|unverified| unverified.is_some())
            .map_err(|rejection| rejection.code())
    };
    assert_eq!(parse(&Request::unsigned()), Ok(false));
    for absent in ["signature", "signature-input"] {
        let mut request = Request::signed();
        request.headers.remove(absent);
        assert_eq!(parse(&request), Err(Code::SignatureMalformed), "{absent}");
    }
}

#[test]
fn changing_any_signed_part_breaks_the_signature() {
    type Change = (&'static str, fn(&mut Request), Code);
    let changes: [Change; 8] = [
        ("method", |it| it.method = Method::PUT, Code::SignatureInvalid),
        (
            "path",
            |it| it.uri = "/v1/orderz?expand=customer".parse().unwrap(),
            Code::SignatureInvalid,
        ),
        (
            "query",
            |it| it.uri = "/v1/orders?expand=customers".parse().unwrap(),
            Code::SignatureInvalid,
        ),
        ("no query", |it| it.uri = "/v1/orders".parse().unwrap(), Code::SignatureInvalid),
        (
            "authority",
            |it| it.origin = "https://b.example.com".parse().unwrap(),
            Code::SignatureInvalid,
        ),
        (
            "content-type",
            |it| drop(it.headers.insert("content-type", HeaderValue::from_static("text/plain"))),
            Code::SignatureInvalid,
        ),
        ("body", |it| it.body[0] ^= 1, Code::DigestMismatch),
        (
            "body and digest",
            |it| {
                it.body[0] ^= 1;
                let digest = ContentDigest::sha256(&it.body).to_header().unwrap();
                it.headers.insert("content-digest", digest);
            },
            Code::SignatureInvalid,
        ),
    ];
    for (part, change, expected) in changes {
        let mut request = Request::signed();
        change(&mut request);
        assert_eq!(request.check(), Err(expected), "{part}");
    }
}

#[test]
fn every_flipped_bit_of_what_is_signed_is_noticed() {
    let signed = Request::signed();
    type Put = fn(&mut Request, &[u8]) -> Option<()>;
    fn header(request: &mut Request, name: &'static str, value: &[u8]) -> Option<()> {
        request.headers.insert(name, HeaderValue::from_bytes(value).ok()?).map(drop)
    }
    let parts: [(&str, Vec<u8>, Put); 7] = [
        ("method", signed.method.as_str().into(), |request, bytes| {
            request.method = Method::from_bytes(bytes).ok()?;
            Some(())
        }),
        ("target", signed.uri.to_string().into(), |request, bytes| {
            request.uri = Uri::try_from(bytes).ok()?;
            Some(())
        }),
        ("content-type", signed.get("content-type").into(), |request, bytes| {
            header(request, "content-type", bytes)
        }),
        ("content-digest", signed.get("content-digest").into(), |request, bytes| {
            header(request, "content-digest", bytes)
        }),
        ("signature-input", signed.get("signature-input").into(), |request, bytes| {
            header(request, "signature-input", bytes)
        }),
        ("signature", signed.get("signature").into(), |request, bytes| {
            header(request, "signature", bytes)
        }),
        ("body", signed.body.clone(), |request, bytes| {
            request.body = bytes.to_vec();
            Some(())
        }),
    ];
    for (part, bytes, put) in parts {
        let mut tried = 0;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut request = signed.clone();
            // What is no method, target or header at all never arrives.
            if put(&mut request, &flipped).is_some() {
                tried += 1;
                assert!(request.check().is_err(), "bit {bit} of {part}");
            }
        }
        assert!(tried > bytes.len(), "{part}: {tried}");
    }
}

#[test]
fn every_flipped_bit_of_the_signature_is_noticed() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let request = Request::signed();
    let digits = request.get("signature");
    let digits = digits.strip_prefix("sig=:").unwrap().strip_suffix(':').unwrap();
    let signature = STANDARD.decode(digits).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut request = request.clone();
        request.headers.insert("signature", field(&flipped).parse().unwrap());
        assert_eq!(request.check(), Err(Code::SignatureInvalid), "bit {bit}");
    }
    for length in (0..=128).filter(|&length| length != 64) {
        let mut request = request.clone();
        request.headers.insert("signature", field(&vec![7; length]).parse().unwrap());
        assert_eq!(request.check(), Err(Code::SignatureInvalid), "{length} bytes");
    }
}

#[test]
fn form_is_strict_even_where_the_signature_would_hold() {
    let without = |name: &str| params().replace(&format!("\"{name}\" "), "");
    let with = |more: &str| params().replacen("\"@method\"", &format!("\"@method\" {more}"), 1);
    let parameter = |from: &str, to: &str| params().replacen(from, to, 1);
    use Code::{
        DigestUnsupported, SignatureInvalid, SignatureMalformed, SignaturePolicy, SignatureRequired,
    };
    let created = "created=1763900000";
    let cases: Vec<(&str, String, Code)> = vec![
        ("empty list", format!("(){PARAMS}"), SignaturePolicy),
        ("@method", without("@method"), SignaturePolicy),
        ("@authority", without("@authority"), SignaturePolicy),
        ("@path", without("@path"), SignaturePolicy),
        ("@query", without("@query"), SignaturePolicy),
        (
            "@query-param for @query",
            params().replace("\"@query\"", r#""@query-param";name="expand""#),
            SignaturePolicy,
        ),
        ("content-digest", without("content-digest"), SignaturePolicy),
        ("content-type", params().replace(" \"content-type\"", ""), SignaturePolicy),
        (
            "content-digest;key",
            params().replace("\"content-digest\"", r#""content-digest";key="sha-256""#),
            SignaturePolicy,
        ),
        (
            "content-digest;bs",
            params().replace("\"content-digest\"", r#""content-digest";bs"#),
            SignaturePolicy,
        ),
        ("@method;req", params().replace("\"@method\"", r#""@method";req"#), SignatureMalformed),
        ("content-type;tr", with(r#""content-type";tr"#), SignatureMalformed),
        ("@path twice", with("\"@path\""), SignatureMalformed),
        ("unknown derived", with("\"@foo\""), SignatureMalformed),
        ("@signature-params", with("\"@signature-params\""), SignatureMalformed),
        ("@status", with("\"@status\""), SignatureMalformed),
        ("absent field", with("\"x-absent\""), SignatureMalformed),
        ("upper case", with("\"Content-Type\""), SignatureMalformed),
        ("token", with("method"), SignatureMalformed),
        ("no created", parameter(&format!(";{created}"), ""), SignaturePolicy),
        ("no nonce", parameter(r#";nonce="CQkJCQkJCQkJCQkJCQkJCQ""#, ""), SignaturePolicy),
        ("no keyid", parameter(r#";keyid="pk_12345""#, ""), SignaturePolicy),
        ("no tag", parameter(r#";tag="countersign""#, ""), SignaturePolicy),
        ("other tag", parameter("\"countersign\"", "\"other\""), SignatureRequired),
        ("tag in another case", parameter("\"countersign\"", "\"Countersign\""), SignatureRequired),
        ("created twice", parameter(created, &format!("{created};{created}")), SignatureMalformed),
        ("negative", parameter(created, "created=-1"), SignatureMalformed),
        ("decimal", parameter(created, "created=1763900000.0"), SignatureMalformed),
        ("date", parameter(created, "created=@1763900000"), SignatureMalformed),
        ("boolean", parameter(created, "created"), SignatureMalformed),
        ("string", parameter(created, "created=\"1763900000\""), SignatureMalformed),
        ("16 digits", parameter(created, "created=1763900000000000"), SignatureMalformed),
        ("leading zeros", parameter(created, "created=0001763900000"), SignatureMalformed),
        ("spaces", params().replacen("\"@path\"", " \"@path\"", 1), SignatureMalformed),
        ("space in the list", params().replacen('(', "( ", 1), SignatureMalformed),
        ("space before a parameter", parameter(";created", "; created"), SignatureMalformed),
        ("unknown parameter", format!("{};x=1", params()), SignatureMalformed),
        (
            "expires = created",
            parameter(created, "created=1763900000;expires=1763900000"),
            SignatureMalformed,
        ),
        (
            "expires < created",
            parameter(created, "created=1763900000;expires=1"),
            SignatureMalformed,
        ),
        ("short nonce", parameter("CQkJCQkJCQkJCQkJCQkJCQ", "abc"), SignatureMalformed),
        (
            "nonce as token",
            parameter("\"CQkJCQkJCQkJCQkJCQkJCQ\"", "abcdefghijklmnopq"),
            SignatureMalformed,
        ),
        ("empty keyid", parameter("pk_12345", ""), SignatureMalformed),
        ("URL as keyid", parameter("pk_12345", "https://evil.test/key"), SignatureMalformed),
        ("path as keyid", parameter("pk_12345", "../../etc/passwd"), SignatureMalformed),
        ("SQL as keyid", parameter("pk_12345", "' OR 1=1 --"), SignatureMalformed),
        ("glob as keyid", parameter("pk_12345", "pk_*******"), SignatureMalformed),
        ("10 KB keyid", parameter("pk_12345", &"a".repeat(10_000)), Code::HeaderTooLarge),
        ("long keyid", parameter("pk_12345", &"a".repeat(97)), SignatureMalformed),
        ("other alg", parameter("\"ed25519\"", "\"hmac-sha256\""), SignatureInvalid),
        ("alg in another case", parameter("\"ed25519\"", "\"ED25519\""), SignatureMalformed),
        ("alg none", parameter("\"ed25519\"", "\"none\""), SignatureMalformed),
        ("alg of JOSE", parameter("\"ed25519\"", "\"EdDSA\""), SignatureMalformed),
        ("alg as token", parameter("\"ed25519\"", "ed25519"), SignatureMalformed),
        ("alg as a number", parameter("\"ed25519\"", "1"), SignatureMalformed),
        ("alg as bytes", parameter("\"ed25519\"", ":ZWQyNTUxOQ==:"), SignatureMalformed),
        ("alg as a flag", parameter("=\"ed25519\"", ""), SignatureMalformed),
        ("content-type;sf beside it", with(r#""content-type";sf"#), SignatureMalformed),
        ("content-type;bs beside it", with(r#""content-type";bs"#), SignatureMalformed),
        ("content-digest;sf beside it", with(r#""content-digest";sf"#), SignatureMalformed),
        (
            "content-digest;key beside it",
            with(r#""content-digest";key="sha-256""#),
            SignatureMalformed,
        ),
        ("item", r#""@method";created=1763900000"#.to_owned(), SignatureMalformed),
        ("trailing comma", format!("{},", params()), SignatureMalformed),
        ("other label unpaired", format!("{}, other=()", params()), SignatureMalformed),
        ("same label twice", format!("{0}, sig={0}", params()), SignatureMalformed),
    ];
    for (case, params, expected) in cases {
        let request = Request::unsigned().signed_as(&params);
        assert_eq!(request.check(), Err(expected), "{case}: {params:.200}");
    }
    let mut many = Request::unsigned();
    let mut list = ALL.to_owned();
    for at in 0..27 {
        many.headers.insert(HeaderName::try_from(format!("x-{at}")).unwrap(), "1".parse().unwrap());
        list.push_str(&format!(" \"x-{at}\""));
    }
    assert_eq!(
        many.clone().signed_as(&format!("({list}){PARAMS}")).check(),
        Err(SignatureMalformed)
    );
    let list = list.replace(" \"x-26\"", "");
    assert_eq!(many.signed_as(&format!("({list}){PARAMS}")).check(), Ok(()));
    let mut weak = Request::unsigned();
    let md5 = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:";
    weak.headers.insert("content-digest", md5.parse().unwrap());
    assert_eq!(weak.signed_as(&params()).check(), Err(DigestUnsupported));
}

#[test]
fn parameters_that_are_optional_or_in_another_order_are_accepted() {
    let accepted = [
        params().replace(";alg=\"ed25519\"", ""),
        params().replace("created=1763900000", "created=1763900000;expires=1763900001"),
        params().replace("created=1763900000", "created=1763900000;expires=2763900000"),
        params().replace("pk_12345", &"a".repeat(96)),
        params().replace("CQkJCQkJCQkJCQkJCQkJCQ", "abcdefghijklmnop+/=="),
        format!(
            r#"({ALL});tag="countersign";keyid="pk_12345";nonce="CQkJCQkJCQkJCQkJCQkJCQ";created=1763900000"#
        ),
        format!(
            r#"("content-type" "content-digest" "@query" "@path" "@authority" "@method"){PARAMS}"#
        ),
        params().replacen(
            "\"@method\"",
            r#""@method" "@scheme" "@target-uri" "@request-target" "@query-param";name="expand""#,
            1,
        ),
    ];
    for params in accepted {
        assert_eq!(Request::unsigned().signed_as(&params).check(), Ok(()), "{params}");
    }
}

#[test]
fn text_that_is_not_canonical_is_refused_also_in_the_signature() {
    let padded = Request::signed();
    let digits = padded.get("signature");
    for text in
        [digits.replace("==:", ":"), digits.replace("sig=:", "sig= :"), format!("{digits};x")]
    {
        let mut request = padded.clone();
        request.headers.insert("signature", text.parse().unwrap());
        assert_eq!(request.check(), Err(Code::SignatureMalformed), "{text}");
    }
    // The last digit before the padding has four bits that no byte holds.
    let at = digits.len() - 4;
    let other = if &digits[at..=at] == "A" { "B" } else { "A" };
    let mut request = padded.clone();
    let text = format!("{}{other}==:", &digits[..at]);
    request.headers.insert("signature", text.parse().unwrap());
    assert!(request.check().is_err());
}

#[test]
fn fields_that_change_a_request_cannot_be_added_or_repeated() {
    let added = [
        ("authorization", Code::SignaturePolicy),
        ("content-encoding", Code::SignaturePolicy),
        ("idempotency-key", Code::SignaturePolicy),
        ("x-http-method-override", Code::SignaturePolicy),
        ("x-http-method", Code::SignaturePolicy),
        ("x-method-override", Code::SignaturePolicy),
        ("x-original-url", Code::SignaturePolicy),
        ("x-rewrite-url", Code::SignaturePolicy),
        ("if-match", Code::SignaturePolicy),
        ("if-unmodified-since", Code::SignaturePolicy),
        ("if-none-match", Code::SignaturePolicy),
        ("if-modified-since", Code::SignaturePolicy),
        ("if-range", Code::SignaturePolicy),
        ("range", Code::SignaturePolicy),
        ("content-range", Code::SignaturePolicy),
        ("content-type", Code::SignatureMalformed),
        ("content-digest", Code::SignatureMalformed),
    ];
    for (name, expected) in added {
        let mut request = Request::signed();
        let value = request.headers.get(name).cloned();
        request.headers.append(name, value.unwrap_or(HeaderValue::from_static("x")));
        assert_eq!(request.check(), Err(expected), "{name}");
    }
    let policy = Policy::default().cover_when_present([HeaderName::from_static("x-copy-source")]);
    let mut request = Request::signed();
    request.headers.insert("x-copy-source", HeaderValue::from_static("/other"));
    assert_eq!(request.check_with(&Policy::default(), NOW), Ok(()));
    let refused = request.check_with(&policy, NOW).unwrap_err();
    assert_eq!(refused.code(), Code::SignaturePolicy);
}

#[test]
fn members_are_covered_of_signatures_and_of_what_the_policy_names_alone() {
    let priority = HeaderName::from_static("priority");
    let mut request = Request::unsigned();
    // Read member by member, each repetition of each is looked at anew.
    request
        .headers
        .insert(&priority, HeaderValue::from_str(&"a;b,".repeat(1_000)[..3_999]).unwrap());
    let with = |more: &str| params().replacen(')', &format!(" {more})"), 1);
    request = request.signed_as(&with(r#""priority";key="a""#));
    let refused = request.check_with(&Policy::default(), NOW);
    assert_eq!(refused, Err(Rejection::Malformed(countersign::Malformed::Member)));
    let policy = Policy::default().allow_members_of([priority.clone()]);
    let refused = request.check_with(&policy, NOW).map_err(|rejection| rejection.code());
    assert_eq!(refused, Err(Code::SignatureMalformed), "more than is read for strangers");
    let short = HeaderValue::from_str(&"a;b,".repeat(250)[..999]).unwrap();
    request.headers.insert(&priority, short);
    request = request.signed_as(&with(r#""priority";key="a""#));
    assert_eq!(request.check_with(&policy, NOW), Ok(()));
    assert_eq!(
        request.clone().signed_as(&with(r#""priority""#)).check(),
        Ok(()),
        "the whole field"
    );
}

#[test]
fn another_signature_is_covered_as_it_is_serialised() {
    let both = r#""signature";key="proxy" "signature-input";key="proxy""#;
    let own = params().replacen(')', &format!(" {both})"), 1);
    let beside = |input: &str, signature: &str| {
        let both = |own: &str, digits: &str| {
            (format!("sig={own}, proxy={input}"), format!("{digits}, proxy={signature}"))
        };
        let mut request = Request::unsigned().signed_as(&params());
        let (inputs, signatures) = both(&own, "sig=:AAAA:");
        request.put(&inputs, &signatures);
        // The general reader makes this base.
        let base = countersign::Candidate::select(&request.head().into(), Some("sig")).unwrap();
        let signature = field(&key().sign(base.signature_base().as_bytes()));
        let (inputs, signatures) = both(&own, &signature);
        request.put(&inputs, &signatures);
        request.check()
    };
    let many = |number: usize| vec!["\"x\""; number].join(" ");
    for (input, signature) in [
        ("()", ":AAAA:"),
        (r#"("@method" "x";key="a");created=1;tag="proxy""#, ":AAAA:"),
        (r#"( "@method"  "x" );tag="a\"b";x;y=?1;z=?0;d=1.50"#, ":AAAA:;p=1"),
        (&format!("({})", many(200)), ":AA==:"),
    ] {
        assert_eq!(beside(input, signature), Ok(()), "{input}");
    }
    let long = format!("({})", many(400));
    assert_eq!(beside(&long, ":AAAA:"), Err(Code::SignatureMalformed), "more than is read");
}

#[test]
fn a_target_that_is_covered_over_and_over_is_refused_and_one_that_is_covered_twice_is_not() {
    let with = |more: &str| params().replacen("\"@method\"", &format!("\"@method\" {more}"), 1);
    let to = |length: usize, filler: &str| {
        let mut request = Request::unsigned();
        request.uri = format!("/?z={}", filler.repeat(length)).parse().unwrap();
        request
    };
    let all = r#""@target-uri" "@request-target" "@query-param";name="z""#;
    let long = to(7_800, "!").signed_as(&with(all));
    assert_eq!(long.check(), Err(Code::SignatureMalformed), "six times over");
    let base = countersign::Candidate::select(&long.head().into(), None).unwrap();
    assert!(base.signature_base().as_bytes().len() > 6 * 7_800, "RFC 9421 allows it");
    let twice = to(7_800, "!").signed_as(&with("\"@target-uri\""));
    assert_eq!(twice.check(), Ok(()));
    assert_eq!(to(1_000, "a").signed_as(&with(all)).check(), Ok(()), "every way, and not long");
    let mut field = Request::unsigned();
    let value = HeaderValue::from_str(&"a".repeat(24 * 1024)).unwrap();
    field.headers.insert("x-large", value);
    assert_eq!(field.signed_as(&with("\"x-large\"")).check(), Ok(()), "a large field");
    // A signer refuses what a server would.
    let (signer, nonce) = (Signer::new(key()), Nonce::from_random([9; 16]));
    let more: Vec<Component<'_>> = ["@target-uri", "@request-target", r#""@query-param";name="z""#]
        .map(|id| id.parse().unwrap())
        .into();
    let request = to(7_800, "!");
    let refused = signer.sign_covering(&more, &request.head(), BODY, NOW, &nonce);
    assert!(matches!(refused, Err(SignError::Base(countersign::BadBase::Repetitive(_)))));
    assert!(signer.sign_covering(&more[..1], &request.head(), BODY, NOW, &nonce).is_ok());
}

#[test]
fn a_signature_for_http_is_no_good_at_https_where_the_scheme_is_asked_for() {
    let moved = |mut request: Request| {
        request.origin = "https://api.example.com:8000".parse().unwrap();
        request
    };
    let mut plain = Request::unsigned();
    plain.origin = "http://api.example.com:8000".parse().unwrap();
    let sign = |signer: &Signer| {
        let mut signed = plain.clone();
        let nonce = Nonce::from_random([9; 16]);
        signer.sign(&plain.head(), BODY, NOW, &nonce).unwrap().apply(&mut signed.headers);
        signed
    };
    let default = sign(&Signer::new(key()));
    assert_eq!(default.check(), Ok(()));
    assert_eq!(moved(default.clone()).check(), Ok(()), "by default the scheme is not covered");
    for derived in [Derived::Scheme, Derived::TargetUri] {
        let policy = Policy::default().cover_always([derived, Derived::Path]).unwrap();
        let refused = default.check_with(&policy, NOW).map_err(|rejection| rejection.code());
        assert_eq!(refused, Err(Code::SignaturePolicy), "{derived:?}");
        let signed = sign(&Signer::new(key()).cover_always([derived]).unwrap());
        assert_eq!(signed.check_with(&policy, NOW), Ok(()));
        let refused = moved(signed).check_with(&policy, NOW);
        assert_eq!(refused, Err(Rejection::Invalid), "{derived:?}");
        // A signer that was not set up for it is told, and heeds it.
        let asked = policy.accept_signature(&plain.method, &plain.headers, Content::Present);
        let more = Signer::new(key()).asked_beyond(&asked).unwrap();
        assert_eq!(more, [Component::from(derived)]);
        let known = Signer::new(key()).cover_always([derived]).unwrap();
        assert_eq!(known.asked_beyond(&asked), Ok(vec![]));
    }
    for derived in [Derived::QueryParam, Derived::Status] {
        assert!(Policy::default().cover_always([derived]).is_err(), "{derived:?}");
        assert!(Signer::new(key()).cover_always([derived]).is_err(), "{derived:?}");
    }
}

#[test]
fn a_cookie_that_comes_in_pieces_is_the_one_that_was_signed() {
    let with = params().replacen(')', " \"cookie\")", 1);
    let mut whole = Request::unsigned();
    whole.headers.insert("cookie", HeaderValue::from_static("a=1; b=2; c"));
    let whole = whole.signed_as(&with);
    let pieces = |pieces: &[&'static str]| {
        let mut request = whole.clone();
        request.headers.remove("cookie");
        for piece in pieces {
            request.headers.append("cookie", HeaderValue::from_static(piece));
        }
        request.check()
    };
    assert_eq!(pieces(&["a=1; b=2; c"]), Ok(()));
    assert_eq!(pieces(&["a=1", "b=2", "c"]), Ok(()));
    assert_eq!(pieces(&["a=1; b=2", "c"]), Ok(()));
    for other in
        [&["b=2", "a=1", "c"][..], &["a=1", "b=2"], &["a=1", "b=2", "c", "d"], &["a=1, b=2; c"]]
    {
        assert_eq!(pieces(other), Err(Code::SignatureInvalid), "{other:?}");
    }
    let signer = Signer::new(key()).cover_when_present([http::header::COOKIE]);
    let mut crumbs = Request::unsigned();
    crumbs.headers.append("cookie", HeaderValue::from_static("a=1"));
    crumbs.headers.append("cookie", HeaderValue::from_static("b=2"));
    let fields = signer.sign(&crumbs.head(), BODY, NOW, &Nonce::from_random([9; 16])).unwrap();
    assert!(fields.signature.base.as_str().contains("\"cookie\": a=1; b=2\n"));
    fields.apply(&mut crumbs.headers);
    assert_eq!(crumbs.check(), Ok(()));
}

#[test]
fn signing_the_digest_of_content_is_signing_the_content() {
    let (signer, nonce) = (Signer::new(key()), Nonce::from_random([9; 16]));
    let (sha256, sha512) = (ContentDigest::sha256(BODY), ContentDigest::sha512(BODY));
    let both = sha256.and(DigestAlgorithm::Sha512, BODY);
    let other = ContentDigest::sha256(b"other");
    // The `Content-Digest` that is there, the digest that is given, and whether these agree.
    let table = [
        (None, Some(sha256), true),
        (Some(sha256), Some(sha256), true),
        (Some(sha512), Some(both), true),
        (Some(both), Some(both), true),
        (Some(sha512), Some(sha256), false),
        (Some(both), Some(sha256), false),
        (Some(other), Some(sha256), false),
        (Some(sha256), None, false),
    ];
    for (given, digest, agrees) in table {
        let mut request = Request::unsigned();
        if let Some(given) = given {
            request.headers.insert("content-digest", given.to_header().unwrap());
        }
        let signed = signer.sign_digested(&request.head(), digest.as_ref(), NOW, &nonce);
        if !agrees {
            assert_eq!(signed.unwrap_err(), SignError::ContentDigest, "{given:?} {digest:?}");
            continue;
        }
        let (signed, whole) = (signed.unwrap(), signer.sign(&request.head(), BODY, NOW, &nonce));
        assert_eq!(signed.signature.base.as_str(), whole.unwrap().signature.base.as_str());
        signed.apply(&mut request.headers);
        assert_eq!(request.check(), Ok(()), "{given:?} {digest:?}");
    }
    let mut empty = Request::unsigned();
    empty.body = Vec::new();
    let signed = signer.sign_digested(&empty.head(), None, NOW, &nonce).unwrap();
    assert_eq!(signed.content_digest, None);
    signed.apply(&mut empty.headers);
    assert_eq!(empty.check(), Ok(()));
}

#[test]
fn what_the_rfc_allows_and_the_policy_does_not_is_said_in_so_many_words() {
    let parameter = |from: &str, to: &str| {
        let request = Request::unsigned().signed_as(&params().replacen(from, to, 1));
        request.check_with(&Policy::default(), NOW).unwrap_err()
    };
    let told = |rejection: &Rejection| {
        let mut text = rejection.to_string();
        let mut source = std::error::Error::source(rejection);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    };
    let long = format!("x{}", "y".repeat(200));
    let table = [
        (
            parameter("\"ed25519\"", "\"EdDSA\""),
            "JOSE uses this name for ed25519",
            "name the algorithm",
        ),
        (
            parameter("\"ed25519\"", "\"hs256\""),
            "JOSE uses this name for hmac-sha256",
            "name the algorithm",
        ),
        (
            parameter("\"ed25519\"", "\"none\""),
            "not an algorithm of RFC 9421",
            "name the algorithm",
        ),
        (parameter("pk_12345", "my key"), "keyid", "publishable key"),
        (
            parameter(";created", ";iss=1;created"),
            "parameter iss is not one of",
            "leave the parameter out",
        ),
        (
            parameter(";created", &format!(";{long}=1;created")),
            &long[..32],
            "leave the parameter out",
        ),
        (
            parameter("CQkJCQkJCQkJCQkJCQkJCQ", &"n".repeat(65)),
            "nonce is not 16 to 64",
            "16 random bytes",
        ),
    ];
    for (rejection, detail, hint) in table {
        let (text, told) = (told(&rejection), rejection.hint());
        assert!(text.contains(detail), "{text}");
        assert!(told.contains(hint), "{text}: {told}");
        assert!(!text.contains(&long[..33]), "no more of a name than is needed: {text}");
    }
    let digest = |value: &str| {
        let mut request = Request::unsigned();
        request.headers.insert("content-digest", value.parse().unwrap());
        request.signed_as(&params()).check_with(&Policy::default(), NOW).unwrap_err()
    };
    let hex = "5f8f04f6a3a892aaabbddb6cf273894493773960d4a325b105fee46eef4304f1";
    for wrong in
        [format!("sha-256={hex}"), format!("sha-256=\"{hex}\""), "SHA-256=X48E9qOo=".into()]
    {
        let rejection = digest(&wrong);
        assert_eq!(rejection.code(), Code::SignatureMalformed, "{wrong}");
        assert!(rejection.hint().contains("RFC 9530"), "{wrong}");
    }
    let mut older = Request::unsigned().signed_as(&params());
    older.headers.remove("content-digest");
    older.headers.insert("digest", HeaderValue::from_static("SHA-256=X48E9qOo="));
    let rejection = older.check_with(&Policy::default(), NOW).unwrap_err();
    assert!(rejection.hint().contains("older Digest field"));
}

#[test]
fn a_wrong_alg_is_told_from_a_signature_that_does_not_hold() {
    let renamed = params().replacen("\"ed25519\"", "\"EdDSA\"", 1);
    let request = Request::unsigned().signed_as(&renamed);
    let verifying_key = key().verifying_key();
    let candidate = |request: &Request| {
        let base = countersign::Candidate::select(&request.head().into(), None).unwrap();
        let verdict = base.insecure_verify_without_policy(&verifying_key).is_ok();
        (verdict, base.insecure_verify_whatever_alg(&verifying_key).is_ok())
    };
    assert_eq!(candidate(&request), (false, true));
    assert_eq!(candidate(&Request::unsigned().signed_as(&params())), (true, true));
    let mut forged = request.clone();
    forged.uri = Uri::from_static("/other");
    assert_eq!(candidate(&forged), (false, false));
}

#[test]
fn an_http_request_is_signed_as_it_is() {
    let (signer, nonce) = (Signer::new(key()), Nonce::from_random([9; 16]));
    let build = |uri: &str, host: Option<&str>| {
        let mut request = http::Request::post(uri).header("content-type", "application/json");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(BODY.to_vec()).unwrap()
    };
    let uri = "https://api.example.com/v1/orders?expand=customer";
    for host in [None, Some("api.example.com"), Some("API.example.com:443")] {
        let mut request = build(uri, host);
        signer.sign_request(&mut request, NOW, &nonce).unwrap();
        let (head, body) = request.into_parts();
        let received = Request { headers: head.headers, body, ..Request::unsigned() };
        assert_eq!(received.check(), Ok(()), "{host:?}");
    }
    for (uri, host) in [
        ("/v1/orders", Some("api.example.com")),
        ("ftp://api.example.com/", None),
        (uri, Some("b.example.com")),
        (uri, Some("")),
    ] {
        let mut request = build(uri, host);
        let refused = signer.sign_request(&mut request, NOW, &nonce);
        assert_eq!(refused, Err(SignError::Origin), "{uri} {host:?}");
        assert!(!request.headers().contains_key("signature"), "{uri}");
    }
}

#[test]
fn a_key_that_is_elsewhere_signs_what_a_signer_does() {
    use countersign::{PublishableKey, RemoteSigner};
    let nonce = Nonce::from_random([9; 16]);
    let unsigned = Request::unsigned();
    let hmac = || PrivateKey::hmac_sha256([1; 16], &[2; 32]).unwrap();
    for (here, there) in [(key(), key()), (hmac(), hmac())] {
        let local = Signer::new(here).sign(&unsigned.head(), BODY, NOW, &nonce).unwrap();
        let remote = RemoteSigner::new(there.publishable_key()).unwrap();
        let prepared = remote.prepare(&unsigned.head(), BODY, NOW, &nonce).unwrap();
        let signature = there.sign(prepared.signature_base().as_bytes());
        let fields = prepared.attach(&signature).unwrap();
        assert_eq!(fields.content_digest, local.content_digest);
        assert_eq!(fields.signature.input, local.signature.input);
        assert_eq!(fields.signature.signature, local.signature.signature);
    }
    let remote = RemoteSigner::new(key().publishable_key()).unwrap();
    let other = PrivateKey::ed25519(&[6; 32]);
    for signature in [other.sign(b"x"), key().sign(b"another base"), vec![0; 64], vec![]] {
        let prepared = remote.prepare(&unsigned.head(), BODY, NOW, &nonce).unwrap();
        assert_eq!(prepared.attach(&signature).map(drop), Err(SignError::Signature));
    }
    assert!(RemoteSigner::new(PublishableKey::ed25519([0; 32])).is_err(), "of small order");
}

/// A read without content, and what of its fields a handler must not see.
fn removed(request: &Request, policy: &Policy) -> Result<Vec<String>, Code> {
    let unverified = Unverified::parse(request.head(), Content::Absent, policy, NOW);
    let unverified = unverified.map_err(|rejection| rejection.code())?.unwrap();
    Ok(unverified.fields_to_remove().iter().map(ToString::to_string).collect())
}

fn read(method: Method) -> Request {
    let mut read = Request::unsigned();
    (read.method, read.body) = (method, Vec::new());
    read.headers.clear();
    read
}

#[test]
fn a_condition_that_is_added_to_a_read_is_hidden_from_its_handler() {
    let policy = Policy::default();
    let conditions = countersign::CONDITIONAL_FIELDS;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        for field in &conditions {
            let mut covered = read(method.clone());
            covered.headers.insert(field, HeaderValue::from_static("x"));
            covered.sign_with(key()).apply(&mut covered.headers);
            assert_eq!(
                removed(&covered, &policy),
                Ok(vec![]),
                "{method} {field}: the signer's own"
            );
            let mut added = read(method.clone());
            added.sign_with(key()).apply(&mut added.headers);
            assert_eq!(removed(&added, &policy), Ok(vec![]));
            added.headers.insert(field, HeaderValue::from_static("x"));
            assert_eq!(removed(&added, &policy), Ok(vec![field.to_string()]), "{method} {field}");
            let strict = policy.clone().cover_when_present([field.clone()]);
            assert_eq!(removed(&added, &strict), Err(Code::SignaturePolicy), "{method} {field}");
            assert_eq!(removed(&covered, &strict), Ok(vec![]), "{method} {field}");
        }
    }
}

#[test]
fn a_condition_that_is_added_to_what_may_be_a_write_is_refused() {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let mut write = read(method.clone());
        write.sign_with(key()).apply(&mut write.headers);
        assert_eq!(removed(&write, &Policy::default()), Ok(vec![]), "{method}");
        write.headers.insert("if-none-match", HeaderValue::from_static("*"));
        assert_eq!(removed(&write, &Policy::default()), Err(Code::SignaturePolicy), "{method}");
    }
    let mut overridden = read(Method::GET);
    overridden.headers.insert("x-http-method-override", HeaderValue::from_static("DELETE"));
    overridden.sign_with(key()).apply(&mut overridden.headers);
    assert_eq!(removed(&overridden, &Policy::default()), Ok(vec![]));
    overridden.headers.insert("if-match", HeaderValue::from_static("*"));
    assert_eq!(removed(&overridden, &Policy::default()), Err(Code::SignaturePolicy));
}

#[test]
fn another_target_cannot_be_added_to_any_method_unless_the_policy_hides_it() {
    for field in countersign::TARGET_OVERRIDES {
        let hiding = Policy::default().remove_uncovered([field.clone()]);
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let mut request = read(method.clone());
            request.sign_with(key()).apply(&mut request.headers);
            request.headers.insert(&field, HeaderValue::from_static("/admin"));
            let refused = removed(&request, &Policy::default());
            assert_eq!(refused, Err(Code::SignaturePolicy), "{method} {field}");
            assert_eq!(removed(&request, &hiding), Ok(vec![field.to_string()]), "{method} {field}");
            let again = hiding.clone().cover_when_present([field.clone()]);
            assert_eq!(removed(&request, &again), Err(Code::SignaturePolicy), "{method} {field}");
            let mut covered = read(method.clone());
            covered.headers.insert(&field, HeaderValue::from_static("/admin"));
            covered.sign_with(key()).apply(&mut covered.headers);
            for policy in [&Policy::default(), &hiding] {
                assert_eq!(removed(&covered, policy), Ok(vec![]), "{method} {field}");
            }
        }
    }
    let hiding = Policy::default().remove_uncovered([countersign::CONTENT_DIGEST]);
    let mut request = Request::unsigned().signed_as(&params());
    request.resign(&params().replace("\"content-digest\" ", ""));
    assert!(request.check_with(&hiding, NOW).is_err(), "a digest is never given up so");
}

#[test]
fn accept_signature_lists_conditions_for_writes_alone() {
    let mut request = Request::unsigned();
    request.headers.insert("if-match", HeaderValue::from_static("*"));
    let asked = |method| {
        let policy = Policy::default();
        policy.accept_signature(method, &request.headers, Content::Absent).to_string()
    };
    assert!(asked(&Method::PUT).contains("\"if-match\""));
    assert!(!asked(&Method::GET).contains("\"if-match\""));
}

#[test]
fn bytes_that_are_not_ascii_are_never_signed() {
    for value in [&b"caf\xc3\xa9"[..], b"\xff", b"a\x80b"] {
        let mut request = Request::unsigned();
        request.headers.insert("content-type", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(request.signed_as(&params()).check(), Err(Code::SignatureMalformed));
    }
    let mut tab = Request::unsigned();
    tab.headers.insert("content-type", HeaderValue::from_static("a\tb"));
    assert_eq!(tab.signed_as(&params()).check(), Ok(()));
}

#[test]
fn content_is_covered_whatever_the_method() {
    let mut request = Request::signed();
    request.headers.remove("content-digest");
    assert_eq!(request.check(), Err(Code::SignaturePolicy));
    let mut read = Request::unsigned();
    (read.method, read.body) = (Method::GET, Vec::new());
    read.sign_with(key()).apply(&mut read.headers);
    assert_eq!(read.check(), Ok(()));
    read.body = b"more".to_vec();
    assert_eq!(read.check(), Err(Code::SignaturePolicy));
    let loose = Policy::default().insecure_allow_unsigned_content();
    assert_eq!(read.check_with(&loose, NOW), Ok(()));
}

#[test]
fn content_that_was_not_announced_is_refused() {
    let mut read = Request::unsigned();
    (read.method, read.body) = (Method::GET, Vec::new());
    read.sign_with(key()).apply(&mut read.headers);
    let unverified = Unverified::parse(read.head(), Content::Absent, &Policy::default(), NOW);
    let authentic = unverified.unwrap().unwrap().verify(&key().verifying_key()).unwrap();
    let mut content = authentic.redeem(Claim::Fresh).unwrap().read();
    content.update(b"");
    assert!(content.clone().finish().is_ok());
    content.update(b"x");
    assert_eq!(content.finish().unwrap_err(), Rejection::DigestMismatch);
}

#[test]
fn our_tag_selects_among_signatures_and_only_ours_counts() {
    let both = |input: &str, signature: &str| {
        let mut request = Request::signed();
        let (own_input, own) = (request.get("signature-input"), request.get("signature"));
        request.put(&format!("{input}, {own_input}"), &format!("{signature}, {own}"));
        request.check()
    };
    assert_eq!(both(r#"proxy=("@method");tag="proxy""#, "proxy=:AAAA:"), Ok(()));
    assert_eq!(both(r#"proxy=("@unknown");tag="proxy";x=@1"#, "proxy=:AAAA:"), Ok(()));
    assert_eq!(both(r#"proxy=()"#, "proxy=:AAAA:"), Ok(()));
    let ours = r#"other=("@method");tag="countersign""#;
    assert_eq!(both(ours, "other=:AAAA:"), Err(Code::SignatureMalformed));
    assert_eq!(both(r#"proxy=("@unknown")"#, "proxy=:AAAA:"), Ok(()));
    assert_eq!(both("proxy=1", "proxy=:AAAA:"), Err(Code::SignatureMalformed));
    assert_eq!(both("proxy=()", "proxy=1"), Err(Code::SignatureMalformed));
    assert_eq!(both("proxy=()", "proxy2=:AAAA:"), Err(Code::SignatureMalformed));
    let many: Vec<_> = (0..8).map(|at| (format!("p{at}=()"), format!("p{at}=:AA==:"))).collect();
    let (inputs, signatures): (Vec<_>, Vec<_>) = many.into_iter().unzip();
    assert_eq!(both(&inputs.join(", "), &signatures.join(", ")), Err(Code::SignatureMalformed));
    assert_eq!(both(&inputs[1..].join(", "), &signatures[1..].join(", ")), Ok(()));
}

#[test]
fn a_label_on_a_second_line_is_the_same_label() {
    let mut request = Request::signed();
    let input = request.headers["signature-input"].clone();
    request.headers.append("signature-input", input);
    assert_eq!(request.check(), Err(Code::SignatureMalformed));
}

#[test]
fn signature_fields_above_8_kib_are_refused_unread() {
    let mut request = Request::signed();
    let filler = format!("x=\"{}\"", "a".repeat(8 * 1024));
    request.headers.append("signature-input", filler.parse().unwrap());
    assert_eq!(request.check(), Err(Code::HeaderTooLarge));
}

#[test]
fn signature_fields_of_8_kib_together_are_read_and_a_byte_more_is_not() {
    let sized = |size: usize| {
        let mut request = Request::signed();
        let (own_input, own) = (request.get("signature-input"), request.get("signature"));
        let fixed = own_input.len() + own.len() + r#"p=();nonce="", p=:AA==:, "#.len();
        let nonce = "a".repeat(size - fixed);
        request.put(&format!(r#"p=();nonce="{nonce}", {own_input}"#), &format!("p=:AA==:, {own}"));
        assert_eq!(request.get("signature-input").len() + request.get("signature").len(), size);
        request.check()
    };
    assert_eq!(sized(8192), Ok(()));
    assert_eq!(sized(8193), Err(Code::HeaderTooLarge));
}

#[test]
fn a_public_key_is_no_secret() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let public = key().publishable_key();
    let encodings = [
        public.as_bytes().to_vec(),
        STANDARD.encode(public.as_bytes()).into_bytes(),
        public.to_string().into_bytes(),
    ];
    for secret in encodings {
        let forger = PrivateKey::hmac_sha256([1; 16], &secret).unwrap();
        for alg in [";alg=\"hmac-sha256\"", ";alg=\"ed25519\"", ""] {
            let params = params().replace(";alg=\"ed25519\"", alg);
            let mut request = Request::unsigned().signed_as(&params);
            let base = countersign::Candidate::select(&request.head().into(), None).unwrap();
            let forged = forger.sign(base.signature_base().as_bytes());
            request.headers.insert("signature", field(&forged).parse().unwrap());
            assert_eq!(request.check(), Err(Code::SignatureInvalid), "{alg}");
        }
    }
}

/// Numbers below the order of Ed25519's base point, little-endian.
mod scalar {
    /// 2^252 + 27742317777372353535851937790883648493 (RFC 8032 §5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn reduced(mut number: [u8; 32]) -> [u8; 32] {
        let mut rest = number;
        let mut borrow = 0;
        for (digit, order) in rest.iter_mut().zip(ORDER) {
            let (less, one) = digit.overflowing_sub(order);
            let (less, two) = less.overflowing_sub(borrow);
            (*digit, borrow) = (less, u8::from(one || two));
        }
        if borrow == 0 {
            number = rest;
        }
        number
    }

    fn sum(one: [u8; 32], other: [u8; 32]) -> [u8; 32] {
        let (mut sum, mut carry) = ([0; 32], 0);
        for (digit, (one, other)) in sum.iter_mut().zip(one.into_iter().zip(other)) {
            let whole = u16::from(one) + u16::from(other) + carry;
            (*digit, carry) = ((whole & 0xff) as u8, whole >> 8);
        }
        reduced(sum)
    }

    /// `number` times `factor`, bit by bit.
    pub(super) fn product(number: &[u8], factor: &[u8]) -> [u8; 32] {
        let bits = |bytes: &[u8]| -> Vec<bool> {
            let bits = bytes
                .iter()
                .rev()
                .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
            bits.collect()
        };
        let mut one = [0; 32];
        one[0] = 1;
        let times = |factor: &[u8], number: [u8; 32]| {
            bits(factor).into_iter().fold([0; 32], |so_far, bit| {
                let doubled = sum(so_far, so_far);
                if bit { sum(doubled, number) } else { doubled }
            })
        };
        times(factor, times(number, one))
    }
}

/// The holder of a key can make a signature whose R is the neutral element, which then says nothing: S is what the key and
/// the message give. Plain verification accepts it, the strict one does not (RFC 9421 §3.3.6 leaves that open).
#[test]
fn an_r_of_small_order_is_refused_although_the_equation_holds() {
    use ed25519_dalek::{Signature, Verifier};
    use sha2::{Digest, Sha512};
    let seed = [5; 32];
    let public = key().publishable_key();
    let request = Request::signed();
    let base = countersign::Candidate::select(&request.head().into(), None).unwrap();
    let base = base.signature_base().as_bytes();
    let mut secret: [u8; 64] = Sha512::digest(seed).into();
    secret[0] &= 248;
    secret[31] = secret[31] & 127 | 64;
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let challenge =
        Sha512::new().chain_update(neutral).chain_update(public.as_bytes()).chain_update(base);
    let s = scalar::product(&challenge.finalize(), &secret[..32]);
    let signature = [neutral, s].concat();
    let plain =
        ed25519_dalek::VerifyingKey::from_bytes(public.as_bytes().try_into().unwrap()).unwrap();
    let parsed = Signature::from_slice(&signature).unwrap();
    assert!(plain.verify(base, &parsed).is_ok(), "the equation holds");
    assert!(plain.verify_strict(base, &parsed).is_err());
    for key in [key().verifying_key(), key().verifying_key().prepared()] {
        assert_eq!(key.verify(base, &signature), Err(countersign::BadSignature));
    }
    let mut forged = request.clone();
    forged.headers.insert("signature", field(&signature).parse().unwrap());
    assert_eq!(forged.check(), Err(Code::SignatureInvalid));
}

#[test]
fn a_claim_that_is_not_fresh_ends_the_request() {
    let second = std::time::Duration::from_secs(1);
    let cases = [
        (Claim::Replayed, Code::SignatureReplayed),
        (Claim::TooOld { retry_after: second }, Code::SignatureStale),
        (Claim::ShareUsedUp { retry_after: second }, Code::RateLimited),
    ];
    let request = Request::signed();
    for (claim, expected) in cases {
        let unverified =
            Unverified::parse(request.head(), Content::Present, &Policy::default(), NOW);
        let authentic = unverified.unwrap().unwrap().verify(&key().verifying_key()).unwrap();
        assert_eq!(authentic.redeem(claim).unwrap_err().code(), expected);
    }
}

#[test]
fn what_a_policy_asks_for_is_what_a_signer_then_covers() {
    let tenant = HeaderName::from_static("x-tenant");
    let policy = Policy::default().cover_when_present([tenant.clone()]);
    let mut request = Request::unsigned();
    request.headers.insert(tenant, HeaderValue::from_static("t1"));
    let (signer, nonce) = (Signer::new(key()), Nonce::from_random([9; 16]));
    let sign = |request: &Request, more: &[Component<'_>]| {
        let mut signed = request.clone();
        let fields = signer.sign_covering(more, &request.head(), &request.body, NOW, &nonce);
        fields.map(|fields| {
            fields.apply(&mut signed.headers);
            signed
        })
    };
    let plain = sign(&request, &[]).unwrap();
    assert!(plain.check_with(&policy, NOW).is_err());
    let asked = policy.accept_signature(&request.method, &request.headers, Content::Present);
    let more = signer.asked_beyond(&asked).unwrap();
    assert_eq!(more, ["x-tenant".parse().unwrap()]);
    assert_eq!(sign(&request, &more).unwrap().check_with(&policy, NOW), Ok(()));
    request.headers.append("x-tenant", HeaderValue::from_static("t2"));
    assert!(matches!(sign(&request, &more), Err(SignError::Base(_))), "it is there twice");
    request.headers.remove("x-tenant");
    assert!(matches!(sign(&request, &more), Err(SignError::Base(_))), "it is not there");
    assert!(sign(&request, &[r#""@method";req"#.parse().unwrap()]).is_err());
    let other = Policy::default().tag("other").unwrap();
    let asked = other.accept_signature(&request.method, &request.headers, Content::Present);
    assert_eq!(signer.asked_beyond(&asked), Err(Unmeetable::Tag));
}

#[test]
fn an_unknown_key_is_answered_like_a_bad_signature() {
    let request = Request::signed();
    let unverified = Unverified::parse(request.head(), Content::Present, &Policy::default(), NOW);
    let unverified = unverified.unwrap().unwrap();
    let nobody = PrivateKey::ed25519(&[77; 32]).verifying_key();
    assert_eq!(unverified.refuse_unknown_key(&nobody), Rejection::Invalid);
    assert_eq!(unverified.verify(&nobody).unwrap_err(), Rejection::Invalid);
}

#[test]
fn signing_leaves_no_room_for_another_reading() {
    let sign = |change: fn(&mut Request)| {
        let mut request = Request::unsigned();
        change(&mut request);
        let nonce = Nonce::from_random([9; 16]);
        Signer::new(key()).sign(&request.head(), &request.body, NOW, &nonce).is_ok()
    };
    assert!(sign(|_| {}));
    assert!(!sign(|it| it.uri = "/a//b".parse().unwrap()));
    assert!(!sign(|it| it.uri = "/a?".parse().unwrap()));
    assert!(!sign(|it| {
        it.headers.append("content-type", HeaderValue::from_static("x"));
    }));
    assert!(!sign(|it| drop(
        it.headers.insert("content-type", HeaderValue::from_bytes(b"\xe9").unwrap())
    )));
    assert!(!sign(|it| drop(
        it.headers.insert("content-digest", HeaderValue::from_static("sha-256=:AA==:"))
    )));
    assert!(!sign(|it| it.put("sig=()", "sig=:AAAA:")));
    assert!(sign(|it| it.put("other=()", "other=:AAAA:")));
    assert!(!sign(|it| it.put("other=(", "other=:AAAA:")));
}

proptest! {
    #[test]
    fn no_signature_fields_panic_and_none_of_them_pass(
        input in "(sig=)?[\\x20-\\x7e\\t]{0,200}",
        signature in "(sig=:)?[\\x20-\\x7e\\t]{0,100}",
    ) {
        let mut request = Request::unsigned();
        if let (Ok(input), Ok(signature)) = (input.parse(), signature.parse()) {
            request.headers.insert("signature-input", input);
            request.headers.insert("signature", signature);
            prop_assert!(request.check().is_err());
        }
    }

    #[test]
    fn a_mutated_signature_input_never_passes(at in 0usize..400, byte in 0x20u8..0x7f) {
        let mut request = Request::signed();
        let mut text = request.get("signature-input").into_bytes();
        let at = at % text.len();
        prop_assume!(text[at] != byte);
        text[at] = byte;
        request.headers.insert("signature-input", HeaderValue::from_bytes(&text).unwrap());
        prop_assert!(request.check().is_err());
    }

    #[test]
    fn whatever_is_signed_is_verified(
        path in "(/[A-Za-z0-9_~!$&'()*+,;=:@-]{1,12}){1,4}",
        query in proptest::option::of("[A-Za-z0-9_~!$&'()*+,;=:@/?-]{1,40}"),
        method in "[A-Z]{1,10}",
        body: Vec<u8>,
        value in "[\\x21-\\x7e]([\\x20-\\x7e]{0,40}[\\x21-\\x7e])?",
    ) {
        let mut request = Request::unsigned();
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        request.uri = target.parse().unwrap();
        request.method = method.parse().unwrap();
        request.body = body;
        request.headers.insert("content-type", value.parse().unwrap());
        request.sign_with(key()).apply(&mut request.headers);
        prop_assert_eq!(request.check(), Ok(()));
    }
}
