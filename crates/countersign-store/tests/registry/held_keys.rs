//! What the holder of a key has changed of it, on each database.

use std::time::Duration;

use countersign::{PrivateKey, ProvenKey};
use countersign_store::{HeldKeys, Made, NotHandedOver, NotReplaced, Registry, Standing, State};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

on_both! {
    a_holder_hands_its_key_over_in_its_own_name
    what_cannot_be_handed_over_says_why
    a_holder_gives_its_key_up_for_a_reason
}

async fn hand_over(
    registry: &Registry,
    old: &PrivateKey,
    new: &PrivateKey,
) -> Result<Made, NotHandedOver> {
    let (old, new) = (old.publishable_key(), ProvenKey::from(new));
    Ok(registry.hand_over(&old, &new, DAY, NOW).await?.made)
}

/// The actors and the actions in the audit log.
async fn acts(registry: &Registry) -> Vec<(String, String)> {
    let entries = registry.audit_entries(0, 100).await.unwrap();
    entries.into_iter().map(|entry| (entry.actor, entry.action)).collect()
}

async fn a_holder_hands_its_key_over_in_its_own_name(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let before = acts(&registry).await.len();
    assert_eq!(hand_over(&registry, &key(1), &key(2)).await.unwrap(), Made::Now);
    assert_eq!(hand_over(&registry, &key(1), &key(2)).await.unwrap(), Made::Before);
    let old = registry.credential(&id(&key(1))).await.unwrap();
    assert_eq!((old.state, old.expires_at), (State::Retiring, Some(NOW.plus(DAY))));
    let new = registry.credential(&id(&key(2))).await.unwrap();
    assert_eq!((new.standing(NOW), new.lineage), (Standing::Active, old.lineage));
    let actor = format!("key {}", key(1).publishable_key());
    let expected = ["key.add", "key.rotate"].map(|action| (actor.clone(), action.to_owned()));
    assert_eq!(acts(&registry).await.split_off(before), expected);
}

async fn what_cannot_be_handed_over_says_why(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    add(&registry, &key(2)).await;
    let error = hand_over(&registry, &key(1), &key(1)).await.unwrap_err();
    assert!(matches!(error, NotHandedOver::NotReplaced(NotReplaced::SameKey)), "{error:?}");
    let error = hand_over(&registry, &key(1), &key(2)).await.unwrap_err();
    assert!(matches!(error, NotHandedOver::Registered), "{error:?}");
    hand_over(&registry, &key(1), &key(3)).await.unwrap();
    let error = hand_over(&registry, &key(1), &key(4)).await.unwrap_err();
    let by = key(3).publishable_key();
    assert!(
        matches!(error, NotHandedOver::NotReplaced(NotReplaced::Replaced(key)) if key == by),
        "{error:?}"
    );
    let error = hand_over(&registry, &key(9), &key(5)).await.unwrap_err();
    assert!(matches!(error, NotHandedOver::Store(_)), "{error:?}");
}

async fn a_holder_gives_its_key_up_for_a_reason(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let before = acts(&registry).await.len();
    let own = key(1).publishable_key();
    let reason = Some("laptop lost".parse().unwrap());
    let revoked = registry.give_up(&own, reason.clone(), NOW).await.unwrap();
    assert_eq!((revoked.state, revoked.revoked_at), (State::Revoked, Some(NOW)));
    assert_eq!(revoked.revocation_reason, reason);
    let again = registry.give_up(&own, None, NOW.plus(DAY)).await.unwrap();
    assert_eq!((again.revoked_at, &again.revocation_reason), (Some(NOW), &reason));
    let expected = (format!("key {own}"), "key.revoke".to_owned());
    assert_eq!(acts(&registry).await.split_off(before), [expected]);
}
