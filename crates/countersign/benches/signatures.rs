//! Signing, from a request to its fields; verifying, from its fields to content that is what was signed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use countersign::{
    Claim, Content, Intact, Nonce, Origin, Policy, PrivateKey, RequestHead, SignedFields, Signer,
    Target, Timestamp, Unverified, VerifyingKey,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Uri};

fn sign(criterion: &mut Criterion) {
    for (algorithm, key) in keys() {
        let mut group = criterion.benchmark_group(format!("sign/{algorithm}"));
        let signer = Signer::new(key);
        for bytes in [0usize, 1 << 10, 1 << 20] {
            let order = Order::unsigned(bytes);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(bytes.to_string(), |bencher| bencher.iter(|| order.sign(&signer)));
        }
    }
}

fn check(order: &Order, policy: &Policy, key: &VerifyingKey) -> Intact {
    let unverified = Unverified::parse(order.head(), Content::Present, policy, NOW);
    let authentic = unverified.unwrap().unwrap().verify(key).unwrap();
    let mut check = authentic.redeem(Claim::Fresh).unwrap().read();
    check.update(&order.content);
    check.finish().unwrap()
}

fn verify(criterion: &mut Criterion) {
    let policy = Policy::default();
    for (algorithm, key) in keys() {
        let mut group = criterion.benchmark_group(format!("verify/{algorithm}"));
        let verifying_key = key.verifying_key();
        for bytes in [1usize, 1 << 10, 1 << 20] {
            let (_, key) = keys().into_iter().find(|(name, _)| *name == algorithm).unwrap();
            let order = Order::signed(bytes, key);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(bytes.to_string(), |bencher| {
                bencher.iter(|| check(&order, &policy, &verifying_key));
            });
        }
    }
}

criterion_group!(benches, sign, verify);
criterion_main!(benches);

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// A POST with six covered components.
struct Order {
    method: Method,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Order {
    fn unsigned(content: usize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Self {
            method: Method::POST,
            uri: Uri::from_static("/v1/orders?expand=customer"),
            origin: "https://api.example.com".parse().unwrap(),
            headers,
            content: vec![b'a'; content],
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }

    fn sign(&self, signer: &Signer) -> SignedFields {
        signer.sign(&self.head(), &self.content, NOW, &Nonce::from_random([9; 16])).unwrap()
    }

    fn signed(content: usize, key: PrivateKey) -> Self {
        let mut order = Self::unsigned(content);
        order.sign(&Signer::new(key)).apply(&mut order.headers);
        order
    }
}

/// A key of each algorithm, by its name.
fn keys() -> [(&'static str, PrivateKey); 2] {
    [
        ("ed25519", PrivateKey::ed25519(&[7; 32])),
        ("hmac-sha256", PrivateKey::hmac_sha256([6; 16], &[8; 32]).unwrap()),
    ]
}
