//! Several signatures on one message, signatures over signatures, and responses bound to their requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use countersign::{
    BadComponent, Candidate, Claim, Code, Component, Content, Malformed, Message, Nonce, Origin,
    Policy, PrivateKey, Rejection, RequestHead, ResponseHead, SignError, SignatureFields,
    SignatureInput, SignatureParams, Signer, Target, Timestamp, Unverified, sign,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
const BODY: &[u8] = br#"{"item":"book"}"#;

fn client() -> PrivateKey {
    PrivateKey::ed25519(&[5; 32])
}

fn proxy() -> PrivateKey {
    PrivateKey::ed25519(&[6; 32])
}

#[derive(Clone)]
struct Request {
    method: Method,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
}

impl Request {
    /// Signed by the client.
    fn signed() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut request = Self {
            method: Method::POST,
            uri: Uri::from_static("/v1/orders?expand=customer"),
            origin: "https://api.example.com".parse().unwrap(),
            headers,
        };
        let nonce = Nonce::from_random([9; 16]);
        let fields = Signer::new(client()).sign(&request.head(), BODY, NOW, &nonce).unwrap();
        fields.apply(&mut request.headers);
        request
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }

    /// Signed by a proxy too, over the client's signature, on the same lines or on its own.
    fn forwarded(lines: Lines) -> Self {
        let mut request = Self::signed();
        request.headers.insert("forwarded", HeaderValue::from_static("for=192.0.2.1"));
        let components = [SIGNATURE, INPUT, r#""forwarded""#];
        let fields = sign_with(&request.head().into(), &proxy(), "proxy", &components);
        match lines {
            Lines::Own => fields.apply(&mut request.headers),
            Lines::Joined => {
                for (name, more) in
                    [("signature-input", fields.input), ("signature", fields.signature)]
                {
                    let joined = format!("{}, {}", request.get(name), more.to_str().unwrap());
                    request.headers.insert(name, joined.parse().unwrap());
                }
            }
        }
        request
    }

    fn get(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    /// Changes the first line of a field.
    fn replace(&mut self, name: &'static str, from: &str, to: &str) {
        let mut lines: Vec<_> = self.headers.get_all(name).iter().cloned().collect();
        let changed = lines.remove(0).to_str().unwrap().replacen(from, to, 1);
        self.headers.insert(name, changed.parse().unwrap());
        for line in lines {
            self.headers.append(name, line);
        }
    }

    /// As a server judges the client's signature.
    fn check(&self) -> Result<(), Code> {
        let verdict = (|| {
            let policy = Policy::default();
            let request = Unverified::parse(self.head(), Content::Present, &policy, NOW)?;
            let authentic =
                request.ok_or(Rejection::Required)?.verify(&client().verifying_key())?;
            let mut check = authentic.redeem(Claim::Fresh)?.read();
            check.update(BODY);
            check.finish().map(drop)
        })();
        verdict.map_err(|rejection| rejection.code())
    }

    /// Whether the signature of this label holds.
    fn holds(&self, label: &str, key: &PrivateKey) -> bool {
        let message = Message::from(self.head());
        let candidate = Candidate::select(&message, Some(label));
        candidate.is_ok_and(|one| one.insecure_verify_without_policy(&key.verifying_key()).is_ok())
    }
}

#[derive(Clone, Copy, Debug)]
enum Lines {
    Own,
    Joined,
}

const SIGNATURE: &str = r#""signature";key="sig""#;
const INPUT: &str = r#""signature-input";key="sig""#;

fn sign_with(
    message: &Message<'_>,
    key: &PrivateKey,
    label: &str,
    components: &[&str],
) -> SignatureFields {
    let components = components.iter().map(|text| text.parse().unwrap()).collect();
    sign(message, key, &params(label, components)).unwrap()
}

fn params<'a>(label: &'a str, components: Vec<Component<'a>>) -> SignatureParams<'a> {
    SignatureParams {
        label,
        components,
        created: Some(NOW),
        expires: None,
        nonce: None,
        key_id: Some("proxy-key"),
        algorithm: None,
        tag: Some("proxy"),
    }
}

#[test]
fn signatures_of_several_signers_hold_beside_each_other() {
    for lines in [Lines::Own, Lines::Joined] {
        let mut request = Request::forwarded(lines);
        let audit = sign_with(&request.head().into(), &proxy(), "audit", &["@method"]);
        audit.apply(&mut request.headers);
        let labels = SignatureInput::all(&request.headers).unwrap();
        let labels: Vec<_> = labels.iter().map(|one| one.input.label()).collect();
        assert_eq!(labels, ["sig", "proxy", "audit"], "{lines:?}");
        for (label, key) in [("sig", client()), ("proxy", proxy()), ("audit", proxy())] {
            assert!(request.holds(label, &key), "{label} {lines:?}");
        }
        for (label, key) in [("sig", proxy()), ("proxy", client()), ("none", client())] {
            assert!(!request.holds(label, &key), "{label} {lines:?}");
        }
        let message = Message::from(request.head());
        assert!(Candidate::select(&message, None).is_err(), "which one is not said");
    }
}

#[test]
fn a_signature_over_another_breaks_when_that_one_is_changed() {
    type Change = (&'static str, fn(&mut Request));
    let changes: [Change; 4] = [
        ("another nonce", |it| it.replace("signature-input", "nonce=\"CQ", "nonce=\"DQ")),
        ("less covered", |it| it.replace("signature-input", " \"@query\"", "")),
        ("another order", |it| {
            it.replace(
                "signature-input",
                "\"@method\" \"@authority\"",
                "\"@authority\" \"@method\"",
            );
        }),
        ("signed anew", |it| {
            let other = Nonce::from_random([8; 16]);
            let mut plain = it.clone();
            plain.headers.remove("signature");
            plain.headers.remove("signature-input");
            let again = Signer::new(client()).sign(&plain.head(), BODY, NOW, &other).unwrap();
            let signature = again.signature.signature.to_str().unwrap().to_owned();
            let first = it.get("signature").split(", ").next().unwrap().to_owned();
            it.replace("signature", &first, &signature);
        }),
    ];
    for lines in [Lines::Own, Lines::Joined] {
        assert!(Request::forwarded(lines).holds("proxy", &proxy()));
        for (what, change) in changes {
            let mut request = Request::forwarded(lines);
            change(&mut request);
            assert!(!request.holds("proxy", &proxy()), "{what} {lines:?}");
            assert!(!request.holds("sig", &client()), "{what} {lines:?}");
        }
        let mut request = Request::forwarded(lines);
        request.headers.insert("forwarded", HeaderValue::from_static("for=192.0.2.9"));
        assert!(!request.holds("proxy", &proxy()));
        assert!(request.holds("sig", &client()), "it never covered that");
    }
}

#[test]
fn a_signature_that_is_not_there_cannot_be_covered() {
    let request = Request::signed();
    for name in ["signature", "signature-input"] {
        let component: Component<'_> = format!("{name};key=\"other\"").parse().unwrap();
        let params = params("proxy", vec![component]);
        let signed = sign(&request.head().into(), &proxy(), &params);
        assert!(matches!(signed, Err(SignError::Base(_))), "{name}");
    }
}

#[test]
fn a_proxys_signature_beside_ours_passes_the_default_policy() {
    for lines in [Lines::Own, Lines::Joined] {
        let request = Request::forwarded(lines);
        assert_eq!(request.check(), Ok(()), "{lines:?}");
        // What the proxy signed is for others to judge, and ours stays ours.
        let mut broken = request.clone();
        broken.headers.insert("forwarded", HeaderValue::from_static("for=192.0.2.9"));
        assert_eq!(broken.check(), Ok(()), "{lines:?}");
        let mut broken = request;
        broken.replace("signature-input", "nonce=\"CQ", "nonce=\"DQ");
        assert_eq!(broken.check(), Err(Code::SignatureInvalid), "{lines:?}");
    }
}

#[test]
fn a_response_that_is_bound_to_a_request_fails_for_another() {
    let request = Request::signed();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let components = [
        "@status",
        "content-type",
        r#""@method";req"#,
        r#""@path";req"#,
        r#""@query-param";name="expand";req"#,
        r#""content-digest";req"#,
        r#""signature";key="sig";req"#,
    ];
    let response = ResponseHead { status: StatusCode::CREATED, headers: &headers };
    let message = Message::from(response).with_request(request.head());
    let fields = sign_with(&message, &proxy(), "sig", &components);
    fields.apply(&mut headers);
    let holds = |status: StatusCode, request: Option<&Request>| {
        let message = Message::from(ResponseHead { status, headers: &headers });
        let message = request.map_or(message, |request| message.with_request(request.head()));
        let candidate = Candidate::select(&message, None);
        candidate
            .is_ok_and(|one| one.insecure_verify_without_policy(&proxy().verifying_key()).is_ok())
    };
    assert!(holds(StatusCode::CREATED, Some(&request)));
    assert!(!holds(StatusCode::OK, Some(&request)));
    assert!(!holds(StatusCode::CREATED, None));
    type Change = (&'static str, fn(&mut Request));
    let changes: [Change; 5] = [
        ("method", |it| it.method = Method::PUT),
        ("path", |it| it.uri = Uri::from_static("/v1/refunds?expand=customer")),
        ("query parameter", |it| it.uri = Uri::from_static("/v1/orders?expand=supplier")),
        ("digest", |it| it.replace("content-digest", "sha-256=:T", "sha-256=:U")),
        ("signature", |it| it.replace("signature", "sig=:", "sig=:AAAA")),
    ];
    for (what, change) in changes {
        let mut other = request.clone();
        change(&mut other);
        assert!(!holds(StatusCode::CREATED, Some(&other)), "{what}");
    }
    let mut same = request;
    same.headers.insert("user-agent", HeaderValue::from_static("another"));
    assert!(holds(StatusCode::CREATED, Some(&same)), "that is not bound");
}

#[test]
fn a_candidate_tells_what_the_message_says_of_its_signature() {
    let mut request = Request::signed();
    let message = request.head().into();
    let candidate = Candidate::select(&message, None).unwrap();
    assert_eq!(candidate.label(), "sig");
    assert_eq!(candidate.algorithm(), Some("ed25519"));
    assert_eq!(candidate.key_id(), Some(client().publishable_key().to_string().as_str()));
    let (content, policy) = (Content::Present, Policy::default());
    let unverified = Unverified::parse(request.head(), content, &policy, NOW).unwrap().unwrap();
    assert_eq!(unverified.signature_base(), candidate.signature_base());
    for components in [candidate.components(), unverified.components()] {
        let covered = components.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let expected = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type""#;
        assert_eq!(covered, expected);
    }
    request.headers.insert("signature-input", HeaderValue::from_static(r#"mine=("@method")"#));
    request.headers.insert("signature", HeaderValue::from_static("mine=:AAAA:;p"));
    let message = request.head().into();
    let candidate = Candidate::select(&message, None).unwrap();
    assert_eq!(candidate.label(), "mine");
    assert_eq!((candidate.algorithm(), candidate.key_id()), (None, None));
}

#[test]
fn a_tag_that_has_to_be_escaped_is_as_good_as_any() {
    let tag = r#"my "own" \ tag"#;
    let mut request = Request::signed();
    request.headers.remove("signature");
    request.headers.remove("signature-input");
    let nonce = Nonce::from_random([9; 16]);
    let signer = Signer::new(client()).tag(tag).unwrap();
    signer.sign(&request.head(), BODY, NOW, &nonce).unwrap().apply(&mut request.headers);
    let policy = Policy::default().tag(tag).unwrap();
    let check = |request: &Request| {
        let unverified = Unverified::parse(request.head(), Content::Present, &policy, NOW);
        let unverified = unverified.map_err(|rejection| rejection.code())?.unwrap();
        let authentic = unverified.verify(&client().verifying_key());
        authentic.map(drop).map_err(|rejection| rejection.code())
    };
    assert_eq!(check(&request), Ok(()));
    let text = request.headers["signature-input"].to_str().unwrap();
    assert!(text.ends_with(r#";tag="my \"own\" \\ tag""#), "{text}");
    for other in [text.replace(";tag", "; tag"), text.replace(" \"@path", "  \"@path")] {
        let mut request = request.clone();
        request.headers.insert("signature-input", other.parse().unwrap());
        assert_eq!(check(&request), Err(Code::SignatureMalformed), "{other}");
    }
}

#[test]
fn a_name_that_is_escaped_is_a_string_and_no_name() {
    let problem = |components: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("signature-input", format!("sig=({components})").parse().unwrap());
        headers.insert("signature", HeaderValue::from_static("sig=:AAAA:"));
        SignatureInput::all(&headers).unwrap()[0].input.components().map(drop).unwrap_err()
    };
    let of = |problem| Malformed::Component(problem);
    assert_eq!(problem(r#""a\"b""#), of(BadComponent::FieldName));
    assert_eq!(problem(r#""@\\""#), of(BadComponent::UnknownDerived));
    for other in ["method", "1", ":AA==:", "?1"] {
        assert_eq!(problem(other), of(BadComponent::NotAString), "{other}");
    }
}
