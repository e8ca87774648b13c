//! kill -9 of `countersign serve` while clients send signed requests and an operator changes the registry.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    desk::Desk,
    served::{Served, desk_with_shop, signed_order},
    upstream::{PATIENCE, Received, Upstream},
};

const CLIENTS: usize = 4;
const ORDERS_EACH: usize = 12;
/// How many orders the service gets before the proxy is killed.
const BEFORE: usize = 10;

/// Signed orders, each with content of its own, for each client.
pub(crate) fn orders(desk: &Desk) -> Vec<Vec<String>> {
    let order =
        |client: usize, number: usize| signed_order(desk, &format!("order {client}-{number}"), "");
    (0..CLIENTS)
        .map(|client| (0..ORDERS_EACH).map(|number| order(client, number)).collect())
        .collect()
}

/// Sends orders until they cannot be sent any more.
fn send(to: SocketAddr, orders: &[String]) {
    for order in orders {
        let Ok(mut stream) = TcpStream::connect(to) else { return };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if stream.write_all(order.as_bytes()).is_err() {
            return;
        }
        drop(stream.read_to_end(&mut Vec::new()));
    }
}

/// Kills a service while clients send orders. Returns what the upstream got until then.
pub(crate) fn kill_under_load(
    served: Served,
    upstream: &Upstream,
    orders: &[Vec<String>],
    meanwhile: impl FnOnce(&AtomicBool) + Send,
) -> Vec<Received> {
    let killed = AtomicBool::new(false);
    let address = served.address;
    thread::scope(|scope| {
        for orders in orders {
            scope.spawn(|| send(address, orders));
        }
        scope.spawn(|| meanwhile(&killed));
        let mut received: Vec<_> = (0..BEFORE).map(|_| upstream.next()).collect();
        served.kill();
        killed.store(true, Ordering::Relaxed);
        received.extend(upstream.all());
        received
    })
}

/// How often the upstream got each order whole.
pub(crate) fn times(received: &[Received]) -> HashMap<Vec<u8>, usize> {
    let mut times = HashMap::new();
    for received in received.iter().filter(|received| received.whole) {
        let number: &mut usize = times.entry(received.content.clone()).or_default();
        *number = number.checked_add(1).unwrap();
    }
    times
}

#[test]
fn a_service_that_is_killed_under_load_accepts_nothing_twice_and_loses_no_change() {
    let (desk, _) = desk_with_shop();
    let upstream = Upstream::well();
    let served = Served::start(&desk, &upstream);
    let orders = orders(&desk);
    let mut added = Vec::new();
    let mut received = kill_under_load(served, &upstream, &orders, |killed| {
        while !killed.load(Ordering::Relaxed) {
            let name = format!("app{}", added.len());
            desk.run(["app", "add", &name]).done();
            added.push(name);
        }
    });
    let apps = desk.run(["app", "list"]).done();
    for name in &added {
        assert!(apps.contains(name), "{name}: {apps}");
    }
    // The new service refuses what it cannot know to be new: first all, then what was signed before the crash.
    let served = Served::start(&desk, &upstream);
    for order in orders.iter().flatten() {
        let response = served.send(order);
        assert!(response.is_refusal(), "{response:?}");
    }
    received.extend(upstream.all());
    let times = times(&received);
    assert!(times.len() >= BEFORE && times.values().all(|&times| times == 1), "{times:?}");
    desk.run(["audit", "verify"]).done();
}
