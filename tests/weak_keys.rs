//! Public keys under which strangers could sign, or one signature hold for many requests: no registration takes them. Here
//! they are in the registry all the same, written there past all checks.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use countersign::{KeyId, ProvenKey, PublishableKey};
use countersign_store::{NewCredential, Registry};
use ed25519_dalek::{
    SigningKey, Verifier as _, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use harness::{NOW, Raw, Service, exchange, key};
use sha2::Sha512;
use sqlx::{Connection as _, SqliteConnection};

const SEED: [u8; 32] = [5; 32];
/// The neutral element, in its only canonical encoding.
const NEUTRAL: [u8; 32] = {
    let mut encoding = [0; 32];
    encoding[0] = 1;
    encoding
};
/// The same with 2²⁵⁵ - 18 in the place of 1.
const NEUTRAL_NOT_CANONICAL: [u8; 32] = {
    let mut encoding = [0xff; 32];
    encoding[0] = 0xee;
    encoding[31] = 0x7f;
    encoding
};
/// A point of order 4.
const ORDER_4: [u8; 32] = [0; 32];

struct Weak {
    what: &'static str,
    public: [u8; 32],
    sign: fn(&[u8]) -> [u8; 64],
}

impl Weak {
    fn all() -> [Self; 4] {
        [
            Self { what: "of order 1", public: NEUTRAL, sign: without_a_key },
            Self { what: "of order 4", public: ORDER_4, sign: without_a_key },
            Self { what: "not canonical", public: NEUTRAL_NOT_CANONICAL, sign: without_a_key },
            Self { what: "with a part of order 4", public: mixed(), sign: by_the_mixed_key },
        ]
    }

    fn name(&self) -> PublishableKey {
        PublishableKey::ed25519(self.public)
    }

    /// A request that is signed as well as it can be: verification that does not look at the key takes it.
    fn signed(&self, request: &Raw, key_id: &str) -> Raw {
        let key = VerifyingKey::from_bytes(&self.public).unwrap();
        let signed = (0..1000).find_map(|_| {
            let mut holds = false;
            let request = request.clone().signed_under(key_id, |base| {
                let signature = (self.sign)(base);
                holds = key.verify(base, &signature.into()).is_ok();
                signature
            });
            holds.then_some(request)
        });
        signed.expect(self.what)
    }
}

/// R neutral and S zero: what anyone can write down.
fn without_a_key(_: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&NEUTRAL);
    signature
}

/// A good key, and a point of order 4.
fn mixed() -> [u8; 32] {
    let good = SigningKey::from_bytes(&SEED).verifying_key().to_edwards();
    let torsion = VerifyingKey::from_bytes(&ORDER_4).unwrap().to_edwards();
    (good + torsion).compress().to_bytes()
}

fn by_the_mixed_key(base: &[u8]) -> [u8; 64] {
    let public = VerifyingKey::from_bytes(&mixed()).unwrap();
    raw_sign::<Sha512>(&ExpandedSecretKey::from(&SEED), base, &public).to_bytes()
}

#[tokio::test]
async fn a_weak_key_that_was_put_into_the_registry_past_its_checks_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Registry::open_or_create(&url).await.unwrap();
    registry.add_application("shop", "test", NOW).await.unwrap();
    let honest = ProvenKey::from(&key(1));
    registry.add_credential(NewCredential::new("shop", "", &honest), NOW).await.unwrap();
    let service = Service::start_with(registry, Service::nonces(), |verifier| verifier).await;
    let mut database = SqliteConnection::connect(&url).await.unwrap();

    let send = async |request: &Raw| {
        let answer = exchange(service.address, &request.bytes()).await;
        (answer.status, answer.code())
    };
    let read_with = |key: PublishableKey| Raw::read().add("X-Api-Key", key.to_string());
    for weak in Weak::all() {
        let (what, name) = (weak.what, weak.name());
        let thumbprint = KeyId::Thumbprint(name.thumbprint().unwrap()).to_string();
        let forced = sqlx::query(
            "INSERT INTO credential (application_id, publishable_key, thumbprint, label, state,
                                     created_at, scopes, restrictions)
             SELECT application_id, ?, ?, 'weak', 'active', created_at, scopes, restrictions
             FROM credential WHERE id = 1",
        );
        let forced = forced.bind(name.to_string()).bind(&thumbprint);
        forced.execute(&mut database).await.unwrap();
        for key_id in [name.to_string(), thumbprint] {
            for request in [Raw::order(), Raw::read().target("/v1/secret")] {
                let request = weak.signed(&request, &key_id);
                let expected = (401, "signature-invalid".to_owned());
                assert_eq!(send(&request).await, expected, "{what}, {key_id}");
            }
        }
        assert_eq!(send(&read_with(name)).await, (401, "key-unknown".to_owned()), "{what}");
    }
    assert_eq!(service.handled(), 0);

    assert_eq!(send(&Raw::order().signed()).await.0, 201);
    assert_eq!(send(&Raw::read().target("/v1/secret").signed()).await.0, 200);
    assert_eq!(send(&read_with(key(1).publishable_key())).await.0, 200);
    assert_eq!(service.handled(), 3);
}
