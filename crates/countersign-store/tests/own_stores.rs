//! Stores of a user's own, written with nothing but the public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::{Claim, KeyId, Nonce, NonceUse, PrivateKey, Timestamp, VerifyingKey, Window};
use countersign_store::{
    Application, Budget, Ceiling, ClientAddress, ClientNetwork, Credential, CredentialId,
    Enforcement, Gate, GateVerdict, KeyStore, Limited, Limits, MemoryNonces, NoClientAddress,
    NonceStore, OverLimit, Owner, Quota, QuotaLeft, Readiness, Scopes, StoreError, Unlimited,
    Verdict,
};

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
const ONE: NonZeroU32 = NonZeroU32::MIN;

/// Nonces in a set that forgets nothing.
struct Nonces {
    window: Window,
    started: Timestamp,
    used: Mutex<HashSet<(i64, u64, String)>>,
}

impl Nonces {
    fn new() -> Self {
        Self { window: Window::default(), started: NOW, used: Mutex::default() }
    }
}

impl NonceStore for Nonces {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        let oldest = self.started.minus(self.window.max_age());
        if used.created() < oldest {
            let retry_after = oldest.since(now).unwrap_or(Duration::from_secs(1));
            return Ok(Claim::TooOld { retry_after });
        }
        if used.created() > now.plus(self.window.skew()) {
            return Err(StoreError::new("the claim is for a time that is still to come"));
        }
        let nonce = used.nonce().as_str().to_owned();
        let is_new =
            self.used.lock().unwrap().insert((used.credential(), used.created().unix(), nonce));
        Ok(if is_new { Claim::Fresh } else { Claim::Replayed })
    }
}

impl Readiness for Nonces {
    async fn ready_at(&self, _: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(self.started.minus(self.window.max_age()))
    }
}

/// A gate that counts in tables of its own, for ever.
struct Counting {
    nonces: Nonces,
    signed: Budget,
    by_address: Budget,
    taken: Mutex<HashMap<CredentialId, u32>>,
    read: Mutex<HashMap<ClientNetwork, u32>>,
}

impl Counting {
    fn new(quota: Quota) -> Self {
        Self {
            nonces: Nonces::new(),
            signed: Budget::new("signed", [quota]).unwrap(),
            by_address: Budget::new("address", [quota]).unwrap(),
            taken: Mutex::default(),
            read: Mutex::default(),
        }
    }

    fn charge(budget: &Budget, taken: &mut u32, cost: NonZeroU32) -> Verdict {
        let [quota] = budget.quotas() else { panic!("there is one") };
        let left = quota.at_once().get().saturating_sub(*taken);
        let verdict = match left.checked_sub(cost.get()) {
            Some(left) => {
                *taken = taken.saturating_add(cost.get());
                Verdict::Within(Some(QuotaLeft::new(budget, quota, left, quota.window())))
            }
            None => {
                let left = QuotaLeft::new(budget, quota, left, quota.window());
                Verdict::Exceeded(OverLimit::new(left, quota.window()))
            }
        };
        Enforcement::Enforce.apply(verdict)
    }
}

impl Gate for Counting {
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        let verdict = {
            let mut taken = self.taken.lock().unwrap();
            Self::charge(&self.signed, taken.entry(credential.lineage).or_default(), cost)
        };
        Ok(match verdict {
            Verdict::Within(left) => {
                GateVerdict::Claimed(self.nonces.claim(used, now).await?, left)
            }
            Verdict::Exceeded(over) => GateVerdict::Exceeded(over),
        })
    }

    async fn charge_unsigned(
        &self,
        _: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        let from = from.ok_or(NoClientAddress)?.network();
        let mut read = self.read.lock().unwrap();
        Ok(Self::charge(&self.by_address, read.entry(from).or_default(), cost))
    }
}

fn credential(key: VerifyingKey) -> Credential {
    let shop = Application::new("shop".parse().unwrap(), "live".parse().unwrap(), NOW);
    let scopes = ["orders:write".parse().unwrap()].into_iter().collect::<Scopes>();
    Credential::new(CredentialId::new(7), shop, key, NOW).with_scopes(scopes)
}

fn caller() -> Credential {
    credential(PrivateKey::ed25519(&[7; 32]).verifying_key())
}

/// A key store of one row.
struct OneKey(PrivateKey);

impl KeyStore for OneKey {
    async fn find(&self, id: &KeyId, _: Timestamp) -> Result<Option<Arc<Credential>>, StoreError> {
        let key = self.0.verifying_key();
        if *id != KeyId::Publishable(key.publishable_key()) {
            return Ok(None);
        }
        Ok(Some(Arc::new(credential(key))))
    }
}

/// A durable ceiling.
#[derive(Default)]
struct Row(Mutex<(Option<i64>, Option<Timestamp>)>);

impl Ceiling for Row {
    async fn take_over(&self, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
        let mut row = self.0.lock().unwrap();
        row.0 = Some(owner.get());
        Ok(row.1)
    }

    async fn raise(&self, owner: Owner, to: Timestamp) -> Result<(), StoreError> {
        let mut row = self.0.lock().unwrap();
        if row.0 != Some(owner.get()) {
            return Err(StoreError::new("another server has taken over the ceiling"));
        }
        row.1 = row.1.max(Some(to));
        Ok(())
    }
}

fn used(nonce: u8) -> NonceUse {
    NonceUse::new(7, NOW, Nonce::from_random([nonce; 16]))
}

/// What becomes of a signed request, in few words.
async fn charge_and_claim(gate: &impl Gate, nonce: u8) -> String {
    match gate.charge_and_claim(&caller(), &used(nonce), ONE, NOW).await.unwrap() {
        GateVerdict::Claimed(claim, left) => {
            let left = left.map(|left| left.remaining());
            format!("{claim:?} {left:?}")
        }
        GateVerdict::Exceeded(over) => format!("limited {over}"),
    }
}

#[tokio::test]
async fn a_gate_of_ones_own_counts_claims_and_refuses() {
    let gate = Counting::new(Quota::per_minute(NonZeroU32::new(3).unwrap()));
    assert_eq!(charge_and_claim(&gate, 1).await, "Fresh Some(2)");
    assert_eq!(charge_and_claim(&gate, 1).await, "Replayed Some(1)");
    assert_eq!(charge_and_claim(&gate, 2).await, "Fresh Some(0)");
    assert_eq!(charge_and_claim(&gate, 3).await, r#"limited "signed-60";r=0;t=60"#);
    assert_eq!(gate.charge_unsigned(&caller(), None, ONE).await, Err(NoClientAddress));
    let from = ClientAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let all = NonZeroU32::new(3).unwrap();
    assert!(matches!(
        gate.charge_unsigned(&caller(), Some(from), all).await,
        Ok(Verdict::Within(_))
    ));
    assert!(matches!(
        gate.charge_unsigned(&caller(), Some(from), ONE).await,
        Ok(Verdict::Exceeded(_))
    ));
}

#[tokio::test]
async fn those_who_share_a_gate_share_its_nonces_and_its_limits() {
    let limits = || Limits::default().signed([Quota::per_minute(NonZeroU32::new(2).unwrap())]);
    let one = Arc::new(Limited::new(Nonces::new(), limits()));
    let other = Arc::clone(&one);
    assert_eq!(charge_and_claim(&one, 1).await, "Fresh Some(1)");
    assert_eq!(charge_and_claim(&other, 1).await, "Replayed Some(0)");
    assert_eq!(charge_and_claim(&other, 2).await, "Fresh Some(0)");
    assert!(charge_and_claim(&one, 3).await.starts_with("limited"));
    // And of nonces alone, whether the gate is shared or what is in it.
    let nonces = Arc::new(Nonces::new());
    let (one, other) = (Unlimited::new(Arc::clone(&nonces)), Arc::new(Unlimited::new(nonces)));
    assert_eq!(charge_and_claim(&one, 1).await, "Fresh None");
    assert_eq!(charge_and_claim(&other, 1).await, "Replayed None");
    assert_eq!(other.ready_at(NOW).await.unwrap(), NOW.minus(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_key_store_and_a_ceiling_of_ones_own_are_used_as_ours_are() {
    let keys = Arc::new(OneKey(PrivateKey::ed25519(&[7; 32])));
    let own = KeyId::Publishable(keys.0.verifying_key().publishable_key());
    let other = PrivateKey::ed25519(&[8; 32]).verifying_key().publishable_key();
    let found = keys.find(&own, NOW).await.unwrap().unwrap();
    assert_eq!((found.id, found.scopes.to_string()), (CredentialId::new(7), "orders:write".into()));
    assert!(keys.find(&KeyId::Publishable(other), NOW).await.unwrap().is_none());

    let row = Arc::new(Row::default());
    let window = Window::default();
    let guard = MemoryNonces::durable(window, Arc::clone(&row), NOW).await.unwrap();
    assert_eq!(charge_and_claim(&Arc::new(guard), 1).await, "Fresh None");
    let next = MemoryNonces::durable(window, row, NOW).await.unwrap();
    assert!(charge_and_claim(&next, 1).await.starts_with("TooOld"));
}
