use countersign::{
    Authentic, Content, Nonce, Origin, Policy, PrivateKey, Rejection, RequestHead, SignedFields,
    Signer, Target, Timestamp, Unverified, VerifyingKey,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// The time of everything.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

/// The content of the order.
pub(crate) const CONTENT: &[u8] = br#"{"item":"book"}"#;

/// The seed of the Ed25519 key.
pub(crate) const SEED: [u8; 32] = [7; 32];

/// The HMAC secret.
pub(crate) const SECRET: [u8; 32] = [8; 32];

/// A POST with six covered components, as a server sees it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) origin: Origin,
    pub(crate) headers: HeaderMap,
}

impl Order {
    pub(crate) fn unsigned() -> Self {
        let fields = [
            ("host", "api.example.com"),
            ("user-agent", "orders/1.0"),
            ("accept", "*/*"),
            ("content-type", "application/json"),
            ("content-length", "15"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Self {
            method: Method::POST,
            uri: Uri::from_static("/v1/orders?expand=customer"),
            origin: "https://api.example.com".parse().unwrap(),
            headers,
        }
    }

    pub(crate) fn signed(key: PrivateKey) -> Self {
        let mut order = Self::unsigned();
        let fields = order.sign(&Signer::new(key), CONTENT);
        fields.apply(&mut order.headers);
        order
    }

    /// Signed, with one more covered field, so that it has as many bytes as another.
    pub(crate) fn as_large_as(other: &Self) -> Self {
        let missing = other.size().saturating_sub(Self::signed(ed25519()).size());
        let mut order = Self::unsigned();
        let filling = HeaderValue::try_from("v".repeat(missing)).unwrap();
        order.headers.insert("idempotency-key", filling);
        let fields = order.sign(&Signer::new(ed25519()), CONTENT);
        fields.apply(&mut order.headers);
        order
    }

    fn size(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        fields.sum::<usize>() + self.uri.path_and_query().map_or(0, |target| target.as_str().len())
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }

    pub(crate) fn sign(&self, signer: &Signer, content: &[u8]) -> SignedFields {
        signer.sign(&self.head(), content, NOW, &Nonce::from_random([9; 16])).unwrap()
    }

    /// From headers to proof.
    pub(crate) fn verify(
        &self,
        policy: &Policy,
        key: &VerifyingKey,
    ) -> Result<Authentic, Rejection> {
        let unverified = Unverified::parse(self.head(), Content::Present, policy, NOW)?;
        unverified.ok_or(Rejection::Required)?.verify(key)
    }
}

/// One of many Ed25519 keys.
pub(crate) fn one_of_many(number: u32) -> PrivateKey {
    PrivateKey::ed25519(&seed_of_many(number))
}

/// The seed of one of many Ed25519 keys.
pub(crate) fn seed_of_many(number: u32) -> [u8; 32] {
    let mut seed = SEED;
    seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
    seed
}

/// The Ed25519 key.
pub(crate) fn ed25519() -> PrivateKey {
    PrivateKey::ed25519(&SEED)
}

/// The HMAC-SHA256 key.
pub(crate) fn hmac() -> PrivateKey {
    PrivateKey::hmac_sha256([6; 16], &SECRET).unwrap()
}
