//! Of all answers that are one signed answer with something changed, in it or in its request, none verifies.
#![no_main]

use std::sync::LazyLock;

use countersign::{
    IntactResponse, ResponseHead, ResponsePolicy, ResponseRejection, ResponseSigner, ServerKeys,
    UnverifiedResponse,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use order::{NOW, Order, in_time, key};

const CONTENT: &[u8] = b"{\"total\":12}";

static SIGNER: LazyLock<ResponseSigner> = LazyLock::new(|| ResponseSigner::new(key()).unwrap());
static KEYS: LazyLock<ServerKeys> =
    LazyLock::new(|| ServerKeys::new([SIGNER.verifying_key()]).unwrap());
static SIGNED: LazyLock<Answer> = LazyLock::new(Answer::sign);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

impl Answer {
    fn sign() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut answer = Self { status: StatusCode::CREATED, headers };
        let order = Order::signed();
        let fields = SIGNER.sign(&answer.head(), &order.head(), CONTENT, NOW).unwrap();
        fields.apply(&mut answer.headers);
        answer
    }

    fn head(&self) -> ResponseHead<'_> {
        ResponseHead { status: self.status, headers: &self.headers }
    }

    fn verify(&self, order: &Order) -> Result<IntactResponse, ResponseRejection> {
        let policy = ResponsePolicy::default();
        let unverified = UnverifiedResponse::parse(self.head(), order.head(), &policy, NOW)?;
        let mut check = unverified.verify(&KEYS)?.read();
        check.update(CONTENT);
        check.finish()
    }
}

fuzz_target!(|data: (u8, u16, &[u8])| {
    let (what, at, bytes) = data;
    let (mut answer, mut order) = (SIGNED.clone(), Order::signed());
    let names = ["signature-input", "signature", "content-digest", "content-type"];
    let spliced = |headers: &mut HeaderMap| {
        let name = HeaderName::from_static(names[usize::from(what) % names.len()]);
        let mut value = headers[&name].as_bytes().to_vec();
        let at = usize::from(at) % value.len();
        let end = (at + bytes.len()).min(value.len());
        value.splice(at..end, bytes.iter().copied());
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(name, value);
        }
    };
    match what {
        0..=127 => spliced(&mut answer.headers),
        128..=191 => {
            if let Ok(status) = StatusCode::from_u16(at) {
                answer.status = status;
            }
        }
        192..=223 => {
            let Ok(uri) = http::Uri::try_from(bytes) else { return };
            order.uri = uri;
        }
        224..=247 => {
            // What the client itself has signed: only the signature is part of what an answer is bound to.
            let before = order.headers.clone();
            spliced(&mut order.headers);
            if order.headers["signature"] == before["signature"] {
                order.headers = before;
            }
        }
        _ => {
            // A directory that can be read says the same when it is written again.
            if let Ok(keys) = ServerKeys::from_jwks(bytes) {
                let again = ServerKeys::from_jwks(keys.to_jwks().as_bytes()).unwrap();
                assert_eq!(again.to_jwks(), keys.to_jwks());
            }
            return;
        }
    }
    let signed = Order::signed();
    let same = answer == *SIGNED
        && order.headers == signed.headers
        && order.uri.path_and_query() == signed.uri.path_and_query();
    let verdict = in_time(bytes.len() + 1024, || answer.verify(&order));
    assert_eq!(verdict.is_ok(), same, "{answer:?} to {order:?}");
});
