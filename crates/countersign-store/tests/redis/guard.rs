use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{Claim, NonceUse, Policy, Timestamp, Window};
use countersign_store::{
    Limits, NonceStore, Readiness, Redis, RedisGate, RedisNonces, system_time,
};
use tokio::task::JoinSet;

use crate::{
    fixture::{
        MARK, at, claim, claim_new, fails, guard, is_too_old, new, nonce, settle, settled, told,
    },
    proxy::CountingProxy,
    server::{RedisServer, wait_until},
};

async fn claim_many(guard: &RedisNonces, number: usize) -> Vec<NonceUse> {
    let mut claimed = Vec::new();
    for _ in 0..number {
        let used = new();
        assert_eq!(claim(guard, &used).await.unwrap(), Claim::Fresh);
        claimed.push(used);
    }
    claimed
}

/// All of these are below the mark, so that none is ever fresh, however long anybody waits.
async fn all_are_too_old(guard: &RedisNonces, claimed: &[NonceUse]) {
    for used in claimed {
        assert!(is_too_old(claim(guard, used).await));
    }
}

#[tokio::test]
async fn a_nonce_is_fresh_once_per_credential_and_time() {
    let server = settled(&[]).await;
    let (one, other) = (guard(at(&server)).await, guard(at(&server)).await);
    let now = system_time();
    let first = nonce(1, now);
    let same = |credential, created| NonceUse::new(credential, created, *first.nonce());
    assert_eq!(claim(&one, &first).await.unwrap(), Claim::Fresh);
    for guard in [&one, &other] {
        assert_eq!(claim(guard, &first).await.unwrap(), Claim::Replayed);
    }
    for used in [same(2, now), same(1, now.minus(Duration::from_secs(1))), nonce(1, now)] {
        assert_eq!(claim(&other, &used).await.unwrap(), Claim::Fresh);
        assert_eq!(claim(&one, &used).await.unwrap(), Claim::Replayed);
    }
}

#[tokio::test]
async fn services_with_other_names_share_nothing() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    drop(guard(at(&server).guard("other").unwrap()).await);
    server.settle("other");
    let other = guard(at(&server).guard("other").unwrap()).await;
    let used = new();
    for guard in [one, other] {
        assert_eq!(claim(&guard, &used).await.unwrap(), Claim::Fresh);
        assert_eq!(claim(&guard, &used).await.unwrap(), Claim::Replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_simultaneous_claims_at_two_servers_exactly_one_is_fresh() {
    let server = settled(&[]).await;
    let guards = [guard(at(&server)).await, guard(at(&server)).await];
    let mut racing = JoinSet::new();
    for _ in 0..3000 {
        let (used, [one, other]) = (new(), guards.clone());
        racing.spawn(async move {
            let now = system_time();
            let (one, other) = tokio::join!(one.claim(&used, now), other.claim(&used, now));
            [one.unwrap(), other.unwrap()]
        });
    }
    while let Some(answers) = racing.join_next().await {
        let mut answers = answers.unwrap();
        answers.sort_by_key(|&claim| claim == Claim::Replayed);
        assert_eq!(answers, [Claim::Fresh, Claim::Replayed]);
    }
}

#[tokio::test]
async fn a_new_redis_refuses_what_another_may_have_accepted_and_then_accepts() {
    let server = RedisServer::start();
    let policy = Policy::default().window(Duration::from_secs(60), Duration::ZERO).unwrap();
    let redis = at(&server).clock_error(Duration::from_secs(1));
    let guard = RedisNonces::connect(redis, Window::from(&policy), system_time()).await.unwrap();
    let Claim::TooOld { retry_after } = claim_new(&guard).await.unwrap() else { panic!() };
    assert!(retry_after <= Duration::from_secs(3), "{retry_after:?}");
    let start = Instant::now();
    while is_too_old(claim_new(&guard).await) {
        assert!(start.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(claim_new(&guard).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_flushed_redis_knows_that_it_knows_nothing() {
    let server = settled(&[]).await;
    let (one, other) = (guard(at(&server)).await, guard(at(&server)).await);
    let claimed = claim_many(&one, 20).await;
    for flush in [&["FLUSHALL"][..], &["FLUSHDB"], &["DEL", MARK], &["UNLINK", MARK]] {
        server.tell(flush);
        all_are_too_old(&other, &claimed).await;
        all_are_too_old(&one, &claimed).await;
        assert!(is_too_old(claim_new(&one).await), "{flush:?}");
    }
    let key: String = server.ask(&["HGET", MARK, "key"]).unwrap();
    server.tell(&["FLUSHALL"]);
    assert!(is_too_old(claim_new(&one).await));
    assert_ne!(server.ask::<String>(&["HGET", MARK, "key"]).unwrap(), key);
}

#[tokio::test]
async fn a_restarted_redis_is_not_trusted_with_what_it_knew() {
    for (options, save) in [
        (&[][..], None),
        (&["--appendonly", "yes"], None),
        (&["--appendonly", "yes", "--appendfsync", "always"], None),
        (&[], Some("SAVE")),
    ] {
        let mut server = settled(options).await;
        let one = guard(at(&server)).await;
        let mut claimed = claim_many(&one, 20).await;
        if let Some(save) = save {
            server.tell(&[save]);
            // These are lost.
            claimed.extend(claim_many(&one, 20).await);
        }
        server.kill();
        server.restart();
        all_are_too_old(&guard(at(&server)).await, &claimed).await;
        wait_until_it_answers(&one).await;
        all_are_too_old(&one, &claimed).await;
    }
}

/// After a connection was lost, calls may fail for a while.
async fn wait_until_it_answers(guard: &RedisNonces) {
    let start = Instant::now();
    while claim_new(guard).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_redis_again_and_again_under_load_makes_nothing_fresh_twice() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let policy = Policy::default().window(Duration::from_secs(60), Duration::ZERO).unwrap();
    let redis = at(&server).clock_error(Duration::from_secs(1));
    let connect = || RedisNonces::connect(redis.clone(), Window::from(&policy), system_time());
    let guards = [connect().await.unwrap(), connect().await.unwrap()];
    let mut claimed: Vec<NonceUse> = Vec::new();
    for round in 0..4 {
        let mut load = JoinSet::new();
        let killed = Arc::new(AtomicU64::new(0));
        let fresh = Arc::new(AtomicU64::new(0));
        for guard in guards.iter().cycle().take(8) {
            let guard = guard.clone();
            let (killed, fresh) = (Arc::clone(&killed), Arc::clone(&fresh));
            load.spawn(async move {
                let mut claimed = Vec::new();
                while killed.load(Ordering::SeqCst) == 0 {
                    let used = new();
                    // Who gets no answer may have spent it; who gets one has.
                    match guard.claim(&used, system_time()).await {
                        Ok(Claim::Fresh) => {
                            claimed.push(used);
                            fresh.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
                claimed
            });
        }
        let enough = Arc::clone(&fresh);
        tokio::task::spawn_blocking(move || wait_until(|| enough.load(Ordering::SeqCst) > 500))
            .await
            .unwrap();
        server.kill();
        killed.store(1, Ordering::SeqCst);
        while let Some(more) = load.join_next().await {
            claimed.extend(more.unwrap());
        }
        server.restart();
        for guard in &guards {
            wait_until_it_answers(guard).await;
            for used in &claimed {
                assert_ne!(claim(guard, used).await.unwrap(), Claim::Fresh, "round {round}");
            }
        }
    }
    assert!(claimed.len() > 2000);
}

#[tokio::test]
async fn a_promoted_replica_refuses_what_it_may_not_have_got() {
    let primary = settled(&[]).await;
    let replica = RedisServer::start();
    let one = guard(at(&primary)).await;
    replica.follow(&primary);
    // That a replica came made it another history: what was claimed before is refused from here on.
    assert!(is_too_old(claim_new(&one).await));
    settle(&primary).await;
    let one = guard(at(&primary)).await;
    let mut claimed = claim_many(&one, 20).await;
    replica.cut_off();
    claimed.extend(claim_many(&one, 20).await);
    let known: i64 = replica.ask(&["HLEN", MARK]).unwrap();
    assert!(known > 0, "it has the mark");
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    let other = guard(at(&replica)).await;
    all_are_too_old(&other, &claimed).await;

    // Back and forth: each promotion is one more that may have lost something.
    replica.follow(&primary);
    fails(claim_new(&other).await, "it is a replica");
    let more = claim_many(&one, 20).await;
    replica.cut_off();
    claimed.extend(more);
    claimed.extend(claim_many(&one, 20).await);
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    wait_until_it_answers(&other).await;
    all_are_too_old(&other, &claimed).await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_under_way_says_so() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let claimed = claim_many(&one, 5).await;
    server.tell(&["REPLICAOF", "127.0.0.1", "1"]);
    fails(claim_new(&one).await, "it is a replica");
    let error = RedisNonces::connect(at(&server), Window::default(), system_time()).await;
    fails(error, "it is a replica");
    server.tell(&["REPLICAOF", "NO", "ONE"]);
    wait_until_it_answers(&one).await;
    all_are_too_old(&one, &claimed).await;
}

#[tokio::test]
async fn a_redis_that_may_evict_is_refused_at_the_start_and_later() {
    let server = settled(&[]).await;
    let one = guard(at(&server).look_every(Duration::ZERO)).await;
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        server.tell(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let connected = RedisNonces::connect(at(&server), Window::default(), system_time()).await;
        fails(connected, "write `maxmemory-policy noeviction` into redis.conf");
        fails(claim_new(&one).await, policy);
        fails(claim_new(&one).await, "noeviction");
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        assert_eq!(claim_new(&one).await.unwrap(), Claim::Fresh);
        assert_eq!(claim_new(&guard(at(&server)).await).await.unwrap(), Claim::Fresh);
    }
}

#[tokio::test]
async fn what_was_evicted_unseen_is_noticed_and_refused() {
    let server = settled(&[]).await;
    let one = guard(at(&server).look_every(Duration::ZERO)).await;
    let claimed = claim_many(&one, 50).await;
    let hashes = || server.ask::<Vec<String>>(&["KEYS", "{countersign:default}:n:*"]).unwrap();
    assert!(!hashes().is_empty());
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    wait_until(|| {
        drop(server.ask::<redis::Value>(&["SET", "other", "x"]));
        hashes().is_empty()
    });
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let first = claim(&one, &claimed[0]).await;
    fails(first, "it has evicted keys");
    all_are_too_old(&one, &claimed).await;
    // Another server, which looks only now, finds it in order.
    let other = guard(at(&server)).await;
    all_are_too_old(&other, &claimed).await;
}

#[tokio::test]
async fn a_full_redis_answers_with_an_error_until_there_is_room() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let used = new();
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    fails(claim(&one, &used).await, "OOM");
    // What is old is dropped even then, which makes room.
    let long_ago = system_time().minus(Duration::from_secs(3600));
    let bucket = (long_ago.unix() / 4).to_string();
    let hash = format!("{{countersign:default}}:n:{bucket}:7");
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    server.tell(&[
        "HSET",
        MARK,
        &bucket,
        "",
        "low_water",
        &long_ago.minus(Duration::from_secs(9)).to_string(),
    ]);
    server.tell(&["HSET", &hash, "fingerprint", ""]);
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let other = guard(at(&server)).await;
    assert_eq!(claim(&other, &used).await.unwrap(), Claim::Fresh);
    assert_eq!(server.ask::<u32>(&["EXISTS", &hash]).unwrap(), 0);
    assert_eq!(server.ask::<u32>(&["HEXISTS", MARK, &bucket]).unwrap(), 0);
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(claim(&other, &used).await.unwrap(), Claim::Replayed);
}

#[tokio::test]
async fn clocks_that_disagree_accept_nothing() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let at_clock = async |off: i64| {
        let now = Timestamp::from_unix(system_time().unix().checked_add_signed(off).unwrap());
        one.claim(&nonce(1, now), now).await
    };
    for off in [-3600, -8, 8, 3600] {
        fails(at_clock(off).await, "its clock says");
        let now = Timestamp::from_unix(system_time().unix().checked_add_signed(off).unwrap());
        let connected = RedisNonces::connect(at(&server), Window::default(), now).await;
        fails(connected, "its clock says");
    }
    for off in [-2, 0, 2] {
        assert_eq!(at_clock(off).await.unwrap(), Claim::Fresh, "{off}");
    }
    // Nor is what lies beyond the window of this guard, whatever the policy of its server says.
    let now = system_time();
    fails(one.claim(&nonce(1, now.plus(Duration::from_secs(11))), now).await, "from the future");
    let ahead = nonce(1, now.plus(Duration::from_secs(10)));
    assert_eq!(one.claim(&ahead, now).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn what_is_no_mark_is_an_error_and_left_alone() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let fields = ["low_water", "key", "primary", "reach"];
    let whole: Vec<String> = fields.map(|field| server.ask(&["HGET", MARK, field]).unwrap()).into();
    let restore = || {
        server.tell(&["DEL", MARK]);
        for (field, value) in fields.iter().zip(&whole) {
            server.tell(&["HSET", MARK, field, value]);
        }
    };
    let connect = || RedisNonces::connect(at(&server), Window::default(), system_time());
    for (garbage, saying) in [
        (&["SET", MARK, "x"][..], "WRONGTYPE"),
        (&["RPUSH", MARK, "x"], "WRONGTYPE"),
        (&["HSET", MARK, "low_water", "x"], "is not a mark"),
        (&["HSET", MARK, "low_water", ""], "is not a mark"),
        (&["HSET", MARK, "low_water", "nan"], "is not a mark"),
        (&["HSET", MARK, "low_water", "-1"], "is not a mark"),
        (&["HSET", MARK, "low_water", "1e3"], "is not a mark"),
        (&["HSET", MARK, "low_water", "0x10"], "is not a mark"),
        (&["HSET", MARK, "low_water", "9999999999999999"], "is not a mark"),
        (&["HSET", MARK, "reach", "inf"], "is not a mark"),
        (&["HDEL", MARK, "key"], "is not a mark"),
        (&["HDEL", MARK, "reach"], "is not a mark"),
        (&["HSET", MARK, "key", "ä"], "is not a mark"),
    ] {
        restore();
        if matches!(garbage[0], "SET" | "RPUSH") {
            server.tell(&["DEL", MARK]);
        }
        server.tell(garbage);
        fails(claim_new(&one).await, saying);
        fails(connect().await, saying);
    }
    restore();
    assert_eq!(claim_new(&one).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_redis_that_was_set_back_is_found_out_by_who_knew_it_later() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let claimed = claim_many(&one, 5).await;
    let earlier: u64 = server.ask(&["HGET", MARK, "low_water"]).unwrap();
    server.tell(&["HSET", MARK, "low_water", &(earlier - 4).to_string()]);
    all_are_too_old(&one, &claimed).await;
    // Once for all.
    all_are_too_old(&guard(at(&server)).await, &claimed).await;
}

#[tokio::test]
async fn another_fingerprint_key_is_taken_over_at_once() {
    let server = settled(&[]).await;
    let (one, other) = (guard(at(&server)).await, guard(at(&server)).await);
    server.tell(&["HSET", MARK, "key", &"0123456789abcdef".repeat(2)]);
    let used = new();
    assert_eq!(claim(&one, &used).await.unwrap(), Claim::Fresh);
    assert_eq!(claim(&other, &used).await.unwrap(), Claim::Replayed);
}

#[tokio::test]
async fn what_too_few_replicas_have_is_refused_and_spent() {
    let primary = settled(&[]).await;
    let replica = RedisServer::start();
    replica.follow(&primary);
    settle(&primary).await;
    let one = guard(at(&primary).replicas(1, Duration::from_millis(100))).await;
    let patient = guard(at(&primary).replicas(1, Duration::from_secs(20))).await;
    assert_eq!(claim_new(&patient).await.unwrap(), Claim::Fresh);
    replica.signal("STOP");
    let used = new();
    fails(claim(&one, &used).await, "0 replicas have the claim, and 1 are required");
    replica.signal("CONT");
    assert_eq!(claim(&patient, &used).await.unwrap(), Claim::Replayed);
    assert_eq!(claim_new(&patient).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_primary_with_too_few_replicas_is_an_error() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let used = new();
    fails(claim(&one, &used).await, "NOREPLICAS");
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(claim(&one, &used).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_sent_again() {
    let server = settled(&[]).await;
    let one = guard(at(&server)).await;
    for _ in 0..3 {
        assert_eq!(claim_new(&one).await.unwrap(), Claim::Fresh);
        server.tell(&["SCRIPT", "FLUSH"]);
    }
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_and_is_found_again() {
    let mut server = settled(&[]).await;
    let one = guard(at(&server)).await;
    let claimed = claim_many(&one, 5).await;
    server.kill();
    for _ in 0..3 {
        assert!(claim_new(&one).await.is_err());
    }
    let connected = RedisNonces::connect(at(&server), Window::default(), system_time()).await;
    fails(connected, "the replay guard cannot use Redis");
    server.restart();
    wait_until_it_answers(&one).await;
    all_are_too_old(&one, &claimed).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_in_time_is_an_error() {
    let server = settled(&[]).await;
    let one = guard(at(&server).timeout(Duration::from_millis(100))).await;
    server.signal("STOP");
    let used = new();
    fails(claim(&one, &used).await, "may have been executed");
    assert!(claim(&one, &used).await.is_err());
    server.signal("CONT");
    wait_until_it_answers(&one).await;
    // It was done: nobody gets it now.
    assert_eq!(claim(&guard(at(&server)).await, &used).await.unwrap(), Claim::Replayed);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_repeat_it() {
    let server = settled(&[]).await;
    server.tell(&["CONFIG", "SET", "requirepass", "r1ght"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let connect =
        async |redis: Redis| RedisNonces::connect(redis, Window::default(), system_time()).await;
    let wrong = connect(Redis::single(&url("wr0ng")).unwrap()).await.unwrap_err();
    let printed = format!("{} {wrong:?} {wrong:#?}", told(&wrong));
    assert!(!printed.contains("wr0ng"), "{printed}");
    for redis in [Redis::single(&url("r1ght")).unwrap(), at(&server).credentials(None, "r1ght")] {
        let guard = connect(redis.timeout(Duration::from_secs(20))).await.unwrap();
        assert_eq!(claim_new(&guard).await.unwrap(), Claim::Fresh);
        assert!(!format!("{guard:?}").contains("r1ght"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_the_new_primary_which_is_not_trusted_with_what_it_has() {
    let (mut primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.follow(&primary);
    settle(&primary).await;
    let sentinel = RedisServer::sentinel_of(&primary);
    wait_until(|| {
        let replicas = sentinel.ask::<Vec<redis::Value>>(&["SENTINEL", "REPLICAS", "main"]);
        replicas.is_ok_and(|replicas| !replicas.is_empty())
    });
    let redis = Redis::sentinel("main", [sentinel.url().as_str()]).unwrap();
    let one = guard(redis.timeout(Duration::from_secs(20))).await;
    let claimed = claim_many(&one, 20).await;
    primary.kill();
    assert!(claim_new(&one).await.is_err());
    wait_until_it_answers(&one).await;
    assert_eq!(replica.info("role"), "master");
    all_are_too_old(&one, &claimed).await;
}

#[tokio::test]
async fn a_cluster_is_followed_to_the_node_that_has_the_guard() {
    let nodes = [(); 2].map(|()| RedisServer::start_with(&["--cluster-enabled", "yes"]));
    let [one, other] = &nodes;
    one.tell(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    other.tell(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    one.tell(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
    let ready = |node: &RedisServer| -> bool {
        node.ask::<String>(&["CLUSTER", "INFO"]).unwrap().contains("cluster_state:ok")
    };
    wait_until(|| nodes.iter().all(ready));
    let has_it = |node: &&RedisServer| node.ask::<i64>(&["HLEN", MARK]).is_ok();
    let has = nodes.iter().find(has_it).unwrap();
    let has_not = nodes.iter().find(|node| !has_it(node)).unwrap();
    let cluster = |node: &RedisServer| {
        Redis::cluster([node.url().as_str()]).unwrap().timeout(Duration::from_secs(20))
    };
    drop(guard(cluster(has)).await);
    has.settle("default");
    let (near, far) = (guard(cluster(has)).await, guard(cluster(has_not)).await);
    let used = new();
    assert_eq!(claim(&far, &used).await.unwrap(), Claim::Fresh);
    assert_eq!(claim(&near, &used).await.unwrap(), Claim::Replayed);
}

#[tokio::test]
async fn a_claim_is_one_round_trip_whatever_else_is_looked_at() {
    let server = settled(&[]).await;
    let proxy = CountingProxy::start(server.port()).await;
    let redis = Redis::single(&proxy.url()).unwrap();
    let redis = redis.timeout(Duration::from_secs(20));
    let looking = redis.clone().look_every(Duration::ZERO);
    let waiting = looking.clone().replicas(0, Duration::from_millis(1));
    for redis in [redis, looking, waiting] {
        let guard = guard(redis).await;
        let before = proxy.trips();
        claim_many(&guard, 100).await;
        assert_eq!(proxy.trips() - before, 100);
    }
}

#[tokio::test]
async fn a_guard_in_redis_is_ready_when_its_mark_is_passed_and_redis_answers() {
    let mut server = RedisServer::start();
    let redis = at(&server).timeout(Duration::from_secs(5));
    let before = system_time();
    let new = guard(redis.clone()).await;
    let (limits, servers) = (Limits::default(), NonZeroU32::MIN);
    let gate = async || {
        let window = Window::default();
        RedisGate::connect(redis.clone(), window, limits.clone(), servers, system_time())
            .await
            .unwrap()
    };
    // The skew, and twice the error of clocks that is allowed by default.
    let ready_at = new.ready_at(system_time()).await.unwrap();
    assert!(ready_at >= before.plus(Duration::from_secs(21)), "{before} {ready_at}");
    assert_eq!(gate().await.ready_at(system_time()).await.unwrap(), ready_at);
    assert!(is_too_old(claim_new(&new).await));
    drop(new);
    server.settle("default");
    let (settled, gate) = (guard(redis.clone()).await, gate().await);
    for ready_at in [settled.ready_at(system_time()).await, gate.ready_at(system_time()).await] {
        assert!(ready_at.unwrap() <= system_time());
    }
    assert_eq!(claim_new(&settled).await.unwrap(), Claim::Fresh);
    server.kill();
    assert!(settled.ready_at(system_time()).await.is_err());
    assert!(gate.ready_at(system_time()).await.is_err());
}
