//! Two services on one PostgreSQL and one Redis.

use std::time::Instant;

use crate::{
    desk::Desk,
    redis_server::RedisServer,
    served::{ORIGIN, Served, signed_order},
    serving_killed::{kill_under_load, orders, times},
    upstream::{PATIENCE, Upstream},
};

/// What two services share.
struct Shared {
    desk: Desk,
    redis: RedisServer,
    upstream: Upstream,
}

impl Shared {
    /// With a key, which is returned as well.
    fn start() -> (Self, String) {
        let (desk, redis) = (Desk::with_database(), RedisServer::start());
        let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
        let shared = Self { desk, redis, upstream: Upstream::well() };
        // The first connection makes the guard; services that connect later find it settled.
        shared.serve("first").kill();
        shared.redis.settle("default");
        (shared, key)
    }

    /// Starts a service, or starts it again.
    fn serve(&self, name: &str) -> Served {
        let Self { desk, redis, upstream } = self;
        let config = format!("{name}.toml");
        desk.write(&config, format!("control = \"{name}.sock\"\n[guard]\nservers = 2\n"), 0o600);
        let (url, redis) = (upstream.url(), redis.url());
        let arguments =
            ["--config", &config, "--upstream", &url, "--origin", ORIGIN, "--redis", &redis];
        Served::with(desk, &arguments)
    }
}

#[test]
fn a_replay_and_a_revocation_hold_at_both_of_two_services() {
    let (shared, key) = Shared::start();
    let desk = &shared.desk;
    let (first, second) = (shared.serve("first"), shared.serve("second"));
    let order = signed_order(desk, "a book", "");
    let response = first.send(&order);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(second.send(&order).code(), "signature-replayed");
    // One that is killed loses nothing of it.
    first.kill();
    let first = shared.serve("first");
    assert_eq!(first.send(&order).code(), "signature-replayed");
    assert_eq!(first.read(&key, "").status, 200);
    assert_eq!(second.read(&key, "").status, 200);
    let begun = Instant::now();
    desk.run(["key", "revoke", &key]).done();
    let revoked = begun.elapsed();
    for (name, served) in [("first", &first), ("second", &second)] {
        while served.read(&key, "").status == 200 {
            assert!(begun.elapsed() < PATIENCE, "the revocation takes no effect");
        }
        // A slow machine may take longer; docs/explanation/performance.md has what it takes on a quiet one.
        let effective = begun.elapsed().saturating_sub(revoked);
        eprintln!("{name}: effective {effective:?} after the command, which took {revoked:?}");
    }
}

#[test]
fn what_one_of_two_services_accepted_before_it_was_killed_is_a_replay_at_the_other() {
    let (shared, _) = Shared::start();
    let (desk, upstream) = (&shared.desk, &shared.upstream);
    let (first, second) = (shared.serve("first"), shared.serve("second"));
    let orders = orders(desk);
    let mut received = kill_under_load(first, upstream, &orders, |_| {});
    // Each order is either one that the first service has accepted, or one that nobody has.
    let accepted = orders.iter().flatten().filter(|order| {
        let response = second.send(order);
        assert!(response.status == 200 || response.code() == "signature-replayed", "{response:?}");
        response.status == 200
    });
    let accepted = accepted.count();
    received.extend(upstream.all());
    let times = times(&received);
    assert!(times.values().all(|&times| times == 1), "{times:?}");
    assert!(times.len() >= accepted && accepted < orders.iter().flatten().count(), "{times:?}");
}
