use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use countersign::{Claim, PrivateKey, Window};
use countersign_store::{
    Application, ClientAddress, Credential, CredentialId, Gate, GateVerdict, Limits,
    NoClientAddress, OwnLimits, Quota, Redis, RedisGate, StoreError, Verdict, system_time,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::task::JoinSet;

use crate::{
    fixture::{at, fails, new, nonce, settled},
    proxy::CountingProxy,
};

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// So many at once, and then none for a long time.
fn at_once(amount: u32) -> Quota {
    Quota::new(number(1), Duration::from_secs(86_400)).unwrap().burst(number(amount))
}

/// One of two servers.
async fn gate(redis: Redis, limits: Limits) -> RedisGate {
    let (window, now) = (Window::default(), system_time());
    RedisGate::connect(redis, window, limits, number(2), now).await.unwrap()
}

fn address(text: &str) -> Option<ClientAddress> {
    Some(text.parse::<IpAddr>().unwrap().into())
}

fn credential(number: i64) -> Credential {
    let now = system_time();
    let shop = Application::new("shop".parse().unwrap(), "live".parse().unwrap(), now);
    let key = PrivateKey::hmac_sha256([1; 16], &[0x5a; 32]).unwrap().verifying_key();
    Credential::new(CredentialId::new(number), shop, key, now)
}

async fn signed(gate: &RedisGate, number: i64) -> Result<GateVerdict, StoreError> {
    signed_by(gate, &credential(number)).await
}

async fn signed_by(gate: &RedisGate, credential: &Credential) -> Result<GateVerdict, StoreError> {
    let now = system_time();
    gate.charge_and_claim(credential, &nonce(credential.id.get(), now), ONE, now).await
}

async fn passes(gate: &RedisGate, number: i64) -> bool {
    is_passed_by(gate, &credential(number)).await
}

async fn is_passed_by(gate: &RedisGate, credential: &Credential) -> bool {
    match signed_by(gate, credential).await.unwrap() {
        GateVerdict::Claimed(claim, _) => {
            assert_eq!(claim, Claim::Fresh);
            true
        }
        GateVerdict::Exceeded(_) => false,
    }
}

async fn reads(gate: &RedisGate, number: i64, from: &str) -> bool {
    is_read_by(gate, &credential(number), from).await
}

async fn is_read_by(gate: &RedisGate, credential: &Credential, from: &str) -> bool {
    let verdict = gate.charge_unsigned(credential, address(from), ONE).await.unwrap();
    matches!(verdict, Verdict::Within(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_allow_together_what_one_would() {
    let server = settled(&[]).await;
    let limits = Limits::default().signed([at_once(100)]).unsigned([at_once(50)]);
    let gates = [gate(at(&server), limits.clone()).await, gate(at(&server), limits).await];
    let gates = gates.map(Arc::new);
    let mut asking = JoinSet::new();
    for gate in gates.iter().cycle().take(400) {
        let gate = Arc::clone(gate);
        asking.spawn(async move { (passes(&gate, 1).await, reads(&gate, 1, "192.0.2.1").await) });
    }
    let (mut written, mut read) = (0, 0);
    while let Some(asked) = asking.join_next().await {
        let (one, other) = asked.unwrap();
        written += u32::from(one);
        read += u32::from(other);
    }
    assert_eq!((written, read), (100, 50));
    // Another credential has its own.
    assert!(passes(&gates[0], 2).await && reads(&gates[1], 2, "192.0.2.1").await);
}

#[tokio::test]
async fn a_call_over_the_limit_spends_no_nonce_and_is_told_what_to_do() {
    let server = settled(&[]).await;
    let burst = Quota::per_minute(number(60)).burst(number(2));
    let (one, other) = (
        gate(at(&server), Limits::default().signed([burst, at_once(5)])).await,
        gate(at(&server), Limits::default()).await,
    );
    for left in [1, 0] {
        let GateVerdict::Claimed(Claim::Fresh, Some(quota)) = signed(&one, 1).await.unwrap() else {
            panic!()
        };
        assert_eq!((quota.name().as_str(), quota.remaining()), ("signed-60", left));
        assert_eq!(quota.policy(), r#""signed-60";q=60;w=60, "signed-86400";q=1;w=86400"#);
    }
    let used = new();
    let GateVerdict::Exceeded(over) =
        one.charge_and_claim(&credential(1), &used, ONE, system_time()).await.unwrap()
    else {
        panic!()
    };
    assert!(over.retry_after <= Duration::from_secs(1), "{over:?}");
    assert_eq!(over.left.name(), "signed-60");
    assert_eq!(over.left.remaining(), 0);
    // Where nothing is limited, it is fresh.
    let claimed = other.charge_and_claim(&credential(1), &used, ONE, system_time()).await.unwrap();
    assert_eq!(claimed, GateVerdict::Claimed(Claim::Fresh, None));
}

#[tokio::test]
async fn a_captured_request_takes_nothing_from_its_signer() {
    let server = settled(&[]).await;
    let gate = gate(at(&server), Limits::default().signed([at_once(2)])).await;
    let used = new();
    let first = gate.charge_and_claim(&credential(1), &used, ONE, system_time()).await.unwrap();
    assert!(matches!(first, GateVerdict::Claimed(Claim::Fresh, Some(_))), "{first:?}");
    for _ in 0..10 {
        let again = gate.charge_and_claim(&credential(1), &used, ONE, system_time()).await.unwrap();
        assert_eq!(again, GateVerdict::Claimed(Claim::Replayed, None));
    }
    assert!(passes(&gate, 1).await);
    assert!(!passes(&gate, 1).await);
}

#[tokio::test]
async fn reads_are_charged_to_the_address_first_and_need_one() {
    let server = settled(&[]).await;
    let limits = Limits::default().unsigned([at_once(5)]).unsigned_by_address([at_once(2)]);
    let gate = gate(at(&server), limits).await;
    assert_eq!(gate.charge_unsigned(&credential(1), None, ONE).await, Err(NoClientAddress));
    for (from, expected) in [
        ("192.0.2.1", true),
        ("192.0.2.1", true),
        // Over its own limit, it takes nothing from the others.
        ("192.0.2.1", false),
        ("192.0.2.1", false),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
        ("192.0.2.2", true),
        // Now all that the key has is used up.
        ("192.0.2.3", false),
    ] {
        assert_eq!(reads(&gate, 1, from).await, expected, "{from}");
    }
    assert!(reads(&gate, 2, "192.0.2.3").await);
}

#[tokio::test]
async fn a_call_is_one_round_trip_with_its_limits_and_none_after_a_refusal() {
    let server = settled(&[]).await;
    let proxy = CountingProxy::start(server.port()).await;
    let redis = Redis::single(&proxy.url()).unwrap().timeout(Duration::from_secs(20));
    let limits = Limits::default()
        .signed([at_once(100), Quota::per_second(number(1000))])
        .unsigned([at_once(100)])
        .unsigned_by_address([at_once(200)]);
    let gate = gate(redis, limits).await;
    for (asked, expected) in [(100, 100), (1, 1), (50, 0)] {
        let before = proxy.trips();
        for _ in 0..asked {
            assert_eq!(passes(&gate, 1).await, expected == 100);
        }
        assert_eq!(proxy.trips() - before, expected, "signed");
        let before = proxy.trips();
        for _ in 0..asked {
            assert_eq!(reads(&gate, 1, "192.0.2.1").await, expected == 100);
        }
        assert_eq!(proxy.trips() - before, expected, "unsigned");
    }
}

#[tokio::test]
async fn without_redis_writes_are_refused_and_each_server_reads_its_share() {
    let mut server = settled(&[]).await;
    let limits = Limits::default().signed([at_once(9)]).unsigned([at_once(6)]);
    let gate = gate(at(&server), limits).await;
    assert!(passes(&gate, 1).await && reads(&gate, 1, "192.0.2.1").await);
    server.kill();
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    let recording = metrics::set_default_local_recorder(&recorder);
    for read in [true, true, true, false, false] {
        assert!(signed(&gate, 1).await.is_err());
        assert_eq!(reads(&gate, 1, "192.0.2.1").await, read);
    }
    drop(recording);
    let counted = counted.snapshot().into_vec();
    let fallbacks =
        counted.iter().find(|(key, ..)| key.key().name() == "countersign_limits_fallback_total");
    assert!(matches!(fallbacks.unwrap().3, DebugValue::Counter(5)), "{fallbacks:?}");
    server.restart();
    // It knows nothing of what was read, so that all six are there again.
    let mut read = 0;
    while read < 6 {
        read += u32::from(reads(&gate, 1, "192.0.2.1").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!reads(&gate, 1, "192.0.2.1").await);
    assert!(matches!(
        signed(&gate, 1).await.unwrap(),
        GateVerdict::Claimed(Claim::TooOld { .. }, _)
    ));
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough() {
    let server = settled(&[]).await;
    let documentation = include_str!("../../../../docs/operate/several-servers.md");
    let line = documentation.lines().find(|line| line.starts_with("ACL SETUSER shop ")).unwrap();
    server.tell(&line.split(' ').collect::<Vec<_>>());
    let redis = at(&server).credentials(Some("shop"), "password").look_every(Duration::ZERO);
    let redis = redis.replicas(0, Duration::from_millis(1));
    let limits = Limits::default().signed([at_once(2)]).unsigned([at_once(2)]);
    let gate = gate(redis, limits).await;
    for expected in [true, true, false] {
        assert_eq!(passes(&gate, 1).await, expected);
        assert_eq!(reads(&gate, 1, "192.0.2.1").await, expected);
    }
    server.tell(&["FLUSHALL"]);
    let refused = signed(&gate, 2).await.unwrap();
    assert!(matches!(refused, GateVerdict::Claimed(Claim::TooOld { .. }, _)), "{refused:?}");
}

#[tokio::test]
async fn a_redis_that_may_evict_limits_nobody_less() {
    let server = settled(&[]).await;
    let limits = Limits::default().unsigned([at_once(2)]);
    let gate = gate(at(&server).look_every(Duration::ZERO), limits).await;
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    fails(signed(&gate, 1).await, "noeviction");
    for read in [true, true, false] {
        assert_eq!(reads(&gate, 1, "192.0.2.1").await, read);
    }
}

#[tokio::test]
async fn limits_that_are_only_reported_let_everything_pass_but_replays() {
    let server = settled(&[]).await;
    let limits = Limits::default()
        .signed([at_once(2)])
        .unsigned([at_once(2)])
        .unsigned_by_address([at_once(1)])
        .insecure_report_only();
    let gate = gate(at(&server), limits).await;
    // Within the limit, and over it.
    for _ in 0..5 {
        let used = new();
        for expected in [Claim::Fresh, Claim::Replayed, Claim::Replayed] {
            let verdict =
                gate.charge_and_claim(&credential(1), &used, ONE, system_time()).await.unwrap();
            assert_eq!(verdict, GateVerdict::Claimed(expected, None));
        }
        assert!(reads(&gate, 1, "192.0.2.1").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_ones_own_are_counted_by_all_servers_and_for_a_lineage() {
    let server = settled(&[]).await;
    let limits = || Limits::default().signed([at_once(3)]);
    let gates = [gate(at(&server), limits()).await, gate(at(&server), Limits::default()).await];
    let own = OwnLimits::default().signed([at_once(5), Quota::per_minute(number(50))]);
    let own = own.unsigned([at_once(2)]);
    let old = credential(1).with_limits(own.clone());
    let new = credential(2).with_lineage(CredentialId::new(1)).with_limits(own);
    let (mut written, mut read) = (0, 0);
    for gate in gates.iter().cycle().take(10) {
        for caller in [&old, &new] {
            written += u32::from(is_passed_by(gate, caller).await);
            read += u32::from(is_read_by(gate, caller, "192.0.2.1").await);
        }
    }
    assert_eq!((written, read), (5, 2));
    // Without limits of its own, those of each server hold, and for the lineage as well.
    let (old, new) = (credential(3), credential(4).with_lineage(CredentialId::new(3)));
    let mut written = [0; 2];
    for (at, gate) in gates.iter().enumerate() {
        for caller in [&old, &new].into_iter().cycle().take(6) {
            written[at] += u32::from(is_passed_by(gate, caller).await);
        }
    }
    assert_eq!(written, [3, 6]);
    // Changed limits count anew.
    let changed = credential(1).with_limits(OwnLimits::default().signed([at_once(1)]));
    assert!(is_passed_by(&gates[0], &changed).await);
    assert!(!is_passed_by(&gates[1], &changed).await);
    let GateVerdict::Exceeded(over) = signed_by(&gates[0], &changed).await.unwrap() else {
        panic!()
    };
    assert_eq!(over.left.policy(), r#""signed-86400";q=1;w=86400"#);
}
