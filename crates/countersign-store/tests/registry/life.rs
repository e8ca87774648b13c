//! The same stories on each database.

use countersign::{KeyId, PrivateKey, ProvenKey, Timestamp};
use countersign_store::{
    Ceiling, KeyStore, NewCredential, Owner, Registry, RegistryError, Revocation, Standing, Subject,
};

use crate::{
    home::{Home, on_both},
    listed::{applications, credentials},
};

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

on_both! {
    a_key_is_found_until_it_is_revoked_also_after_reopening
    names_are_taken_once_and_come_in_order
    what_is_damaged_is_listed_as_damaged_and_hides_nothing
    the_ceiling_has_one_owner_and_never_falls
    the_audit_log_is_only_added_to
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::ed25519(&[seed; 32])
}

pub(crate) fn id(key: &PrivateKey) -> KeyId {
    KeyId::Publishable(key.publishable_key())
}

/// Registers a key for the application `shop`, which is added if it is missing.
pub(crate) async fn add(registry: &Registry, key: &PrivateKey) {
    match registry.add_application("shop", "live", NOW).await {
        Ok(_) | Err(RegistryError::Exists(Subject::Application)) => {}
        Err(error) => panic!("{error}"),
    }
    let proven = ProvenKey::from(key);
    registry.add_credential(NewCredential::new("shop", "laptop", &proven), NOW).await.unwrap();
}

async fn a_key_is_found_until_it_is_revoked_also_after_reopening(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let thumbprint = KeyId::Thumbprint(key(1).verifying_key().thumbprint().unwrap());
    for id in [&id(&key(1)), &thumbprint] {
        let found = registry.find(id, NOW).await.unwrap().unwrap();
        assert_eq!(found.label, "laptop");
        assert_eq!(found.application.name, "shop");
        assert_eq!(found.standing(NOW), Standing::Active);
    }
    assert!(registry.find(&id(&key(2)), NOW).await.unwrap().is_none());
    let taken = registry
        .add_credential(NewCredential::new("shop", "", &ProvenKey::from(&key(1))), NOW)
        .await;
    assert!(matches!(taken, Err(RegistryError::Exists(Subject::Credential))), "{taken:?}");
    assert!(matches!(registry.remove_application("shop", NOW).await, Err(RegistryError::InUse)));
    let revoked = registry.revoke(&thumbprint, None, NOW).await.unwrap();
    assert!(matches!(revoked, Revocation::Revoked(_)));
    let again = registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    assert!(matches!(again, Revocation::WasRevoked(_)));
    registry.close().await;
    let registry = Registry::open(&home.url()).await.unwrap();
    let found = registry.find(&id(&key(1)), NOW).await.unwrap().unwrap();
    assert_eq!((found.standing(NOW), found.revoked_at), (Standing::Revoked, Some(NOW)));
    registry.remove_application("shop", NOW).await.unwrap();
    assert!(applications(&registry).await.unwrap().is_empty());
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some(), "it stays known as used");
}

async fn names_are_taken_once_and_come_in_order(home: Home) {
    let registry = home.registry().await;
    for name in ["b", "a", "B", "x__", "a-1"] {
        registry.add_application(name, "live", NOW).await.unwrap();
    }
    let taken = registry.add_application("a", "test", NOW).await;
    assert!(matches!(taken, Err(RegistryError::Exists(Subject::Application))), "{taken:?}");
    let listed = applications(&registry).await.unwrap();
    let names: Vec<_> = listed.iter().map(|app| app.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(names, ["B", "a", "a-1", "b", "x__"]);
    let missing = credentials(&registry, Some("c")).await;
    assert!(matches!(missing, Err(RegistryError::NotFound(Subject::Application))));
}

async fn what_is_damaged_is_listed_as_damaged_and_hides_nothing(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &key(seed)).await;
    }
    home.raw("UPDATE countersign.credential SET scopes = 'a,b' WHERE id = 2").await;
    for application in [None, Some("shop")] {
        let listed = credentials(&registry, application).await.unwrap();
        let damaged: Vec<_> = listed.iter().map(Result::is_err).collect();
        assert_eq!(damaged, [false, true, false]);
    }
    assert!(registry.find(&id(&key(2)), NOW).await.unwrap().is_none());
    let revoked = registry.revoke(&id(&key(2)), None, NOW).await;
    assert!(matches!(revoked, Err(RegistryError::DamagedCredential { .. })), "{revoked:?}");
    home.raw("UPDATE countersign.credential SET scopes = '' WHERE id = 2").await;
    let credential = registry.credential(&id(&key(2))).await.unwrap();
    assert_eq!(credential.standing(NOW), Standing::Revoked);
}

async fn the_ceiling_has_one_owner_and_never_falls(home: Home) {
    let at = Timestamp::from_unix;
    let registry = home.registry().await;
    let (first, second) = (Owner::random().unwrap(), Owner::random().unwrap());
    assert_eq!(registry.take_over(first).await.unwrap(), None);
    registry.raise(first, at(100)).await.unwrap();
    registry.raise(first, at(50)).await.unwrap();
    assert_eq!(registry.take_over(second).await.unwrap(), Some(at(100)));
    assert!(registry.raise(first, at(200)).await.is_err());
    registry.raise(second, at(101)).await.unwrap();
    let elsewhere = Registry::open(&home.url()).await.unwrap();
    assert_eq!(elsewhere.take_over(first).await.unwrap(), Some(at(101)));
    home.raw("DELETE FROM countersign.replay_ceiling").await;
    let copy = Registry::open(&home.url()).await.unwrap();
    assert_eq!(copy.take_over(first).await.unwrap(), Some(at(0)), "it may be a copy");
}

async fn the_audit_log_is_only_added_to(home: Home) {
    let registry = home.registry().await;
    let registry = registry.acting_as("ana@ops-1".parse().unwrap());
    add(&registry, &key(1)).await;
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    let entries = registry.audit_entries(0, 10).await.unwrap();
    let said: Vec<_> = entries.iter().map(|e| (e.number, &*e.actor, &*e.action)).collect();
    assert_eq!(
        said,
        [(1, "ana@ops-1", "app.add"), (2, "ana@ops-1", "key.add"), (3, "ana@ops-1", "key.revoke")]
    );
    for statement in [
        "UPDATE countersign.audit_entry SET actor = 'nobody'",
        "DELETE FROM countersign.audit_entry",
    ] {
        let error = home.try_raw(statement).await.unwrap_err().to_string();
        assert!(error.contains("entries are only added"), "{statement}: {error}");
    }
}
