//! What is changed of credentials and applications: settings, quarantine, revocation with a reason.

use std::{num::NonZeroU32, time::Duration};

use countersign::ProvenKey;
use countersign_store::{
    AuditEntry, CredentialSettings, KeyStore, NewCredential, OwnLimits, Quota, Registry,
    RegistryError, Replacement, Restriction, RestrictionKind, Restrictions, Revocation, Standing,
    State, Subject,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
};

const HOUR: Duration = Duration::from_secs(3600);

on_both! {
    everything_that_may_change_of_a_credential_changes_in_one_call
    limits_of_its_own_are_kept_and_go_on_to_the_key_that_takes_over
    damaged_limits_refuse_the_key
    a_key_in_quarantine_reads_until_it_is_released
    a_retiring_key_is_retiring_again_after_a_quarantine
    a_revocation_has_a_reason_that_stays
    contact_notes_and_environment_of_an_application_can_change
}

fn limits() -> OwnLimits {
    let number = |number| NonZeroU32::new(number).unwrap();
    let quotas = [Quota::per_minute(number(60)).burst(number(5)), Quota::per_second(number(9))];
    OwnLimits::default().signed(quotas)
}

async fn entries(registry: &Registry) -> Vec<AuditEntry> {
    registry.audit_entries(0, 1000).await.unwrap()
}

async fn everything_that_may_change_of_a_credential_changes_in_one_call(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some(), "and is cached");
    let change = |settings: &mut CredentialSettings| {
        assert_eq!(settings.label, "laptop");
        settings.label = "desk".parse().unwrap();
        settings.expires_at = Some(NOW.plus(HOUR));
        settings.scopes = "orders:read".parse().unwrap();
        let ip = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
        settings.restrictions = Restrictions::default().with(ip);
        settings.limits = limits();
    };
    let changed = registry.change_credential(&id(&key(1)), NOW, change).await.unwrap();
    let found = registry.find(&id(&key(1)), NOW).await.unwrap().unwrap();
    for credential in [&changed, &found] {
        assert_eq!(credential.label, "desk");
        assert_eq!(credential.expires_at, Some(NOW.plus(HOUR)));
        assert_eq!(credential.scopes.to_string(), "orders:read");
        assert!(credential.restrictions.get(RestrictionKind::Ip).is_some());
        assert_eq!(credential.limits, limits());
    }
    let entry = entries(&registry).await.pop().unwrap();
    assert_eq!(entry.action, "key.change");
    assert!(entry.before.as_ref().unwrap().contains("laptop"));
    assert!(entry.after.as_ref().unwrap().contains("\"burst\":5"));
    let same = |settings: &mut CredentialSettings| settings.limits = limits();
    registry.change_credential(&id(&key(1)), NOW, same).await.unwrap();
    assert_eq!(entries(&registry).await.last(), Some(&entry), "nothing was changed");
    registry
        .change_credential(&id(&key(1)), NOW, |settings| {
            *settings = CredentialSettings::default();
        })
        .await
        .unwrap();
    let found = registry.credential(&id(&key(1))).await.unwrap();
    assert!(found.label.as_str().is_empty() && found.expires_at.is_none());
    assert!(found.limits.is_empty() && found.restrictions.is_empty());
}

async fn limits_of_its_own_are_kept_and_go_on_to_the_key_that_takes_over(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let proven = ProvenKey::from(&key(1));
    let new = NewCredential::new("shop", "", &proven).limits(limits());
    let added = registry.add_credential(new, NOW).await.unwrap();
    assert_eq!(added.limits, limits());
    let proven = ProvenKey::from(&key(2));
    let rotation =
        registry.rotate(&id(&key(1)), Replacement::new(&proven, HOUR), NOW).await.unwrap();
    assert_eq!((&rotation.new.limits, rotation.new.lineage), (&limits(), added.id));
}

async fn damaged_limits_refuse_the_key(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    for damage in ["", "{}", r#"{"version":2,"signed":[]}"#, r#"{"version":1,"signed":[]}"#] {
        home.raw(&format!("UPDATE countersign.credential SET limits = '{damage}'")).await;
        let damaged = registry.credential(&id(&key(1))).await.unwrap_err();
        assert!(
            matches!(damaged, RegistryError::DamagedCredential { what: "its limits", .. }),
            "{damage}: {damaged:?}"
        );
    }
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none());
}

async fn a_key_in_quarantine_reads_until_it_is_released(home: Home) {
    let registry = home.registry().await.acting_as("ana".parse().unwrap());
    add(&registry, &key(1)).await;
    let (id, why) = (id(&key(1)), "seen in a log".parse().unwrap());
    assert!(registry.find(&id, NOW).await.unwrap().is_some(), "and is cached");
    let held = registry.quarantine(&id, Some(why), NOW).await.unwrap();
    assert_eq!(held.state, State::Quarantined);
    let found = registry.find(&id, NOW).await.unwrap().unwrap();
    assert_eq!(found.standing(NOW), Standing::Quarantined);
    let entry = entries(&registry).await.pop().unwrap();
    assert_eq!((&*entry.actor, &*entry.action), ("ana", "key.quarantine"));
    assert!(entry.after.as_ref().unwrap().contains("\"reason\":\"seen in a log\""));
    registry.quarantine(&id, None, NOW).await.unwrap();
    assert_eq!(entries(&registry).await.last(), Some(&entry), "it was in quarantine before");
    for _ in 0..2 {
        let released = registry.release(&id, None, NOW).await.unwrap();
        assert_eq!(released.state, State::Active);
    }
    let said: Vec<_> = entries(&registry).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(said, ["app.add", "key.add", "key.quarantine", "key.release"]);
    registry.revoke(&id, None, NOW).await.unwrap();
    for refused in
        [registry.quarantine(&id, None, NOW).await, registry.release(&id, None, NOW).await]
    {
        assert!(matches!(refused, Err(RegistryError::Revoked)), "{refused:?}");
    }
    let missing = registry.quarantine(&crate::life::id(&key(2)), None, NOW).await;
    assert!(matches!(missing, Err(RegistryError::NotFound(Subject::Credential))), "{missing:?}");
}

async fn a_retiring_key_is_retiring_again_after_a_quarantine(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let proven = ProvenKey::from(&key(2));
    registry.rotate(&id(&key(1)), Replacement::new(&proven, HOUR), NOW).await.unwrap();
    registry.quarantine(&id(&key(1)), None, NOW).await.unwrap();
    let released = registry.release(&id(&key(1)), None, NOW).await.unwrap();
    assert_eq!((released.state, released.expires_at), (State::Retiring, Some(NOW.plus(HOUR))));
}

async fn a_revocation_has_a_reason_that_stays(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let revoke = async |why: &str| {
        let why = (!why.is_empty()).then(|| why.parse().unwrap());
        match registry.revoke(&id(&key(1)), why, NOW).await.unwrap() {
            Revocation::Revoked(credential) | Revocation::WasRevoked(credential) => credential,
        }
    };
    for why in ["left the company", "another", ""] {
        let reason = revoke(why).await.revocation_reason.clone().unwrap();
        assert_eq!(reason, "left the company");
    }
    let entry = entries(&registry).await.pop().unwrap();
    assert!(entry.after.unwrap().contains("left the company"));
}

async fn contact_notes_and_environment_of_an_application_can_change(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some(), "and is cached");
    for _ in 0..2 {
        let changed = registry
            .change_application("shop", NOW, |settings| {
                settings.contact = "ana@example.com".parse().unwrap();
                settings.notes = "the web shop".parse().unwrap();
                settings.environment = "test".parse().unwrap();
            })
            .await
            .unwrap();
        assert_eq!(changed, registry.application("shop").await.unwrap());
        assert_eq!(
            (changed.contact.as_str(), changed.environment.as_str()),
            ("ana@example.com", "test")
        );
    }
    let found = registry.find(&id(&key(1)), NOW).await.unwrap().unwrap();
    assert_eq!(
        (found.application.environment.as_str(), found.application.notes.as_str()),
        ("test", "the web shop")
    );
    let entries = entries(&registry).await;
    assert_eq!(entries.len(), 3, "the second change changed nothing");
    let entry = entries.last().unwrap();
    assert_eq!(entry.action, "app.change");
    assert!(entry.before.as_ref().unwrap().contains("\"environment\":\"live\""));
    let missing = registry.change_application("other", NOW, |_| {}).await;
    assert!(matches!(missing, Err(RegistryError::NotFound(Subject::Application))), "{missing:?}");
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    registry.remove_application("shop", NOW).await.unwrap();
    let removed = registry.change_application("shop", NOW, |_| {}).await;
    assert!(matches!(removed, Err(RegistryError::NotFound(_))), "{removed:?}");
}
