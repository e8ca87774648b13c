//! When keys were last used.

use std::time::Duration;

use countersign::Timestamp;
use countersign_store::{KeyStore, Registry};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
};

on_both! {
    the_last_use_is_known_to_a_minute_after_it_was_saved
    a_closed_registry_has_saved_what_was_used
    many_uses_are_saved_by_servers_at_the_same_time
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

async fn used(registry: &Registry, seed: u8, at: Timestamp) {
    let credential = registry.find(&id(&key(seed)), at).await.unwrap().unwrap();
    registry.used(&credential, at);
}

async fn last_use(registry: &Registry, seed: u8) -> Option<Timestamp> {
    registry.credential(&id(&key(seed))).await.unwrap().last_used_at
}

async fn the_last_use_is_known_to_a_minute_after_it_was_saved(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=2 {
        add(&registry, &key(seed)).await;
    }
    used(&registry, 1, NOW).await;
    assert_eq!(last_use(&registry, 1).await, None, "nothing is written on the way of a request");
    registry.save_last_uses().await.unwrap();
    assert_eq!(last_use(&registry, 1).await, Some(NOW));
    assert_eq!(last_use(&registry, 2).await, None);
    used(&registry, 1, later(3600)).await;
    registry.save_last_uses().await.unwrap();
    assert_eq!(last_use(&registry, 1).await, Some(later(3600)));
    // A server whose clock is behind.
    let other = Registry::open(&home.url()).await.unwrap();
    used(&other, 1, later(60)).await;
    used(&other, 2, later(60)).await;
    other.save_last_uses().await.unwrap();
    assert_eq!(last_use(&other, 1).await, Some(later(3600)), "it is never lowered");
    assert_eq!(last_use(&other, 2).await, Some(later(60)));
    // No use is a change of the registry.
    let entries = registry.audit_entries(0, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
}

async fn a_closed_registry_has_saved_what_was_used(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    used(&registry, 1, later(5)).await;
    registry.close().await;
    let registry = Registry::open(&home.url()).await.unwrap();
    assert_eq!(last_use(&registry, 1).await, Some(later(5)));
}

async fn many_uses_are_saved_by_servers_at_the_same_time(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let template = registry.credential(&id(&key(1))).await.unwrap();
    let other = Registry::open(&home.url()).await.unwrap();
    for (server, at) in [(&registry, NOW), (&other, later(60))] {
        for number in 1..=2500 {
            let mut credential = (*template).clone();
            credential.id = countersign_store::CredentialId::new(number);
            server.used(&credential, at);
        }
    }
    let (one, two) = tokio::join!(registry.save_last_uses(), other.save_last_uses());
    one.unwrap();
    two.unwrap();
    assert_eq!(last_use(&registry, 1).await, Some(later(60)));
    home.raw("INSERT INTO countersign.last_use SELECT -1, COUNT(*) FROM countersign.last_use WHERE credential_id > 0 AND seconds = 1763900060").await;
    home.raw("UPDATE countersign.last_use SET seconds = 1763900000 WHERE credential_id = 1 AND (SELECT seconds FROM countersign.last_use WHERE credential_id = -1) = 2500").await;
    assert_eq!(last_use(&registry, 1).await, Some(NOW), "all 2500 are there");
}
