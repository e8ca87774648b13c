//! A key takes over from another.

use std::time::Duration;

use countersign::{KeyId, PrivateKey, ProvenKey, Timestamp};
use countersign_store::{
    KeyStore, NewCredential, NotReplaced, Registry, RegistryError, Replacement, Restriction,
    RestrictionKind, Restrictions, Rotation, Standing, State, Subject,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
};

const HOUR: Duration = Duration::from_secs(3600);

on_both! {
    a_new_key_takes_over_what_the_old_one_had
    both_keys_are_valid_until_the_overlap_ends
    without_an_overlap_the_old_key_is_revoked_at_once
    a_rotation_can_be_run_again
    a_key_that_is_no_longer_in_full_use_is_not_replaced
    a_secret_and_a_key_pair_can_replace_each_other
    each_of_the_two_keys_has_an_entry_in_the_audit_log
}

fn hmac(seed: u8) -> PrivateKey {
    let mut secret = [0; 32];
    fastrand::Rng::with_seed(seed.into()).fill(&mut secret);
    PrivateKey::hmac_sha256([seed; 16], &secret).unwrap()
}

async fn rotate(
    registry: &Registry,
    old: &PrivateKey,
    new: &PrivateKey,
    overlap: Duration,
) -> Result<Rotation, RegistryError> {
    let proven = ProvenKey::from(new);
    registry.rotate(&id(old), Replacement::new(&proven, overlap), NOW).await
}

async fn standing(registry: &Registry, key: &PrivateKey, at: Timestamp) -> Standing {
    registry.find(&id(key), at).await.unwrap().unwrap().standing(at)
}

async fn a_new_key_takes_over_what_the_old_one_had(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let restriction = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
    let expires_at = Some(NOW.plus(HOUR.saturating_mul(48)));
    let proven = ProvenKey::from(&key(1));
    let new = NewCredential::new("shop", "laptop", &proven)
        .scopes("orders:read orders:write".parse().unwrap())
        .restrictions(Restrictions::default().with(restriction))
        .expires_at(expires_at);
    let first = registry.add_credential(new, NOW).await.unwrap();
    // Cached as it was before.
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    assert!(registry.find(&id(&key(2)), NOW).await.unwrap().is_none());
    let Rotation { new: second, old, .. } =
        rotate(&registry, &key(1), &key(2), HOUR.saturating_mul(24)).await.unwrap();
    assert_eq!(second.publishable_key(), key(2).publishable_key());
    assert_eq!(second.application, first.application);
    assert_eq!((&second.label, &second.scopes), (&first.label, &first.scopes));
    assert_eq!((&second.restrictions, second.expires_at), (&first.restrictions, expires_at));
    assert_eq!((second.state, second.created_at), (State::Active, NOW));
    assert_ne!(second.id, first.id);
    assert_eq!(second.lineage, first.id);
    assert_eq!((old.id, old.lineage), (first.id, first.id));
    assert_eq!(old.replaced_by, Some(key(2).publishable_key()));
    assert_eq!(
        (old.state, old.expires_at),
        (State::Retiring, Some(NOW.plus(HOUR.saturating_mul(24))))
    );
    for (key, replaced_by) in [(key(1), old.replaced_by), (key(2), None)] {
        let found = registry.find(&id(&key), NOW).await.unwrap().unwrap();
        assert_eq!((found.replaced_by, found.lineage), (replaced_by, first.id));
    }
    let (proven, other) = (ProvenKey::from(&key(3)), Some(NOW.plus(HOUR)));
    let replacement = Replacement::new(&proven, HOUR).label("desk").expires_at(other);
    let third = registry.rotate(&id(&key(2)), replacement, NOW).await.unwrap().new;
    assert_eq!((third.label.as_str(), third.expires_at), ("desk", other));
    assert_eq!(third.lineage, first.id, "limits are counted for all three together");
}

async fn both_keys_are_valid_until_the_overlap_ends(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    rotate(&registry, &key(1), &key(2), HOUR).await.unwrap();
    let (last, end) = (NOW.plus(HOUR.saturating_sub(Duration::from_secs(1))), NOW.plus(HOUR));
    for (old, at) in [(Standing::Active, NOW), (Standing::Active, last), (Standing::Expired, end)] {
        assert_eq!(standing(&registry, &key(1), at).await, old);
        assert_eq!(standing(&registry, &key(2), at).await, Standing::Active);
    }
    // It was to expire before the overlap ends.
    let (proven, expires_at) = (ProvenKey::from(&key(3)), Some(NOW.plus(HOUR)));
    let new = NewCredential::new("shop", "", &proven).expires_at(expires_at);
    registry.add_credential(new, NOW).await.unwrap();
    let old = rotate(&registry, &key(3), &key(4), HOUR.saturating_mul(24)).await.unwrap().old;
    assert_eq!((old.state, old.expires_at), (State::Retiring, expires_at));
    // The overlap is ended early.
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    assert_eq!(standing(&registry, &key(1), NOW).await, Standing::Revoked);
    assert_eq!(standing(&registry, &key(2), NOW).await, Standing::Active);
}

async fn without_an_overlap_the_old_key_is_revoked_at_once(home: Home) {
    let registry = home.registry().await;
    for (old, new, overlap) in [(1, 2, Duration::ZERO), (3, 4, Duration::from_millis(999))] {
        add(&registry, &key(old)).await;
        let old = rotate(&registry, &key(old), &key(new), overlap).await.unwrap().old;
        assert_eq!((old.state, old.revoked_at), (State::Revoked, Some(NOW)));
        assert_eq!(old.replaced_by, Some(key(new).publishable_key()));
        assert_eq!(old.revocation_reason.as_ref().unwrap(), &"replaced");
        assert_eq!(standing(&registry, &key(new), NOW).await, Standing::Active);
    }
}

async fn a_rotation_can_be_run_again(home: Home) {
    let registry = home.registry().await;
    for (old, new, overlap) in [(1, 2, HOUR), (3, 4, Duration::ZERO)] {
        add(&registry, &key(old)).await;
        let first = rotate(&registry, &key(old), &key(new), overlap).await.unwrap();
        let entries = registry.audit_entries(0, 100).await.unwrap().len();
        let thumbprint = key(old).verifying_key().thumbprint().unwrap();
        let proven = ProvenKey::from(&key(new));
        let again = registry
            .rotate(
                &KeyId::Thumbprint(thumbprint),
                Replacement::new(&proven, HOUR.saturating_mul(2)).label("other"),
                NOW.plus(HOUR.saturating_mul(48)),
            )
            .await
            .unwrap();
        let made = [&first.made, &again.made].map(|made| format!("{made:?}"));
        assert_eq!(made, ["Now", "Before"]);
        for (again, first) in [(&again.new, &first.new), (&again.old, &first.old)] {
            assert_eq!(format!("{again:?}"), format!("{first:?}"));
        }
        assert_eq!(registry.audit_entries(0, 100).await.unwrap().len(), entries);
    }
    // By two at a time: one key takes over, once.
    add(&registry, &key(5)).await;
    let (old, [sixth, seventh]) = (key(5), [key(6), key(7)]);
    let elsewhere = Registry::open(&home.url()).await.unwrap();
    let (one, two, three) = tokio::join!(
        rotate(&registry, &old, &sixth, HOUR),
        rotate(&elsewhere, &old, &sixth, HOUR),
        rotate(&elsewhere, &old, &seventh, HOUR),
    );
    let by = registry.credential(&id(&old)).await.unwrap().replaced_by.unwrap();
    for (outcome, new) in [(one, &sixth), (two, &sixth), (three, &seventh)] {
        match outcome {
            Ok(rotation) => assert_eq!(rotation.new.publishable_key(), by),
            Err(error) => {
                assert_ne!(new.publishable_key(), by);
                let replaced = NotReplaced::Replaced(by);
                assert!(matches!(error, RegistryError::NotReplaced(why) if why == replaced));
            }
        }
    }
}

async fn a_key_that_is_no_longer_in_full_use_is_not_replaced(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=5 {
        add(&registry, &key(seed)).await;
    }
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    home.raw("UPDATE countersign.credential SET expires_at = 1763900000 WHERE id = 2").await;
    home.raw("UPDATE countersign.credential SET state = 'quarantined' WHERE id = 3").await;
    rotate(&registry, &key(4), &key(14), HOUR).await.unwrap();
    let entries = registry.audit_entries(0, 100).await.unwrap().len();
    let table = [
        (1, 11, NotReplaced::Revoked),
        (2, 11, NotReplaced::Expired),
        (3, 11, NotReplaced::Quarantined),
        (4, 11, NotReplaced::Replaced(key(14).publishable_key())),
        (4, 4, NotReplaced::SameKey),
        (5, 5, NotReplaced::SameKey),
    ];
    for (old, new, expected) in table {
        match rotate(&registry, &key(old), &key(new), HOUR).await {
            Err(RegistryError::NotReplaced(why)) => assert_eq!(why, expected),
            other => panic!("{other:?}"),
        }
    }
    let taken = rotate(&registry, &key(5), &key(2), HOUR).await;
    assert!(matches!(taken, Err(RegistryError::Exists(Subject::Credential))), "{taken:?}");
    let missing = rotate(&registry, &key(21), &key(22), HOUR).await;
    assert!(matches!(missing, Err(RegistryError::NotFound(Subject::Credential))), "{missing:?}");
    let guessable = PrivateKey::hmac_sha256([9; 16], &[0; 32]).unwrap();
    let guessable = rotate(&registry, &key(5), &guessable, HOUR).await;
    assert!(matches!(guessable, Err(RegistryError::Key(_))), "{guessable:?}");
    let proven = ProvenKey::from(&key(23));
    let label = Replacement::new(&proven, HOUR).label("two\nlines");
    let label = registry.rotate(&id(&key(5)), label, NOW).await;
    assert!(matches!(label, Err(RegistryError::BadName(_))), "{label:?}");
    home.raw("UPDATE countersign.credential SET scopes = 'a,b' WHERE id = 5").await;
    let damaged = rotate(&registry, &key(5), &key(24), HOUR).await;
    assert!(matches!(damaged, Err(RegistryError::DamagedCredential { .. })), "{damaged:?}");
    assert!(registry.find(&id(&key(24)), NOW).await.unwrap().is_none());
    assert_eq!(registry.audit_entries(0, 100).await.unwrap().len(), entries, "nothing changed");
}

async fn a_secret_and_a_key_pair_can_replace_each_other(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    for (old, new) in [(key(1), hmac(2)), (hmac(2), hmac(3)), (hmac(3), key(4))] {
        rotate(&registry, &old, &new, HOUR).await.unwrap();
        let found = registry.find(&id(&new), NOW).await.unwrap().unwrap();
        let signature = new.sign(b"base");
        assert!(found.key.verify(b"base", &signature).is_ok());
        assert!(found.key.verify(b"other", &signature).is_err());
    }
}

async fn each_of_the_two_keys_has_an_entry_in_the_audit_log(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let after = registry.audit_entries(0, 10).await.unwrap().last().unwrap().number;
    rotate(&registry, &key(1), &key(2), HOUR).await.unwrap();
    let entries = registry.audit_entries(after, 10).await.unwrap();
    let said: Vec<_> = entries.iter().map(|e| (&*e.action, e.key_id.clone().unwrap())).collect();
    let (old, new) = (id(&key(1)).to_string(), id(&key(2)).to_string());
    assert_eq!(said, [("key.add", new.clone()), ("key.rotate", old.clone())]);
    let [added, rotated] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(added.after.as_ref().unwrap().contains(&format!("\"replaces\":\"{old}\"")));
    let (before, after) = (rotated.before.as_ref().unwrap(), rotated.after.as_ref().unwrap());
    assert!(before.contains("\"state\":\"active\"") && before.contains("\"replaced_by\":null"));
    assert!(after.contains("\"state\":\"retiring\""));
    assert!(after.contains(&format!("\"replaced_by\":\"{new}\"")));
}
