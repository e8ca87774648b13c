//! One change away from an answer that passes, and why each is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use countersign::{
    BadPolicy, KeyError, KeyId, Malformed, Nonce, Origin, PrivateKey, RESPONSE_TAG, RequestHead,
    ResponseHead, ResponsePolicy, ResponseRejection, ResponseSigner, ServerKeys, SignError,
    SignatureParams, Signer, Stale, Target, Timestamp, Unmet, UnverifiedResponse, sign,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
const CONTENT: &[u8] = br#"{"id":1}"#;

#[derive(Clone)]
struct Request {
    method: Method,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
}

impl Request {
    fn unsigned() -> Self {
        Self {
            method: Method::GET,
            uri: Uri::from_static("/v1/orders?state=new"),
            origin: "https://api.example.com".parse().unwrap(),
            headers: HeaderMap::new(),
        }
    }

    fn signed() -> Self {
        Self::unsigned().sign(9)
    }

    fn sign(mut self, nonce: u8) -> Self {
        let signer = Signer::new(PrivateKey::ed25519(&[5; 32]));
        let nonce = Nonce::from_random([nonce; 16]);
        let fields = signer.sign(&self.head(), b"", NOW, &nonce).unwrap();
        fields.apply(&mut self.headers);
        self
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Answer {
    fn plain() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status: StatusCode::OK, headers, content: CONTENT.to_vec() }
    }

    fn head(&self) -> ResponseHead<'_> {
        ResponseHead { status: self.status, headers: &self.headers }
    }

    fn sign(mut self, request: &Request) -> Result<Self, SignError> {
        let fields = signer().sign(&self.head(), &request.head(), &self.content, NOW)?;
        fields.apply(&mut self.headers);
        Ok(self)
    }

    fn to(request: &Request) -> Self {
        Self::plain().sign(request).unwrap()
    }

    fn verify_by(
        &self,
        request: &Request,
        policy: &ResponsePolicy,
        now: Timestamp,
    ) -> Result<Timestamp, ResponseRejection> {
        let unverified = UnverifiedResponse::parse(self.head(), request.head(), policy, now)?;
        let mut check = unverified.verify(&server_keys())?.read();
        self.content.chunks(3).for_each(|piece| check.update(piece));
        Ok(check.finish()?.created())
    }

    fn verify(&self, request: &Request) -> Result<Timestamp, ResponseRejection> {
        self.verify_by(request, &ResponsePolicy::default(), NOW)
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }

    /// Signed by whoever has the server's key, but in another way.
    fn with_input(request: &Request, components: &[&str], change: Change) -> Self {
        let mut answer = Self::plain();
        let digest = countersign::ContentDigest::sha256(CONTENT).to_header().unwrap();
        answer.headers.insert(countersign::CONTENT_DIGEST, digest);
        let key_id = key_id(SERVER);
        let mut params = SignatureParams {
            label: "any",
            components: components.iter().map(|text| text.parse().unwrap()).collect(),
            created: Some(NOW),
            expires: None,
            nonce: None,
            key_id: Some(&key_id),
            algorithm: None,
            tag: Some(RESPONSE_TAG),
        };
        change(&mut params);
        let message = countersign::Message::from(answer.head()).with_request(request.head());
        let fields = sign(&message, &PrivateKey::ed25519(&[SERVER; 32]), &params).unwrap();
        fields.apply(&mut answer.headers);
        answer
    }
}

type Change = fn(&mut SignatureParams<'_>);

const SERVER: u8 = 7;

const COVERED: [&str; 9] = [
    "@status",
    "content-digest",
    "content-type",
    "@method;req",
    "@authority;req",
    "@path;req",
    "@query;req",
    r#"signature-input;req;key="sig""#,
    r#"signature;req;key="sig""#,
];

fn signer() -> ResponseSigner {
    ResponseSigner::new(PrivateKey::ed25519(&[SERVER; 32])).unwrap()
}

fn server_keys() -> ServerKeys {
    ServerKeys::new([8, SERVER].map(|seed| PrivateKey::ed25519(&[seed; 32]).verifying_key()))
        .unwrap()
}

fn key_id(seed: u8) -> String {
    let thumbprint = PrivateKey::ed25519(&[seed; 32]).publishable_key().thumbprint();
    KeyId::Thumbprint(thumbprint.unwrap()).to_string()
}

#[test]
fn an_answer_says_what_it_is_and_what_it_answers() {
    let answer = Answer::to(&Request::signed());
    let input = answer.headers["signature-input"].to_str().unwrap();
    let expected = format!(
        r#"countersign=("@status" "content-digest" "content-type" "@method";req "@authority";req "@path";req "@query";req "signature-input";req;key="sig" "signature";req;key="sig");created=1763900000;keyid="{}";alg="ed25519";tag="countersign-response""#,
        key_id(SERVER),
    );
    assert_eq!(input, expected);
    let request = Request::signed();
    let policy = ResponsePolicy::default();
    let read = UnverifiedResponse::parse(answer.head(), request.head(), &policy, NOW).unwrap();
    let base = read.signature_base().as_str();
    let [asked, signature] = ["signature-input", "signature"].map(|name| {
        let member = request.headers[name].to_str().unwrap();
        member.strip_prefix("sig=").unwrap()
    });
    assert!(base.starts_with("\"@status\": 200\n\"content-digest\": sha-256=:"), "{base}");
    assert!(base.contains("\n\"@method\";req: GET\n\"@authority\";req: api.example.com\n"));
    assert!(base.contains(&format!(
        "\n\"signature-input\";req;key=\"sig\": {asked}\n\"signature\";req;key=\"sig\": {signature}\n"
    )));
}

#[test]
fn answers_of_all_kinds_pass() {
    type Made = fn() -> Answer;
    let answers: [(&str, Made); 6] = [
        ("with content", Answer::plain),
        ("empty", || Answer { content: Vec::new(), ..Answer::plain() }),
        ("no content", || Answer {
            status: StatusCode::NO_CONTENT,
            headers: HeaderMap::new(),
            content: Vec::new(),
        }),
        ("not modified, with the digest of what is not sent", || {
            let digest = countersign::ContentDigest::sha256(b"other").to_header().unwrap();
            let headers = HeaderMap::from_iter([(countersign::CONTENT_DIGEST, digest)]);
            Answer { status: StatusCode::NOT_MODIFIED, headers, content: Vec::new() }
        }),
        ("with a digest of its own", || {
            let mut answer = Answer::plain();
            let digest = countersign::ContentDigest::sha512(CONTENT).to_header().unwrap();
            answer.headers.insert(countersign::CONTENT_DIGEST, digest);
            answer
        }),
        ("with a signature of somebody else", || {
            let mut answer = Answer::plain();
            let params = SignatureParams {
                label: "theirs",
                components: vec!["@status".parse().unwrap()],
                created: Some(NOW),
                expires: None,
                nonce: None,
                key_id: Some("their-key"),
                algorithm: None,
                tag: None,
            };
            let key = PrivateKey::ed25519(&[3; 32]);
            let fields = sign(&answer.head().into(), &key, &params).unwrap();
            fields.apply(&mut answer.headers);
            answer
        }),
    ];
    let head = Request { method: Method::HEAD, ..Request::unsigned() }.sign(1);
    for request in [Request::signed(), Request::unsigned(), head] {
        for (name, make) in &answers {
            let mut answer = make().sign(&request).unwrap();
            if request.method == Method::HEAD {
                answer.content.clear();
            }
            assert_eq!(answer.verify(&request), Ok(NOW), "{name}, {}", request.method);
        }
    }
}

#[test]
fn changing_anything_of_an_answer_breaks_it() {
    use ResponseRejection::{DigestMismatch, Invalid, Unsigned};
    type Change = (&'static str, fn(&mut Answer), ResponseRejection);
    let absent = |name: &str| {
        let absent = countersign::BadBase::Absent(format!("\"{name}\""));
        ResponseRejection::Malformed(Malformed::Base(absent))
    };
    let uncovered = |name: &str| ResponseRejection::Policy(Unmet::PresentField(name.to_owned()));
    let changes: [Change; 12] = [
        ("status", |answer| answer.status = StatusCode::CREATED, Invalid),
        ("a byte of the content", |answer| answer.content[2] ^= 1, DigestMismatch),
        ("content cut short", |answer| answer.content.truncate(3), DigestMismatch),
        ("content that is gone", |answer| answer.content.clear(), DigestMismatch),
        ("content that is longer", |answer| answer.content.push(b' '), DigestMismatch),
        ("content type", |answer| answer.set("content-type", "text/html"), Invalid),
        (
            "no content type",
            |answer| drop(answer.headers.remove("content-type")),
            absent("content-type"),
        ),
        (
            "no digest",
            |answer| drop(answer.headers.remove("content-digest")),
            absent("content-digest"),
        ),
        (
            "another digest",
            |answer| {
                answer.content = b"other".to_vec();
                let digest = countersign::ContentDigest::sha256(b"other").to_header().unwrap();
                answer.headers.insert("content-digest", digest);
            },
            Invalid,
        ),
        (
            "a field that was not there",
            |answer| answer.set("location", "https://evil.example/"),
            uncovered("location"),
        ),
        (
            "an encoding that was not there",
            |answer| answer.set("content-encoding", "gzip"),
            uncovered("content-encoding"),
        ),
        (
            "no signature",
            |answer| {
                answer.headers.remove("signature");
                answer.headers.remove("signature-input");
            },
            Unsigned,
        ),
    ];
    let request = Request::signed();
    for (name, change, expected) in changes {
        let mut answer = Answer::to(&request);
        change(&mut answer);
        assert_eq!(answer.verify(&request), Err(expected), "{name}");
    }
}

#[test]
fn an_answer_is_none_to_another_request() {
    use ResponseRejection::{Invalid, Policy, RequestTag};
    let unbound = || Policy(Unmet::Component("signature-input;req"));
    let changed = |from: &str, to: &str| {
        let mut request = Request::signed();
        let input = request.headers["signature-input"].to_str().unwrap();
        let changed = input.replace(from, to);
        assert_ne!(input, changed);
        request.headers.insert("signature-input", changed.parse().unwrap());
        request
    };
    let requests: [(&str, Request, ResponseRejection); 11] = [
        ("the same, signed anew", Request::unsigned().sign(10), Invalid),
        // Such a one is refused, and what it is refused for is not what was sent.
        ("another time under the same signature", changed("=1763900000", "=1763890000"), Invalid),
        ("another key under the same signature", changed("pk_", "pk_1"), Invalid),
        ("other components under the same signature", changed(r#" "@query""#, ""), Invalid),
        ("method", Request { method: Method::POST, ..Request::signed() }, Invalid),
        (
            "path",
            Request { uri: "/v1/others?state=new".parse().unwrap(), ..Request::signed() },
            Invalid,
        ),
        (
            "query",
            Request { uri: "/v1/orders?state=old".parse().unwrap(), ..Request::signed() },
            Invalid,
        ),
        ("no query", Request { uri: "/v1/orders".parse().unwrap(), ..Request::signed() }, Invalid),
        (
            "host",
            Request { origin: "https://b.example.com".parse().unwrap(), ..Request::signed() },
            Invalid,
        ),
        (
            "unsigned",
            Request::unsigned(),
            ResponseRejection::Malformed(Malformed::Base(countersign::BadBase::Absent(
                r#""signature-input";req;key="sig""#.into(),
            ))),
        ),
        (
            "signed under another tag",
            {
                let mut request = Request::unsigned();
                let signer = Signer::new(PrivateKey::ed25519(&[5; 32])).tag("other").unwrap();
                let nonce = Nonce::from_random([1; 16]);
                let fields = signer.sign(&request.head(), b"", NOW, &nonce).unwrap();
                fields.apply(&mut request.headers);
                request
            },
            RequestTag,
        ),
    ];
    let answer = Answer::to(&Request::signed());
    for (name, request, expected) in requests {
        assert_eq!(answer.verify(&request), Err(expected), "{name}");
    }
    // What was said to nobody in particular is no answer to somebody.
    let public = Answer::to(&Request::unsigned());
    assert_eq!(public.verify(&Request::signed()), Err(unbound()));
}

#[test]
fn a_request_is_named_by_the_tag_that_it_was_signed_under() {
    let mut request = Request::unsigned();
    let request_signer = Signer::new(PrivateKey::ed25519(&[5; 32])).tag("my-api").unwrap();
    assert_eq!(request_signer.selected_tag(), "my-api");
    let nonce = Nonce::from_random([1; 16]);
    request_signer.sign(&request.head(), b"", NOW, &nonce).unwrap().apply(&mut request.headers);
    let signer = signer().request_tag("my-api").unwrap();
    let mut answer = Answer::plain();
    let fields = signer.sign(&answer.head(), &request.head(), CONTENT, NOW).unwrap();
    fields.apply(&mut answer.headers);
    let policy = ResponsePolicy::default().request_tag("my-api").unwrap();
    assert_eq!(answer.verify_by(&request, &policy, NOW), Ok(NOW));
    assert_eq!(answer.verify(&request), Err(ResponseRejection::RequestTag));
    // A server that goes by another tag does not know the request for a signed one.
    let unbound = ResponseRejection::Policy(Unmet::Component("signature-input;req"));
    assert_eq!(Answer::to(&request).verify_by(&request, &policy, NOW), Err(unbound));
    assert_eq!(ResponsePolicy::default().request_tag("").unwrap_err(), BadPolicy::Tag);
}

#[test]
fn what_is_not_covered_or_not_said_is_told_by_name() {
    let request = Request::signed();
    assert_eq!(Answer::with_input(&request, &COVERED, |_| ()).verify(&request), Ok(NOW));
    let missing = |name| ResponseRejection::Policy(Unmet::Component(name));
    let present = |name: &str| ResponseRejection::Policy(Unmet::PresentField(name.into()));
    let expected = [
        missing("@status"),
        present("content-digest"),
        present("content-type"),
        missing("@method;req"),
        missing("@authority;req"),
        missing("@path;req"),
        missing("@query;req"),
        missing("signature-input;req"),
        missing("signature;req"),
    ];
    for (left_out, expected) in COVERED.iter().zip(expected) {
        let components: Vec<_> =
            COVERED.iter().copied().filter(|component| component != left_out).collect();
        let answer = Answer::with_input(&request, &components, |_| ());
        assert_eq!(answer.verify(&request), Err(expected), "{left_out}");
    }
    let parameter = |name| ResponseRejection::Policy(Unmet::Parameter(name));
    let changes: [(&str, Change, ResponseRejection); 6] = [
        ("no created", |params| params.created = None, parameter("created")),
        ("no keyid", |params| params.key_id = None, parameter("keyid")),
        (
            "another key",
            |params| params.key_id = Some("some-other-key"),
            ResponseRejection::UnknownKey,
        ),
        ("no tag", |params| params.tag = None, ResponseRejection::Unsigned),
        (
            "the tag of requests",
            |params| params.tag = Some("countersign"),
            ResponseRejection::Unsigned,
        ),
        (
            "another algorithm",
            |params| params.algorithm = Some(countersign::Algorithm::HmacSha256),
            ResponseRejection::Invalid,
        ),
    ];
    for (name, change, expected) in changes {
        let answer = Answer::with_input(&request, &COVERED, change);
        assert_eq!(answer.verify(&request), Err(expected), "{name}");
    }
    let components: Vec<_> = COVERED.iter().copied().chain(["content-type;bs"]).collect();
    let answer = Answer::with_input(&request, &components, |_| ());
    assert_eq!(answer.verify(&request), Err(Malformed::Reformed.into()));
}

#[test]
fn content_without_a_covered_digest_is_told_at_its_end() {
    let request = Request::signed();
    let mut answer = Answer { content: Vec::new(), ..Answer::plain() }.sign(&request).unwrap();
    answer.content = CONTENT.to_vec();
    let expected = ResponseRejection::Policy(Unmet::ContentDigest);
    assert_eq!(answer.verify(&request), Err(expected));
}

#[test]
fn the_key_of_another_server_does_not_do() {
    let request = Request::signed();
    let answer = Answer::to(&request);
    let other = ServerKeys::new([PrivateKey::ed25519(&[1; 32]).verifying_key()]).unwrap();
    let policy = ResponsePolicy::default();
    let read = UnverifiedResponse::parse(answer.head(), request.head(), &policy, NOW).unwrap();
    assert_eq!(read.key_id().unwrap().to_string(), key_id(SERVER));
    assert_eq!(read.verify(&other).unwrap_err(), ResponseRejection::UnknownKey);
    let mut lying = answer.clone();
    let input = answer.headers["signature-input"].to_str().unwrap();
    let input = input.replace(&key_id(SERVER), &key_id(8)).parse().unwrap();
    lying.headers.insert("signature-input", input);
    assert_eq!(lying.verify(&request), Err(ResponseRejection::Invalid));
}

#[test]
fn the_time_counts_where_no_nonce_does() {
    let policy = ResponsePolicy::default();
    let at = |request: &Request, from_now: i64| {
        let now = Timestamp::from_unix(NOW.unix().checked_add_signed(from_now).unwrap());
        Answer::to(request).verify_by(request, &policy, now)
    };
    let unsigned = Request::unsigned();
    for (from_now, accepted) in [(0, true), (-10, true), (-11, false), (70, true), (71, false)] {
        let verdict = at(&unsigned, from_now);
        assert_eq!(verdict.is_ok(), accepted, "{from_now}: {verdict:?}");
        if !accepted {
            assert!(matches!(verdict, Err(ResponseRejection::Stale(_))), "{verdict:?}");
        }
        // It answers a signature that nobody had before.
        assert_eq!(at(&Request::signed(), from_now), Ok(NOW));
    }
    let expired = |request: &Request, components: &[&str]| {
        let answer = Answer::with_input(request, components, |params| {
            params.expires = Some(NOW.plus(Duration::from_secs(1)));
        });
        answer.verify_by(request, &policy, NOW.plus(Duration::from_secs(2)))
    };
    let stale = Stale::Expired { now: NOW.plus(Duration::from_secs(2)) };
    assert_eq!(expired(&unsigned, &COVERED[..7]), Err(ResponseRejection::Stale(stale)));
    let short = ResponsePolicy::default().window(Duration::from_secs(1), Duration::ZERO).unwrap();
    let now = NOW.plus(Duration::from_secs(2));
    assert!(Answer::to(&unsigned).verify_by(&unsigned, &short, now).is_err());
    assert!(ResponsePolicy::default().window(Duration::ZERO, Duration::ZERO).is_err());
}

#[test]
fn fields_that_are_added_to_the_list_are_covered_and_asked_for() {
    let tag = HeaderName::from_static("etag");
    let request = Request::signed();
    let mut answer = Answer::plain();
    answer.headers.insert(&tag, HeaderValue::from_static("\"1\""));
    let mut signed = answer.clone();
    let signer = signer().cover_when_present([tag.clone()]);
    let fields = signer.sign(&answer.head(), &request.head(), CONTENT, NOW).unwrap();
    fields.apply(&mut signed.headers);
    let policy = ResponsePolicy::default().cover_when_present([tag]);
    assert_eq!(signed.verify_by(&request, &policy, NOW), Ok(NOW));
    let without = answer.sign(&request).unwrap();
    assert_eq!(without.verify(&request), Ok(NOW));
    let expected = ResponseRejection::Policy(Unmet::PresentField("etag".into()));
    assert_eq!(without.verify_by(&request, &policy, NOW), Err(expected));
}

#[test]
fn what_cannot_be_signed_is_told() {
    let request = Request::signed();
    type Change = (&'static str, fn(&mut Answer), SignError);
    let answers: [Change; 4] = [
        (
            "a digest of other content",
            |answer| {
                let digest = countersign::ContentDigest::sha256(b"other").to_header().unwrap();
                answer.headers.insert("content-digest", digest);
            },
            SignError::ContentDigest,
        ),
        (
            "a field on two lines",
            |answer| {
                answer.headers.append("content-type", HeaderValue::from_static("text/html"));
            },
            SignError::RepeatedField(header::CONTENT_TYPE),
        ),
        (
            "an answer that is signed already",
            |answer| *answer = Answer::to(&Request::signed()),
            SignError::Labelled,
        ),
        (
            "signature fields that are malformed",
            |answer| {
                answer.headers.insert("signature", HeaderValue::from_static("?"));
            },
            SignError::Labelled,
        ),
    ];
    for (name, change, expected) in answers {
        let mut answer = Answer::plain();
        change(&mut answer);
        assert_eq!(answer.sign(&request).err(), Some(expected), "{name}");
    }
    // Under the tag of signed answers, whatever its label.
    let tagged = Answer::with_input(&request, &COVERED, |_| ());
    assert_eq!(tagged.sign(&request).err(), Some(SignError::Labelled));
}

#[test]
fn a_secret_signs_no_answers() {
    let hmac = PrivateKey::hmac_sha256([6; 16], &[6; 32]).unwrap();
    let refused = ResponseSigner::new(hmac).unwrap_err();
    assert!(matches!(refused, KeyError::WrongKind { .. }));
    assert!(refused.to_string().contains("countersign keygen"), "{refused}");
    assert!(!format!("{:?}", signer()).contains("7, 7, 7"));
}

#[test]
fn a_directory_is_signed_for_its_authority() {
    let request = Request::unsigned();
    let response = ResponseHead { status: StatusCode::OK, headers: &HeaderMap::new() };
    let lifetime = Duration::from_secs(300);
    let fields = signer().sign_directory(&response, &request.head(), NOW, lifetime).unwrap();
    let params = format!(
        r#"("@authority";req);created=1763900000;expires=1763900300;keyid="{}";alg="ed25519";tag="http-message-signatures-directory""#,
        key_id(SERVER),
    );
    assert_eq!(fields.input, format!("directory={params}"));
    let base = format!("\"@authority\";req: api.example.com\n\"@signature-params\": {params}");
    assert_eq!(fields.base.as_str(), base);
}

const INPUTS: &[&str] = &[
    r#"("@method")"#,
    "()",
    r#"( "@method"   "x";sf )"#,
    r#"("@unknown" "Upper" 1 token;q=:AA==:)"#,
    r#"("a,b";key="c,\"")"#,
];
const PARAMETERS: &[&str] = &[
    r#";tag="countersign""#,
    r#";created=1; tag="countersign" "#,
    r#";created=1.50;a=?0;b=@7;c=%"%c3%a9,";a=*;tag="countersign""#,
    r#";tag="other""#,
    "",
];
const SIGNATURES: &[&str] =
    &[":AAAA:", ":AA==:", "::", ":AAA:", r#":AAAA:;p=",""#, ":AAAA:\t", "1"];

/// The lines of both fields of some signatures, of which not all are well made.
fn signature_fields() -> impl Strategy<Value = [Vec<String>; 2]> {
    let one_of = prop::sample::select::<&str>;
    let signature = (one_of(INPUTS), one_of(PARAMETERS), one_of(SIGNATURES));
    let labels = Just(["sig", "b", "c*.-_1"]).prop_shuffle();
    let separators = prop::collection::vec(one_of(&[", ", ",", " ,\t", "\n"]), 2);
    let signatures = prop::collection::vec(signature, 1..=3);
    (labels, signatures, separators).prop_map(|(labels, signatures, separators)| {
        let mut fields = [String::new(), String::new()];
        let separators = std::iter::once("").chain(separators);
        let members = labels.iter().zip(signatures).zip(separators);
        for ((label, (input, parameters, signature)), separator) in members {
            fields[0].extend([separator, label, "=", input, parameters]);
            fields[1].extend([separator, label, "=", signature]);
        }
        fields.map(|field| field.lines().map(str::to_owned).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Otherwise whoever asked so would get none that is signed.
    #[test]
    fn whatever_signature_fields_a_request_has_its_answer_is_signed(
        fields in signature_fields(),
    ) {
        let mut request = Request::unsigned();
        for (name, lines) in ["signature-input", "signature"].into_iter().zip(fields) {
            for line in lines {
                request.headers.append(name, HeaderValue::from_str(&line).unwrap());
            }
        }
        let signed = Answer::plain().sign(&request);
        prop_assert!(signed.is_ok(), "{:?}: {:?}", request.headers, signed.err());
    }
}

proptest! {
    #[test]
    fn no_bit_of_a_signed_answer_can_be_flipped(bit in 0_usize..4096, field in 0_usize..4) {
        let request = Request::signed();
        let mut answer = Answer::to(&request);
        let names = ["content-digest", "content-type", "signature", "signature-input"];
        let name = names[field];
        let mut bytes = answer.headers[name].as_bytes().to_vec();
        let at = (bit / 8).checked_rem(bytes.len()).unwrap();
        bytes[at] ^= 1 << (bit % 8);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            answer.headers.insert(name, value);
            prop_assert!(answer.verify(&request).is_err(), "{name} {at}");
        }
    }
}
