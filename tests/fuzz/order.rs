//! The request that fuzz targets vary.

use std::{
    env,
    sync::LazyLock,
    time::{Duration, Instant},
};

use countersign::{
    Authentic, Content, Nonce, Origin, Policy, PrivateKey, Rejection, RequestHead, Signer, Target,
    Timestamp, Unverified,
};
use http::{HeaderMap, HeaderValue, Method, Uri};

/// The time of everything.
pub const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// The key that signs.
pub fn key() -> PrivateKey {
    PrivateKey::ed25519(&[7; 32])
}

/// A signed POST.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Whom it is for.
    pub origin: Origin,
    /// Its fields.
    pub headers: HeaderMap,
}

impl Order {
    /// Properly signed.
    pub fn signed() -> Self {
        static SIGNED: LazyLock<Order> = LazyLock::new(Order::sign);
        SIGNED.clone()
    }

    fn sign() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut order = Self {
            method: Method::POST,
            uri: Uri::from_static("/v1/orders?expand=customer"),
            origin: "https://api.example.com".parse().unwrap(),
            headers,
        };
        let nonce = Nonce::from_random([9; 16]);
        let fields = Signer::new(key()).sign(&order.head(), b"{}", NOW, &nonce).unwrap();
        fields.apply(&mut order.headers);
        order
    }

    /// Its head.
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }

    /// Verifies it as a server would.
    pub fn verify(&self) -> Result<Option<Authentic>, Rejection> {
        let policy = Policy::default();
        match Unverified::parse(self.head(), Content::Present, &policy, NOW)? {
            Some(unverified) => unverified.verify(&key().verifying_key()).map(Some),
            None => Ok(None),
        }
    }
}

/// Runs it, and has the input counted as a fault if it takes far longer than any should: the work on some bytes is
/// linear, and sanitizers slow it down. Where it took too long it is run again, since a busy machine slows down any run.
///
/// Without `COUNTERSIGN_FUZZ_CLOCK` no time is measured, so that a run does the same on every machine.
pub fn in_time<T>(bytes: usize, work: impl Fn() -> T) -> T {
    static CLOCK: LazyLock<bool> = LazyLock::new(|| env::var_os("COUNTERSIGN_FUZZ_CLOCK").is_some());
    if !*CLOCK {
        return work();
    }
    let allowed =
        Duration::from_millis(50).saturating_add(Duration::from_micros(100) * bytes as u32 / 8);
    let mut tried = 0;
    loop {
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        if took < allowed {
            return outcome;
        }
        tried += 1;
        assert!(tried < 5, "{took:?} for {bytes} bytes");
    }
}
