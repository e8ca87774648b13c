use std::{num::NonZeroU32, sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Timestamp};

use super::{credential_budget::CredentialBudget, memory_budget::MemoryBudget};
use crate::{
    credential::Credential,
    enforcement::Enforcement,
    error::StoreError,
    limits::{
        Budget, Limits, Verdict,
        client_address::{ClientAddress, ClientNetwork},
        gate::{Gate, GateVerdict, NoClientAddress},
    },
    nonces::{NonceStore, readiness::Readiness},
};

/// A gate that counts its limits in this process, in front of any replay guard.
///
/// The cost of a signed request is set aside while its nonce is claimed, and charged if the nonce is fresh. So requests waiting
/// for a guard over the network hold a part of the budget, replays included. In front of a guard over the network use a gate
/// with claim and charge in one step, such as `RedisGate`. A client that hangs up meanwhile is not charged, though the guard
/// may have kept the nonce.
///
/// Each budget counts up to 1,000,000 subjects, at some 100 bytes each. Further subjects share one allowance; see [`MemoryBudget`].
/// Credentials with limits [of their own](crate::OwnLimits) are counted by themselves, however many they are.
#[derive(Debug)]
pub struct Limited<N> {
    nonces: N,
    signed: CredentialBudget,
    unsigned: UnsignedBudgets,
    enforcement: Enforcement,
}

/// The budgets of unsigned reads with a publishable key.
#[derive(Debug)]
pub(crate) struct UnsignedBudgets {
    by_credential: CredentialBudget,
    by_address: Option<MemoryBudget<ClientNetwork>>,
    /// How many servers share limits that a credential has of its own.
    servers: NonZeroU32,
}

impl<N> Limited<N> {
    /// Puts limits in front of a replay guard.
    pub fn new(nonces: N, limits: Limits) -> Self {
        Self {
            nonces,
            signed: CredentialBudget::new(limits.signed),
            unsigned: UnsignedBudgets {
                by_credential: CredentialBudget::new(limits.unsigned),
                by_address: limits.unsigned_by_address.map(MemoryBudget::of),
                servers: NonZeroU32::MIN,
            },
            enforcement: limits.enforcement,
        }
    }

    /// Sets the clock of the budgets: the time since any moment, which never goes back. Default: the system's monotonic clock.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let clock: Arc<dyn Fn() -> Duration + Send + Sync> = Arc::new(clock);
        self.signed.set_clock(Arc::clone(&clock));
        self.unsigned.by_credential.set_clock(Arc::clone(&clock));
        let by_address = self.unsigned.by_address;
        self.unsigned.by_address = by_address.map(|budget| budget.clock(move || clock()));
        self
    }

    /// Lets this server allow its share of the limits that a credential has of its own for unsigned reads.
    #[cfg(feature = "redis")]
    pub(crate) const fn shared_by(mut self, servers: NonZeroU32) -> Self {
        self.unsigned.servers = servers;
        self
    }
}

impl UnsignedBudgets {
    /// Charges the address first, so that a single client cannot use up the budget of all clients of a key.
    pub(crate) fn charge(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        let by_address = match &self.by_address {
            Some(budget) => budget.charge(from.ok_or(NoClientAddress)?.network(), cost),
            None => Verdict::Within(None),
        };
        let own = credential.limits.unsigned_budget();
        let share = own.filter(|_| self.servers > NonZeroU32::MIN).and_then(|own| {
            Budget::new(own.name, own.quotas.iter().map(|quota| quota.share(self.servers)))
        });
        let own = share.as_ref().or(own);
        Ok(by_address.and(|| self.by_credential.charge(credential.lineage, own, cost)))
    }
}

impl<N: NonceStore> Gate for Limited<N> {
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        let own = credential.limits.signed_budget();
        let (verdict, reservation) = self.signed.reserve(credential.lineage, own, cost);
        match self.enforcement.apply(verdict) {
            Verdict::Exceeded(over) => Ok(GateVerdict::Exceeded(over)),
            Verdict::Within(left) => {
                // A captured request must not use up the budget of its signer, even if the attacker does not wait for the
                // response.
                let claim = self.nonces.claim(used, now).await?;
                if let (Claim::Fresh, Some(reservation)) = (claim, reservation) {
                    reservation.spend();
                }
                Ok(GateVerdict::Claimed(claim, left))
            }
        }
    }

    async fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        let verdict = self.unsigned.charge(credential, from, cost)?;
        Ok(self.enforcement.apply(verdict))
    }
}

impl<N: Readiness> Readiness for Limited<N> {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.nonces.ready_at(now).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::atomic::{AtomicU32, AtomicU64, Ordering},
        task::{Context, Poll, Waker},
    };

    use countersign::{Nonce, PrivateKey};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::{
        credential::{CredentialId, application::Application},
        limits::{own_limits::OwnLimits, quota::Quota},
    };

    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    fn credential(number: i64) -> Credential {
        let shop = Application::new("shop".parse().unwrap(), "live".parse().unwrap(), NOW);
        let key = PrivateKey::hmac_sha256([1; 16], &[0x5a; 32]).unwrap().verifying_key();
        Credential::new(CredentialId::new(number), shop, key, NOW)
    }

    /// A replay guard for counting claims. It accepts all of them.
    #[derive(Default)]
    struct Asked(Arc<AtomicU32>);

    impl NonceStore for Asked {
        async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Claim::Fresh)
        }
    }

    struct Gated {
        gate: Limited<Asked>,
        asked: Arc<AtomicU32>,
        /// In milliseconds.
        time: Arc<AtomicU64>,
    }

    fn gated(limits: Limits) -> Gated {
        let (nonces, time) = (Asked::default(), Arc::new(AtomicU64::new(5_000)));
        let (asked, clock) = (Arc::clone(&nonces.0), Arc::clone(&time));
        let now = move || Duration::from_millis(clock.load(Ordering::SeqCst));
        Gated { gate: Limited::new(nonces, limits).clock(now), asked, time }
    }

    fn per_minute(amount: u32) -> [Quota; 1] {
        [Quota::per_minute(NonZeroU32::new(amount).unwrap())]
    }

    impl Gated {
        /// Returns the outcome of a signed request, and the number of claims at the replay guard so far.
        async fn signed(&self, number: i64, cost: u32) -> (Result<Option<u32>, Duration>, u32) {
            self.signed_by(&credential(number), cost).await
        }

        async fn signed_by(
            &self,
            credential: &Credential,
            cost: u32,
        ) -> (Result<Option<u32>, Duration>, u32) {
            let used = NonceUse::new(credential.id.get(), NOW, Nonce::from_random([1; 16]));
            let cost = NonZeroU32::new(cost).unwrap();
            let verdict =
                match self.gate.charge_and_claim(credential, &used, cost, NOW).await.unwrap() {
                    GateVerdict::Claimed(Claim::Fresh, left) => {
                        Ok(left.map(|left| left.remaining()))
                    }
                    GateVerdict::Claimed(other, _) => panic!("{other:?}"),
                    GateVerdict::Exceeded(over) => Err(over.retry_after),
                };
            (verdict, self.asked.load(Ordering::SeqCst))
        }

        async fn unsigned(&self, number: i64, from: Option<&str>) -> Result<String, String> {
            self.unsigned_by(&credential(number), from).await
        }

        async fn unsigned_by(
            &self,
            credential: &Credential,
            from: Option<&str>,
        ) -> Result<String, String> {
            let from = from.map(|from| from.parse::<IpAddr>().unwrap().into());
            let verdict = self.gate.charge_unsigned(credential, from, ONE).await;
            match verdict.map_err(|NoClientAddress| "no address".to_owned())? {
                Verdict::Within(left) => Ok(left.map_or(String::new(), |left| left.to_string())),
                Verdict::Exceeded(over) => Err(over.to_string()),
            }
        }
    }

    #[tokio::test]
    async fn what_is_over_the_signed_limit_claims_no_nonce_and_takes_nothing_from_others() {
        let gated = gated(Limits::default().signed(per_minute(2)));
        assert_eq!(gated.signed(1, 1).await, (Ok(Some(1)), 1));
        assert_eq!(gated.signed(1, 1).await, (Ok(Some(0)), 2));
        let wait = Duration::from_secs(30);
        assert_eq!(gated.signed(1, 1).await, (Err(wait), 2));
        assert_eq!(gated.signed(2, 1).await, (Ok(Some(1)), 3));
        gated.time.fetch_add(30_000, Ordering::SeqCst);
        assert_eq!(gated.signed(1, 1).await, (Ok(Some(0)), 4));
        assert_eq!(gated.signed(1, 1).await, (Err(wait), 4));
    }

    /// A replay guard with the same result for every claim.
    struct Always(Result<Claim, ()>);

    impl NonceStore for Always {
        async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
            self.0.map_err(|()| StoreError::new("it fails"))
        }
    }

    #[tokio::test]
    async fn what_the_replay_guard_refuses_takes_nothing_from_its_signer() {
        let retry_after = Duration::from_secs(1);
        let table = [
            (Ok(Claim::Fresh), 2),
            (Ok(Claim::Replayed), 100),
            (Ok(Claim::TooOld { retry_after }), 100),
            (Ok(Claim::ShareUsedUp { retry_after }), 100),
            (Err(()), 100),
        ];
        for (claim, expected) in table {
            let limits = Limits::default().signed(per_minute(2));
            let gate = Limited::new(Always(claim), limits).clock(|| Duration::from_secs(5));
            let used = NonceUse::new(1, NOW, Nonce::from_random([1; 16]));
            let mut passed = 0;
            for _ in 0..100 {
                match gate.charge_and_claim(&credential(1), &used, ONE, NOW).await {
                    Ok(GateVerdict::Exceeded(_)) => {}
                    Ok(GateVerdict::Claimed(..)) | Err(_) => passed += 1,
                }
            }
            assert_eq!(passed, expected, "{claim:?}");
        }
    }

    /// A replay guard that never responds.
    struct Silent;

    impl NonceStore for Silent {
        async fn claim(&self, _: &NonceUse, _: Timestamp) -> Result<Claim, StoreError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_claim_that_nobody_waits_for_takes_nothing_from_its_signer() {
        let limits = Limits::default().signed(per_minute(2));
        let gate = Limited::new(Silent, limits).clock(|| Duration::from_secs(5));
        let used = NonceUse::new(1, NOW, Nonce::from_random([1; 16]));
        let caller = credential(1);
        let is_limited = || {
            let mut verdict = std::pin::pin!(gate.charge_and_claim(&caller, &used, ONE, NOW));
            let answer = verdict.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            matches!(answer, Poll::Ready(Ok(GateVerdict::Exceeded(_))))
        };
        for _ in 0..10 {
            assert!(!is_limited());
        }
        // Requests waiting for the guard hold a part of the budget.
        let mut waiting =
            [(), ()].map(|()| Box::pin(gate.charge_and_claim(&caller, &used, ONE, NOW)));
        for claim in &mut waiting {
            assert!(claim.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(is_limited());
        drop(waiting);
        assert!(!is_limited());
    }

    #[tokio::test]
    async fn a_request_takes_what_it_costs() {
        let gated = gated(Limits::default().signed(per_minute(10)));
        assert_eq!(gated.signed(1, 7).await, (Ok(Some(3)), 1));
        assert_eq!(gated.signed(1, 4).await, (Err(Duration::from_secs(6)), 1));
        assert_eq!(gated.signed(1, 3).await, (Ok(Some(0)), 2));
    }

    #[tokio::test]
    async fn limits_of_ones_own_hold_in_place_of_the_server_s() {
        let own = |number, signed| {
            credential(number).with_limits(OwnLimits::default().signed(per_minute(signed)))
        };
        let (fewer, more) = (own(1, 1), own(2, 4));
        let all = Limits::default().signed(per_minute(2)).unsigned(per_minute(1));
        for (limits, of_server) in [(all, true), (Limits::default(), false)] {
            let gated = gated(limits);
            let mut passed = [0_usize; 3];
            for _ in 0..6 {
                for (at, caller) in [&fewer, &more, &credential(3)].into_iter().enumerate() {
                    let (passage, _) = gated.signed_by(caller, 1).await;
                    passed[at] += usize::from(passage.is_ok());
                }
            }
            assert_eq!(passed, [1, 4, if of_server { 2 } else { 6 }]);
            // For reads it has none of its own.
            assert!(gated.unsigned_by(&fewer, None).await.is_ok());
            assert_eq!(gated.unsigned_by(&fewer, None).await.is_err(), of_server);
            let reader = credential(4).with_limits(OwnLimits::default().unsigned(per_minute(1)));
            assert!(gated.unsigned_by(&reader, None).await.is_ok());
            assert!(gated.unsigned_by(&reader, None).await.is_err());
        }
        let reported = gated(Limits::default().insecure_report_only());
        for times in 1..=3 {
            assert_eq!(reported.signed_by(&fewer, 1).await, (Ok(None), times));
        }
    }

    #[tokio::test]
    async fn a_rotated_key_has_no_second_budget() {
        let lineage = CredentialId::new(1);
        for own in [OwnLimits::default(), OwnLimits::default().signed(per_minute(3))] {
            let gated = gated(Limits::default().signed(per_minute(3)).unsigned(per_minute(2)));
            let (old, new) = (credential(1), credential(2).with_lineage(lineage));
            let (old, new) = (old.with_limits(own.clone()), new.with_limits(own));
            for (caller, passes) in [(&old, true), (&new, true), (&old, true), (&new, false)] {
                assert_eq!(gated.signed_by(caller, 1).await.0.is_ok(), passes);
            }
            for (caller, passes) in [(&old, true), (&new, true), (&old, false), (&new, false)] {
                assert_eq!(gated.unsigned_by(caller, None).await.is_ok(), passes);
            }
        }
    }

    #[tokio::test]
    async fn changed_limits_of_ones_own_hold_at_once_and_count_anew() {
        let gated = gated(Limits::default());
        let day = |amount| {
            let amount = NonZeroU32::new(amount).unwrap();
            [Quota::new(amount, Duration::from_secs(86_400)).unwrap()]
        };
        let by_day = credential(1).with_limits(OwnLimits::default().signed(day(1)));
        assert_eq!(gated.signed_by(&by_day, 1).await.0, Ok(Some(0)));
        assert!(gated.signed_by(&by_day, 1).await.0.is_err());
        let both = per_minute(5).into_iter().chain(day(100));
        let changed = credential(1).with_limits(OwnLimits::default().signed(both));
        assert_eq!(gated.signed_by(&changed, 1).await.0, Ok(Some(4)));
        // Nor does a change back give a new budget.
        assert!(gated.signed_by(&by_day, 1).await.0.is_err());
    }

    #[tokio::test]
    async fn reads_and_signed_requests_are_charged_apart() {
        let gated = gated(Limits::default().signed(per_minute(1)).unsigned(per_minute(1)));
        assert_eq!(gated.unsigned(1, None).await, Ok(r#""unsigned-60";r=0;t=60"#.into()));
        assert_eq!(gated.unsigned(1, None).await, Err(r#""unsigned-60";r=0;t=60"#.into()));
        assert_eq!(gated.signed(1, 1).await, (Ok(Some(0)), 1));
        assert_eq!(gated.unsigned(2, None).await, Ok(r#""unsigned-60";r=0;t=60"#.into()));
    }

    #[tokio::test]
    async fn what_is_not_named_is_not_limited() {
        let gated = gated(Limits::default());
        for times in 1..100 {
            assert_eq!(gated.signed(1, 1000).await, (Ok(None), times));
            assert_eq!(gated.unsigned(1, None).await, Ok(String::new()));
        }
    }

    #[tokio::test]
    async fn one_client_cannot_use_up_what_all_who_show_a_key_have() {
        let limits = Limits::default().unsigned(per_minute(3)).unsigned_by_address(per_minute(2));
        let gated = gated(limits);
        let (one, other) = (Some("192.0.2.1"), Some("192.0.2.2"));
        // The verdict names the quota with the least left.
        assert_eq!(gated.unsigned(1, one).await, Ok(r#""address-60";r=1;t=30"#.into()));
        assert_eq!(gated.unsigned(1, one).await, Ok(r#""address-60";r=0;t=60"#.into()));
        for _ in 0..5 {
            assert_eq!(gated.unsigned(1, one).await, Err(r#""address-60";r=0;t=30"#.into()));
        }
        assert_eq!(gated.unsigned(1, other).await, Ok(r#""unsigned-60";r=0;t=60"#.into()));
        assert_eq!(gated.unsigned(1, other).await, Err(r#""unsigned-60";r=0;t=20"#.into()));
    }

    #[tokio::test]
    async fn a_limit_by_address_asks_for_the_address() {
        let gated = gated(Limits::default().unsigned_by_address(per_minute(1)));
        assert_eq!(gated.unsigned(1, None).await, Err("no address".into()));
        assert_eq!(gated.unsigned(1, Some("192.0.2.1")).await.map(drop), Ok(()));
        // The limit by address does not apply to signed requests.
        assert_eq!(gated.signed(1, 1).await, (Ok(None), 1));
    }

    #[tokio::test]
    async fn what_is_over_a_limit_is_counted_and_what_is_only_reported_passes_in_silence() {
        let recorder = DebuggingRecorder::new();
        let counted = recorder.snapshotter();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let limits = || Limits::default().signed(per_minute(1)).unsigned(per_minute(1));
        let (enforced, reported) = (gated(limits()), gated(limits().insecure_report_only()));
        for times in 1..=3 {
            assert_eq!(reported.signed(1, 1).await, (Ok(None), times));
            assert_eq!(reported.unsigned(1, None).await, Ok(String::new()));
            assert_eq!(enforced.signed(1, 1).await.0.is_ok(), times == 1);
        }
        let counters = counted.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| label.value().to_owned());
            let DebugValue::Counter(count) = value else { panic!("{value:?}") };
            (key.key().name().to_owned(), labels.collect::<Vec<_>>().join(" "), count)
        });
        let mut counters: Vec<_> = counters.collect();
        counters.sort();
        let expected = [("signed enforced", 2), ("signed reported", 2), ("unsigned reported", 2)];
        let expected = expected.map(|(labels, count)| {
            ("countersign_over_limit_total".to_owned(), labels.to_owned(), count)
        });
        assert_eq!(counters, expected);
    }
}
