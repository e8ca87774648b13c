use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU64,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use countersign::{PublishableKey, VerifyingKey};

/// The memory of a prepared key with its entries here, in bytes.
const ENTRY: usize = VerifyingKey::PREPARED_BYTES + 512;
/// A key can be prepared at every third use. Preparing pays if six verifications follow, as they do for most keys that come three
/// times.
const WORTH: u32 = 3;
/// How much more often than twice a key has to be used than the key whose place it takes. So chance alone, in the uses of keys
/// that are used alike, makes no key take the place of another.
const AHEAD: u32 = 8;
/// How many keys are looked at to find a cold one.
const SAMPLE: usize = 8;

/// The keys that are used most, prepared, within a bound of memory.
///
/// They are found by their publishable keys, whichever store they came from and however often. Uses count that were accepted as
/// signed and as new: requests of strangers, also captured ones, change nothing here.
#[derive(Debug)]
pub(super) struct PreparedKeys {
    capacity: usize,
    uses: Uses,
    hasher: RandomState,
    keys: RwLock<Keys>,
    /// The first place to look at next for a cold key.
    hand: AtomicUsize,
}

#[derive(Debug, Default)]
struct Keys {
    prepared: HashMap<PublishableKey, VerifyingKey, RandomState>,
    places: Vec<PublishableKey>,
}

impl PreparedKeys {
    /// As many keys as fit into this many bytes.
    pub(super) fn within(bytes: usize) -> Self {
        let capacity = bytes / ENTRY;
        let hasher = RandomState::new();
        let prepared = HashMap::with_hasher(hasher.clone());
        Self {
            capacity,
            uses: Uses::of(capacity),
            hasher,
            keys: RwLock::new(Keys { prepared, places: Vec::new() }),
            hand: AtomicUsize::new(0),
        }
    }

    /// The same key, if it is here.
    pub(super) fn get(&self, key: &VerifyingKey) -> Option<VerifyingKey> {
        if self.capacity == 0 || key.is_prepared() {
            return None;
        }
        self.read().prepared.get(&key.publishable_key()).cloned()
    }

    /// Counts an accepted request of this key, and prepares the key if it is worth it.
    pub(super) fn count(&self, key: &VerifyingKey) {
        if self.capacity == 0 || key.is_prepared() {
            return;
        }
        let name = key.publishable_key();
        let uses = self.uses.add(self.hasher.hash_one(name));
        if !uses.is_multiple_of(WORTH) || self.read().prepared.contains_key(&name) {
            return;
        }
        let is_full = self.read().places.len() >= self.capacity;
        let instead = match is_full.then(|| self.coldest()).flatten() {
            Some((_, least)) if uses <= least.saturating_mul(2).saturating_add(AHEAD) => return,
            Some((place, _)) => Some(place),
            None => None,
        };
        // Requests with other keys go on meanwhile.
        let prepared = key.prepared();
        self.write().insert(name, prepared, instead, self.capacity);
    }

    /// The place of the least used of some keys, and its uses. The next call looks at other keys.
    fn coldest(&self) -> Option<(Place, u32)> {
        let keys = self.read();
        let start = self.hand.fetch_add(SAMPLE, Ordering::Relaxed);
        let places = (0..SAMPLE).filter_map(|next| {
            let at = start.wrapping_add(next).checked_rem(keys.places.len())?;
            Some(Place { at, holder: *keys.places.get(at)? })
        });
        let uses = |place: &Place| self.uses.get(self.hasher.hash_one(place.holder));
        places.map(|place| (place, uses(&place))).min_by_key(|(_, uses)| *uses)
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// Puts a key in the place of another, or in a free place. Does nothing if the key is here, or the place is not as it was.
    fn insert(
        &mut self,
        name: PublishableKey,
        key: VerifyingKey,
        instead: Option<Place>,
        capacity: usize,
    ) {
        if self.prepared.contains_key(&name) {
            return;
        }
        match instead {
            Some(Place { at, holder }) => {
                let Some(place) = self.places.get_mut(at).filter(|place| **place == holder) else {
                    return;
                };
                *place = name;
                self.prepared.remove(&holder);
            }
            None if self.places.len() < capacity => self.places.push(name),
            None => return,
        }
        self.prepared.insert(name, key);
    }
}

/// One of the places, with the key that was found there.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    holder: PublishableKey,
}

/// How often keys were used lately, in a fixed number of counts. A period is a number of uses, of all keys, and each period halves
/// what was counted before.
///
/// Keys whose hashes meet share a count, and are taken to be used more often than they are.
#[derive(Debug)]
struct Uses {
    /// Each is a packed [`Count`].
    counts: Box<[AtomicU32]>,
    all: AtomicU64,
    period: NonZeroU64,
}

impl Uses {
    fn of(capacity: usize) -> Self {
        let counts = if capacity == 0 { 0 } else { capacity.saturating_mul(16).max(1024) };
        let period = u64::try_from(counts.saturating_mul(2)).ok().and_then(NonZeroU64::new);
        Self {
            counts: std::iter::repeat_with(AtomicU32::default).take(counts).collect(),
            all: AtomicU64::new(0),
            period: period.unwrap_or(NonZeroU64::MIN),
        }
    }

    /// Counts a use, and returns the uses of this key.
    fn add(&self, hash: u64) -> u32 {
        let now = self.all.fetch_add(1, Ordering::Relaxed) / self.period;
        let Some(count) = self.count(hash) else { return 0 };
        let more = |old| Count::unpack(old).at(now).plus_one();
        let old = count.update(Ordering::Relaxed, Ordering::Relaxed, |old| more(old).pack());
        more(old).uses.into()
    }

    /// The uses of this key.
    fn get(&self, hash: u64) -> u32 {
        let now = self.all.load(Ordering::Relaxed) / self.period;
        let count = self.count(hash).map(|count| Count::unpack(count.load(Ordering::Relaxed)));
        count.map_or(0, |count| count.at(now).uses.into())
    }

    fn count(&self, hash: u64) -> Option<&AtomicU32> {
        let length = u64::try_from(self.counts.len()).ok()?;
        let at = usize::try_from(hash.checked_rem(length)?).ok()?;
        self.counts.get(at)
    }
}

/// The uses of a key as they were in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    /// The last bits of the period's number.
    period: u16,
    uses: u16,
}

impl Count {
    fn unpack(packed: u32) -> Self {
        let [a, b, c, d] = packed.to_be_bytes();
        Self { period: u16::from_be_bytes([a, b]), uses: u16::from_be_bytes([c, d]) }
    }

    fn pack(self) -> u32 {
        u32::from(self.period) << 16 | u32::from(self.uses)
    }

    /// The same count in another period.
    fn at(self, period: u64) -> Self {
        let period = u16::try_from(period & u64::from(u16::MAX)).unwrap_or_default();
        let passed = period.wrapping_sub(self.period);
        Self { period, uses: self.uses.checked_shr(passed.into()).unwrap_or_default() }
    }

    fn plus_one(self) -> Self {
        Self { uses: self.uses.saturating_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use bytes::Bytes;
    use countersign::{
        Nonce, Origin, Origins, PrivateKey, RequestHead, Signer, Target, Timestamp, Window,
    };
    use countersign_store::{Application, Credential, CredentialId, MemoryKeys, MemoryNonces};
    use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
    use http_body_util::Full;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::*;
    use crate::verifier::{Verifier, layer::VerifierLayer};

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
    const PLACES: usize = 20;

    fn key(number: u16) -> VerifyingKey {
        let [high, low] = number.to_be_bytes();
        let mut seed = [3; 32];
        (seed[0], seed[1]) = (high, low);
        PrivateKey::ed25519(&seed).verifying_key()
    }

    /// The keys with these numbers, once each.
    fn keys(numbers: std::ops::Range<u16>) -> Vec<VerifyingKey> {
        numbers.map(key).collect()
    }

    fn some() -> PreparedKeys {
        PreparedKeys::within(PLACES * ENTRY + 100)
    }

    fn prepared(keys: &PreparedKeys, of: &[VerifyingKey]) -> usize {
        of.iter().filter(|key| keys.get(key).is_some()).count()
    }

    #[test]
    fn a_key_is_prepared_at_its_third_accepted_use() {
        let (keys, key) = (some(), key(1));
        for _ in 0..2 {
            assert_eq!(keys.get(&key), None);
            keys.count(&key);
        }
        assert_eq!(keys.get(&key), None);
        keys.count(&key);
        let prepared = keys.get(&key).unwrap();
        assert!(prepared.is_prepared());
        assert_eq!(prepared, key);
    }

    #[test]
    fn looking_for_a_key_counts_nothing() {
        let (keys, key) = (some(), key(1));
        for _ in 0..100 {
            assert_eq!(keys.get(&key), None);
        }
        assert!(keys.read().places.is_empty());
        assert_eq!(keys.uses.all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_key_that_is_prepared_already_takes_no_place() {
        let keys = some();
        let hmac = PrivateKey::hmac_sha256([1; 16], &[7; 32]).unwrap().verifying_key();
        for key in [key(1).prepared(), hmac] {
            for _ in 0..10 {
                keys.count(&key);
                assert_eq!(keys.get(&key), None);
            }
        }
        assert!(keys.read().places.is_empty());
    }

    #[test]
    fn no_more_keys_are_prepared_than_fit() {
        for places in [0, 1, PLACES] {
            let keys = PreparedKeys::within(places * ENTRY + 100);
            let all = self::keys(0..100);
            for _ in 0..30 {
                all.iter().for_each(|key| keys.count(key));
                assert!(prepared(&keys, &all) <= places);
            }
            assert_eq!(prepared(&keys, &all), places);
            assert_eq!(keys.read().places.len(), keys.read().prepared.len());
        }
    }

    #[test]
    fn keys_that_are_used_alike_do_not_push_each_other_out() {
        let (keys, all) = (some(), keys(0..100));
        let mut random = 1u64;
        let mut use_some = |times| {
            for _ in 0..times {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                keys.count(&all[usize::try_from(random >> 33).unwrap() % all.len()]);
            }
        };
        use_some(10_000);
        let before: Vec<_> = all.iter().filter(|key| keys.get(key).is_some()).cloned().collect();
        assert_eq!(before.len(), PLACES);
        use_some(10_000);
        let left = prepared(&keys, &before);
        assert!(left >= PLACES - 3, "{left} of {PLACES} are left");
    }

    #[test]
    fn keys_that_are_used_more_take_the_places_of_cold_ones() {
        let keys = some();
        let (cold, hot) = (self::keys(0..20), self::keys(20..40));
        for _ in 0..50 {
            cold.iter().for_each(|key| keys.count(key));
        }
        assert_eq!((prepared(&keys, &cold), prepared(&keys, &hot)), (PLACES, 0));
        for _ in 0..500 {
            hot.iter().for_each(|key| keys.count(key));
            keys.count(&cold[0]);
            keys.count(&cold[0]);
        }
        // A cold key may share its count with a hot one.
        assert!(prepared(&keys, &hot) >= PLACES - 5);
        assert!(keys.get(&cold[0]).is_some(), "it was used all the while");
    }

    #[tokio::test]
    async fn a_use_counts_where_a_signed_request_was_accepted_and_nowhere_else() {
        let key = |seed| PrivateKey::ed25519(&[seed; 32]);
        let public = key(5).verifying_key();
        let verifier = Arc::new(verifier_for(&public));
        let prepared_keys = &verifier.prepared_keys;
        let send = async |request: Request<Full<Bytes>>| {
            let accept = async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()));
            let service = VerifierLayer::new(Arc::clone(&verifier)).layer(service_fn(accept));
            service.oneshot(request).await.unwrap().status()
        };
        let signed_with = |key, nonce: u8| {
            let mut request = Request::new(Full::<Bytes>::default());
            *request.uri_mut() = Uri::from_static("/v1/orders");
            request.headers_mut().insert("host", HeaderValue::from_static("api.example.com"));
            let origin: Origin = "https://api.example.com".parse().unwrap();
            let (method, target) = (&Method::GET, Target::origin_form(request.uri()));
            let head = RequestHead { method, target, origin: &origin, headers: request.headers() };
            let nonce = Nonce::from_random([nonce; 16]);
            let fields = Signer::new(key).sign(&head, b"", NOW, &nonce).unwrap();
            fields.apply(request.headers_mut());
            request
        };
        let signed = |nonce| signed_with(key(5), nonce);
        let forged = |nonce| {
            let (mut request, other) = (signed(nonce), signed(nonce + 1));
            request.headers_mut().insert("signature", other.headers()["signature"].clone());
            request
        };
        let unsigned = || {
            let mut request = signed(0);
            request.headers_mut().remove("signature");
            request.headers_mut().remove("signature-input");
            let name = public.publishable_key().to_string().parse().unwrap();
            request.headers_mut().insert("x-api-key", name);
            request
        };
        for accepted in 1..=3 {
            assert_eq!(send(signed(accepted)).await, StatusCode::OK);
            let uses = prepared_keys.uses.all.load(Ordering::Relaxed);
            assert_eq!(uses, u64::from(accepted));
            for _ in 0..5 {
                assert_eq!(send(signed(accepted)).await, StatusCode::UNAUTHORIZED);
                assert_eq!(send(forged(100)).await, StatusCode::UNAUTHORIZED);
                let stranger = signed_with(key(6), 1);
                assert_eq!(send(stranger).await, StatusCode::UNAUTHORIZED);
                assert_eq!(send(unsigned()).await, StatusCode::OK);
            }
            assert_eq!(prepared_keys.uses.all.load(Ordering::Relaxed), uses);
            assert_eq!(prepared_keys.get(&public).is_some(), accepted == 3, "{accepted}");
        }
        assert_eq!(prepared_keys.read().places.len(), 1);
        // The same verdicts, now with the prepared key.
        assert_eq!(send(signed(4)).await, StatusCode::OK);
        assert_eq!(send(signed(4)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(send(forged(100)).await, StatusCode::UNAUTHORIZED);
    }

    fn verifier_for(key: &VerifyingKey) -> Verifier<MemoryKeys, MemoryNonces> {
        let before = NOW.minus(Duration::from_secs(3600));
        let (name, environment) = ("shop".parse().unwrap(), "live".parse().unwrap());
        let application = Application::new(name, environment, before);
        let keys = MemoryKeys::default();
        let credential = Credential::new(CredentialId::new(1), application, key.clone(), before);
        keys.insert(credential).unwrap();
        let nonces = MemoryNonces::volatile(Window::default(), before).unwrap();
        let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
        Verifier::new(origins, keys, nonces).clock(|| NOW)
    }

    #[test]
    fn uses_halve_with_each_period_and_are_bounded() {
        let count = Count { period: u16::MAX, uses: 100 };
        for (period, uses) in [(0xffff, 100), (0x10000, 50), (0x10001, 25), (0x1000f, 0), (0xf, 0)]
        {
            assert_eq!(count.at(period).uses, uses, "{period:x}");
        }
        let most = Count { period: 3, uses: u16::MAX };
        assert_eq!(most.plus_one(), most);
        for count in [count, most] {
            assert_eq!(Count::unpack(count.pack()), count);
        }
    }

    #[test]
    fn keys_of_all_threads_are_counted() {
        let (keys, all) = (some(), keys(0..20));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..30 {
                        all.iter().for_each(|key| keys.count(key));
                    }
                });
            }
        });
        assert_eq!(prepared(&keys, &all), PLACES);
        assert_eq!(keys.uses.all.load(Ordering::Relaxed), 4 * 30 * 20);
    }
}
