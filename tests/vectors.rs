//! The test vectors of RFC 9421 and RFC 9530, step by step: component, base, signature, verdict.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use countersign::{
    Algorithm, AnyKeyFile, AnyVerifyingKey, BadDigest, CONTENT_DIGEST, Candidate, ContentDigest,
    DigestAlgorithm, FieldType, FieldTypes, KeyFile, Message, Origin, PrivateKey, REPR_DIGEST,
    Rejection, RequestHead, ResponseHead, Target, WANT_CONTENT_DIGEST, WANT_REPR_DIGEST,
    WantDigest,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use toml::{Table, Value};

fn vectors() -> Table {
    include_str!("vectors/rfc9421.toml").parse().unwrap()
}

fn list<'v>(vectors: &'v Table, name: &str) -> &'v [Value] {
    vectors[name].as_array().unwrap()
}

fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name].as_str().unwrap()
}

/// Fields of the RFC's examples that no registry knows.
const FIELD_TYPES: FieldTypes<'_> = FieldTypes::with(&[("example-dict", FieldType::Dictionary)]);

const DIGEST_FIELDS: [HeaderName; 2] = [CONTENT_DIGEST, REPR_DIGEST];
const WANT_FIELDS: [HeaderName; 2] = [WANT_CONTENT_DIGEST, WANT_REPR_DIGEST];

/// A message as text: the head with LF line ends, an empty line, the content.
struct MessageText {
    start: Start,
    headers: HeaderMap,
    content: String,
    /// The fields behind chunked content.
    trailers: HeaderMap,
}

enum Start {
    Request { method: Method, uri: Uri, origin: Origin },
    Response { status: StatusCode },
}

impl MessageText {
    fn parse(text: &str, scheme: &str) -> Self {
        let (head, content) = text.split_once("\n\n").unwrap_or((text, ""));
        // Obsolete line folding is one space (RFC 9112 §5.2).
        let mut lines: Vec<String> = Vec::new();
        for line in head.lines() {
            match line.strip_prefix([' ', '\t']) {
                Some(rest) => {
                    let last = lines.last_mut().unwrap();
                    last.push(' ');
                    last.push_str(rest.trim());
                }
                None => lines.push(line.to_owned()),
            }
        }
        let (start, lines) = lines.split_first().unwrap();
        let headers = fields(lines.iter().map(String::as_str));
        let trailers = match headers.get("transfer-encoding") {
            Some(_) => fields(content.rsplit_once("\n0\n").unwrap().1.lines()),
            None => HeaderMap::new(),
        };
        let words: Vec<_> = start.splitn(3, ' ').collect();
        let start = if words[0].starts_with("HTTP/") {
            Start::Response { status: words[1].parse().unwrap() }
        } else {
            let host = headers.get("host").map_or("www.example.com", |host| host.to_str().unwrap());
            Start::Request {
                method: words[0].parse().unwrap(),
                uri: words[1].parse().unwrap(),
                origin: Origin::new(scheme.parse().unwrap(), host).unwrap(),
            }
        };
        Self { start, headers, content: content.to_owned(), trailers }
    }

    fn request(&self) -> RequestHead<'_> {
        let Start::Request { method, uri, origin } = &self.start else { panic!("a response") };
        let target = Target::new(uri, Version::HTTP_11);
        RequestHead { method, target, origin, headers: &self.headers }
    }

    fn message<'m>(&'m self, answers: Option<&'m Self>) -> Message<'m> {
        let message = match &self.start {
            Start::Request { .. } => Message::from(self.request()),
            Start::Response { status } => {
                Message::from(ResponseHead { status: *status, headers: &self.headers })
            }
        };
        let message = message.with_trailers(&self.trailers).with_field_types(FIELD_TYPES);
        match answers {
            Some(request) => message.with_request(request.request()),
            None => message,
        }
    }

    /// With nothing but this signature.
    fn signed(mut self, label: &str, input: &str, signature: &str) -> Self {
        self.headers.insert("signature-input", format!("{label}={input}").parse().unwrap());
        self.headers.insert("signature", format!("{label}=:{signature}:").parse().unwrap());
        self
    }

    /// The base of these components alone.
    fn base(self, components: &str) -> Result<String, Rejection> {
        let signed = self.signed("sig", &format!("({components})"), "AAAA");
        let candidate = Candidate::select(&signed.message(None), Some("sig"))?;
        Ok(candidate.signature_base().as_str().to_owned())
    }
}

fn fields<'l>(lines: impl Iterator<Item = &'l str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    headers
}

#[test]
fn every_component_has_the_value_that_the_rfc_prints() {
    let vectors = vectors();
    let components = list(&vectors, "components");
    assert_eq!(components.len(), 47);
    for vector in components {
        let (id, component) = (text(vector, "id"), text(vector, "component"));
        let message = MessageText::parse(text(vector, "message_text"), text(vector, "scheme"));
        let line = text(vector, "line");
        let expected = format!("{line}\n\"@signature-params\": ({component})");
        assert_eq!(message.base(component).unwrap(), expected, "{id}");
    }
}

#[test]
fn every_case_has_the_base_and_the_verdict_that_the_rfc_prints() {
    let vectors = vectors();
    let cases = list(&vectors, "cases");
    assert_eq!(cases.len(), 20);
    let mut verdicts = 0;
    for case in cases {
        let (id, label) = (text(case, "id"), text(case, "label"));
        let (input, signature) = (text(case, "signature_input"), text(case, "signature"));
        let named = |name: &str| {
            let message = &vectors["messages"][name];
            MessageText::parse(text(message, "text"), text(case, "scheme"))
        };
        let answers = case.get("related_request").map(|name| named(name.as_str().unwrap()));
        let signed = named(text(case, "message")).signed(label, input, signature);
        let message = signed.message(answers.as_ref());
        let candidate = Candidate::select(&message, Some(label)).unwrap();
        let expected =
            case.get("signature_base").unwrap_or_else(|| &case["signature_base_as_received"]);
        let base = candidate.signature_base();
        assert_eq!(base.as_str(), expected.as_str().unwrap(), "{id}");
        if answers.is_some() {
            let alone = Candidate::select(&signed.message(None), Some(label));
            assert!(alone.is_err(), "{id}: without the request that it answers");
        }

        let keys = keys(&vectors, text(case, "keyid"));
        let algorithm: Algorithm = text(case, "alg").parse().unwrap();
        for (form, key) in keys.into_iter().enumerate() {
            let says = key.algorithm().is_some() || text(case, "signature_input").contains("alg=");
            let undecided = candidate.insecure_verify_without_policy(&key);
            let key = key.with_algorithm(algorithm).unwrap();
            let verdict = candidate.insecure_verify_without_policy(&key);
            assert_eq!(verdict.is_ok(), text(case, "expect") == "valid", "{id}");
            assert_eq!(undecided.is_ok(), verdict.is_ok() && says, "{id}");
            verdicts += 1;
            if verdict.is_ok() && form == 0 {
                flip_every_bit(&candidate, &key, &from_base64(signature), id);
            }
        }
        // Ed25519 and HMAC are deterministic: what we sign is what the RFC signed.
        let signer = match algorithm {
            Algorithm::Ed25519 => ed25519(&vectors),
            Algorithm::HmacSha256 => hmac(&vectors),
            _ => continue,
        };
        if text(case, "expect") == "valid" {
            assert_eq!(base64(&signer.sign(base.as_bytes())), signature, "{id}");
        }
    }
    assert_eq!(verdicts, 58);
}

/// The key of this name, from each of its forms.
fn keys(vectors: &Table, name: &str) -> Vec<AnyVerifyingKey> {
    if name == "test-shared-secret" {
        return vec![hmac(vectors).verifying_key().into()];
    }
    let vector = &vectors["keys"][name];
    let jwk = serde_json::to_string(&vector["jwk"]).unwrap();
    let forms = [text(vector, "public_pem"), text(vector, "private_pem"), &jwk];
    let read = |form: &str| {
        let key = AnyKeyFile::parse(form.as_bytes(), None).unwrap().into_verifying_key().unwrap();
        let thumbprint = key.thumbprint().unwrap();
        assert_eq!(base64url(&thumbprint), text(vector, "jwk_thumbprint_sha256"), "{name}");
        key
    };
    forms.map(read).into()
}

fn flip_every_bit(candidate: &Candidate, key: &AnyVerifyingKey, signature: &[u8], id: &str) {
    let base = candidate.signature_base().as_bytes();
    for at in 0..signature.len() {
        for bit in 0..8 {
            let mut changed = signature.to_vec();
            changed[at] ^= 1 << bit;
            assert!(key.verify(base, &changed).is_err(), "{id}: bit {bit} of byte {at}");
        }
    }
}

#[test]
fn no_alg_moves_a_key_to_another_algorithm() {
    use rsa::{Pkcs1v15Sign, pkcs8::DecodePrivateKey};
    use sha2::{Digest, Sha256};
    let vectors = vectors();
    let pem = |name: &str| text(&vectors["keys"][name], "private_pem").to_owned();
    let rsa = rsa::PrivateKey::from_pkcs8_pem(&pem("test-key-rsa-pss")).unwrap();
    let ecdsa = AnyKeyFile::parse(pem("test-key-ecc-p256").as_bytes(), None).unwrap();
    let ecdsa = ecdsa.into_private().unwrap();
    type Sign<'s> = &'s dyn Fn(&[u8]) -> Vec<u8>;
    let signers: [(&str, &str, Sign<'_>); 4] = [
        ("test-key-ed25519", "ed25519", &|base| ed25519(&vectors).sign(base)),
        ("test-shared-secret", "hmac-sha256", &|base| hmac(&vectors).sign(base)),
        ("test-key-ecc-p256", "ecdsa-p256-sha256", &|base| ecdsa.sign(base)),
        ("test-key-rsa-pss", "rsa-v1_5-sha256", &|base| {
            rsa.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(base)).unwrap()
        }),
    ];
    let algorithms = [
        None,
        Some("ed25519"),
        Some("hmac-sha256"),
        Some("ecdsa-p256-sha256"),
        Some("ecdsa-p384-sha384"),
        Some("rsa-pss-sha512"),
        Some("rsa-v1_5-sha256"),
        Some("none"),
    ];
    let message = || {
        let text = text(&vectors["messages"]["test-request"], "text");
        MessageText::parse(text, "https")
    };
    for (signer, own, sign) in signers {
        for named in algorithms {
            let alg = named.map(|name| format!(";alg=\"{name}\"")).unwrap_or_default();
            let input = format!("(\"@method\"){alg}");
            let unsigned = message().signed("sig", &input, "AAAA");
            let base = Candidate::select(&unsigned.message(None), None).unwrap();
            let signature = base64(&sign(base.signature_base().as_bytes()));
            let signed = message().signed("sig", &input, &signature);
            let candidate = Candidate::select(&signed.message(None), None).unwrap();
            for (name, ..) in signers {
                for key in keys(&vectors, name) {
                    let verdict = candidate.insecure_verify_without_policy(&key);
                    // A key that does not say its algorithm takes it from the message, and from nowhere else. One file
                    // of the RSA key says that it is for PSS alone.
                    let says = key.algorithm().map(Algorithm::as_str);
                    let agrees =
                        says.or(named) == Some(own) && named.is_none_or(|named| named == own);
                    assert_eq!(verdict.is_ok(), name == signer && agrees, "{name} {input}");
                }
            }
        }
    }
}

#[test]
fn every_digest_of_the_rfc_is_checked_and_what_is_insecure_never_counts() {
    let vectors = vectors();
    let digests = list(&vectors, "digests");
    assert_eq!(digests.len(), 13);
    for (vector, name) in digests.iter().flat_map(|one| DIGEST_FIELDS.map(|name| (one, name))) {
        let (id, field) = (text(vector, "id"), text(vector, "field"));
        let headers = HeaderMap::from_iter([(name.clone(), field.parse().unwrap())]);
        let digest = ContentDigest::from_field(&headers, &name);
        let algorithm = text(vector, "alg").parse::<DigestAlgorithm>();
        if text(vector, "status") != "Active" {
            assert_eq!(digest.unwrap_err(), BadDigest::Unsupported, "{id}");
            assert!(algorithm.is_err(), "{id}");
            continue;
        }
        let content = text(vector, "content").as_bytes();
        let holds = |digest: ContentDigest, content: &[u8]| {
            let mut check = digest.check();
            content.chunks(7).for_each(|piece| check.update(piece));
            check.finish().is_ok()
        };
        let (read, changed) = (digest.unwrap().unwrap(), [content, b" "].concat());
        assert!(holds(read, content) && !holds(read, &changed), "{id}");
        let made = ContentDigest::new(algorithm.unwrap(), content);
        assert_eq!(made.to_header().unwrap(), field, "{id}");
        let both = made.and(DigestAlgorithm::Sha256, content).and(DigestAlgorithm::Sha512, content);
        assert!(both.to_string().contains(field), "{id}");
        assert!(holds(both, content) && !holds(both, &changed), "{id}");
    }
}

#[test]
fn digests_are_wanted_in_the_order_that_the_rfc_gives() {
    let vectors = vectors();
    let wanted = list(&vectors, "want_digest");
    assert_eq!(wanted.len(), 2);
    for (vector, name) in wanted.iter().flat_map(|one| WANT_FIELDS.map(|name| (one, name))) {
        let field = text(vector, "field");
        let headers = HeaderMap::from_iter([(name.clone(), field.parse().unwrap())]);
        let want = WantDigest::from_field(&headers, &name).unwrap().unwrap();
        let order: Vec<_> = want.preferred().into_iter().map(DigestAlgorithm::as_str).collect();
        let expected = list(vector.as_table().unwrap(), "order").iter();
        let expected: Vec<_> = expected.map(|one| one.as_str().unwrap()).collect();
        assert_eq!(order, expected, "{field}");
        assert_eq!(want.to_string(), field);
    }
}

#[test]
fn the_messages_have_the_digests_they_say_they_have() {
    let vectors = vectors();
    let mut with_digest = 0;
    for (id, message) in vectors["messages"].as_table().unwrap() {
        let message = MessageText::parse(text(message, "text"), "https");
        let Some(digest) = ContentDigest::from_headers(&message.headers).unwrap() else { continue };
        let mut check = digest.check();
        check.update(message.content.as_bytes());
        assert!(check.finish().is_ok(), "{id}");
        with_digest += 1;
    }
    assert!(with_digest >= 8, "{with_digest}");
}

#[test]
fn the_keys_have_the_names_that_are_printed() {
    let vectors = vectors();
    let vector = &vectors["keys"]["test-key-ed25519"];
    let thumbprint = ed25519(&vectors).verifying_key().thumbprint().unwrap();
    assert_eq!(base64url(&thumbprint), text(vector, "jwk_thumbprint_sha256"));
    let jwk = serde_json::to_string(&vector["jwk"]).unwrap();
    for file in [text(vector, "public_pem"), &jwk] {
        let key = KeyFile::parse(file.as_bytes(), None).unwrap();
        assert_eq!(key.publishable_key(), ed25519(&vectors).publishable_key());
    }
}

fn ed25519(vectors: &Table) -> PrivateKey {
    let pem = text(&vectors["keys"]["test-key-ed25519"], "private_pem");
    KeyFile::parse(pem.as_bytes(), None).unwrap().into_private().unwrap()
}

fn hmac(vectors: &Table) -> PrivateKey {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let secret = text(&vectors["keys"]["test-shared-secret"], "secret_base64");
    PrivateKey::hmac_sha256([0; 16], &STANDARD.decode(secret).unwrap()).unwrap()
}

fn from_base64(digits: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(digits).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

fn base64url(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}
