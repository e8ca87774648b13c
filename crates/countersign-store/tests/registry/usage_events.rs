//! Events: what looks like a stolen or forgotten key.

use std::time::Duration;

use countersign::Timestamp;
use countersign_store::{
    CallAccess, ClientKey, CredentialId, EventCount, EventFilter, EventKey, EventKind, PlaceKey,
    Platform, Registry, RegistryError, UsageBatch, UsageEvent, UsageSink,
};

use crate::{
    home::{Home, on_both},
    life::{add, id, key},
    usage::{MIDNIGHT, at, client, place},
};

on_both! {
    a_credential_with_a_past_raises_an_event_on_a_new_network_or_platform
    many_networks_in_an_hour_are_one_event
    events_add_up_and_are_listed_by_when_they_happened_last
    details_beyond_the_bound_are_counted_together
    old_events_are_forgotten
}

async fn events(registry: &Registry, filter: EventFilter) -> Vec<UsageEvent> {
    registry.events(&filter, None, 10_000).await.unwrap().entries
}

async fn a_credential_with_a_past_raises_an_event_on_a_new_network_or_platform(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let mut number = 0;
    let mut save = async |places: &[PlaceKey], clients: &[ClientKey], now: Timestamp| {
        number += 1;
        let mut batch = UsageBatch::new(1, number);
        batch.places.extend(places.iter().map(|key| (key.clone(), 3)));
        batch.clients.extend(clients.iter().map(|key| (key.clone(), 4)));
        registry.save(&batch, now).await.unwrap();
        registry.save(&batch, now).await.unwrap();
    };
    let seen = async || {
        let mut seen: Vec<_> = events(&registry, EventFilter::default())
            .await
            .into_iter()
            .map(|event| (event.kind, event.detail.unwrap(), event.count))
            .collect();
        seen.sort_by_key(|(kind, ..)| *kind);
        seen
    };
    let hour = at(0, 1, 0);
    let other = |address| PlaceKey { access: CallAccess::Publishable, ..place(1, address, hour) };
    let phone = |access| ClientKey { platform: Platform::Ios, access, ..client(1, "app", hour) };
    // It has no past yet; and whoever knows the publishable key has none at all.
    save(
        &[place(1, "192.0.2.7", hour), place(1, "198.51.100.7", hour)],
        &[client(1, "curl", hour)],
        hour,
    )
    .await;
    save(&[other("203.0.113.7")], &[phone(CallAccess::Publishable)], hour).await;
    save(
        &[PlaceKey { prefix: None, ..place(1, "203.0.113.7", hour) }],
        &[client(1, "httpx", hour)],
        hour,
    )
    .await;
    save(&[place(1, "192.0.2.8", at(0, 2, 0))], &[], at(0, 2, 1)).await;
    // Calls of no known key have no owner.
    let nobody = PlaceKey { credential: None, ..place(1, "10.0.0.1", hour) };
    save(std::slice::from_ref(&nobody), &[], hour).await;
    save(&[PlaceKey { prefix: place(1, "10.0.1.1", hour).prefix, ..nobody }], &[], hour).await;
    // Another credential has a past of its own.
    save(&[place(2, "203.0.113.7", hour)], &[], hour).await;
    assert_eq!(seen().await, []);

    let now = at(0, 1, 7);
    save(&[place(1, "203.0.113.7", hour)], &[phone(CallAccess::Signed)], now).await;
    let count = |times| EventCount { first: now, last: now, count: times, verified: times };
    let expected = [
        (EventKind::FirstNetwork, "203.0.113.0/24".to_owned(), count(3)),
        (EventKind::FirstPlatform, "ios".to_owned(), count(4)),
    ];
    assert_eq!(seen().await, expected);
    // Once for all, also on another day.
    let tomorrow = at(1, 1, 0);
    save(
        &[place(1, "203.0.113.7", tomorrow)],
        &[ClientKey { hour: tomorrow, ..phone(CallAccess::Signed) }],
        tomorrow,
    )
    .await;
    assert_eq!(seen().await, expected);
    // From an hour that is over, and at the latest in it.
    save(&[place(1, "2001:db8::7", hour)], &[], at(0, 5, 0)).await;
    let late = seen().await.into_iter().find(|(_, detail, _)| detail == "2001:db8::/48").unwrap();
    assert_eq!(late.2.first, at(0, 2, 0).minus(Duration::from_secs(1)));
}

async fn many_networks_in_an_hour_are_one_event(home: Home) {
    let registry = home.registry().await;
    let mut number = 0;
    let mut save = async |networks: std::ops::Range<u8>, access: CallAccess, hour: Timestamp| {
        number += 1;
        let mut batch = UsageBatch::new(1, number);
        for network in networks {
            let key = place(1, &format!("10.0.{network}.1"), hour);
            batch.places.insert(PlaceKey { access, ..key }, 1);
        }
        registry.save(&batch, hour).await.unwrap();
    };
    let many =
        async || events(&registry, EventFilter::default().kind(EventKind::ManyNetworks)).await;
    save(0..200, CallAccess::Publishable, at(0, 1, 0)).await;
    save(0..50, CallAccess::Signed, at(0, 1, 0)).await;
    assert_eq!(many().await, []);
    save(50..51, CallAccess::Signed, at(0, 1, 0)).await;
    save(0..100, CallAccess::Signed, at(0, 1, 0)).await;
    save(60..61, CallAccess::Signed, at(0, 1, 0)).await;
    save(0..20, CallAccess::Signed, at(0, 2, 0)).await;
    let count = |last, count| EventCount { first: at(0, 1, 0), last, count, verified: count };
    let seen = many().await;
    assert_eq!((seen.len(), seen[0].count), (1, count(at(0, 1, 0), 1)));
    assert_eq!((seen[0].credential, &seen[0].detail), (CredentialId::new(1), &None));
    save(0..60, CallAccess::Signed, at(0, 3, 0)).await;
    let seen = many().await;
    assert_eq!((seen.len(), seen[0].count), (1, count(at(0, 3, 0), 2)));
}

fn event(credential: i64, kind: EventKind, detail: &str) -> EventKey {
    let detail = (!detail.is_empty()).then(|| detail.into());
    EventKey { credential: CredentialId::new(credential), kind, detail }
}

async fn events_add_up_and_are_listed_by_when_they_happened_last(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=2 {
        add(&registry, &key(seed)).await;
    }
    let count = |first, last, count, verified| EventCount { first, last, count, verified };
    let mut batch = UsageBatch::new(1, 1);
    for detail in 0..10 {
        let happened = at(0, 1, detail);
        batch.events.insert(
            event(2, EventKind::RestrictionViolated, &format!("ip {detail}")),
            count(happened, happened, 1, 1),
        );
    }
    batch
        .events
        .insert(event(1, EventKind::BadSignature, ""), count(at(0, 2, 0), at(0, 2, 9), 7, 0));
    registry.save(&batch, at(0, 3, 0)).await.unwrap();
    let mut again = UsageBatch::new(2, 1);
    again
        .events
        .insert(event(1, EventKind::BadSignature, ""), count(at(0, 1, 0), at(0, 2, 5), 2, 0));
    again.events.insert(event(9, EventKind::Replayed, ""), count(at(0, 2, 8), at(0, 2, 8), 1, 0));
    registry.save(&again, at(0, 3, 0)).await.unwrap();

    let all = EventFilter::default;
    let page = registry.events(&all(), None, 5).await.unwrap();
    assert_eq!(page.entries[0].count, count(at(0, 1, 0), at(0, 2, 9), 9, 0));
    assert_eq!(page.entries[0].key, Some(id(&key(1)).to_string()));
    assert_eq!(page.entries[0].application.as_deref(), Some("shop"));
    assert_eq!(page.entries[0].label.as_deref(), Some("laptop"));
    assert_eq!((page.entries[1].kind, &page.entries[1].key), (EventKind::Replayed, &None));
    let mut listed = page.entries;
    let mut next = page.next;
    while let Some(place) = next {
        let place = place.to_string().parse().unwrap();
        let page = registry.events(&all(), Some(place), 5).await.unwrap();
        listed.extend(page.entries);
        next = page.next;
    }
    assert_eq!(listed, events(&registry, all()).await);
    assert_eq!(listed.len(), 12);
    assert!(listed.is_sorted_by_key(|event| std::cmp::Reverse(event.count.last)));

    let filtered = [
        (all().application("shop"), 11),
        (all().key(id(&key(1))), 1),
        (all().kind(EventKind::RestrictionViolated), 10),
        (all().since(at(0, 2, 9)), 1),
        (all().since(at(0, 1, 8)).until(at(0, 2, 9)), 3),
        (all().verified(), 10),
        (all().verified().key(id(&key(1))), 0),
    ];
    for (filter, expected) in filtered {
        assert_eq!(events(&registry, filter.clone()).await.len(), expected, "{filter:?}");
    }
    let missing = registry.events(&all().application("nobody"), None, 5).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound(_)), "{missing:?}");
    let of_keys = registry.page(&Default::default(), None, 1, MIDNIGHT).await.unwrap().next;
    let wrong = registry.events(&all(), of_keys, 5).await.unwrap_err();
    assert!(matches!(wrong, RegistryError::Cursor(_)), "{wrong:?}");
}

async fn details_beyond_the_bound_are_counted_together(home: Home) {
    let registry = home.registry().await;
    let once = EventCount { first: MIDNIGHT, last: MIDNIGHT, count: 1, verified: 1 };
    for number in 0..3 {
        let mut batch = UsageBatch::new(1, number);
        for detail in 0..500 {
            let detail = format!("{}", number * 500 + detail);
            batch.events.insert(event(1, EventKind::RestrictionViolated, &detail), once);
        }
        batch.events.insert(event(1, EventKind::Replayed, ""), once);
        registry.save(&batch, MIDNIGHT).await.unwrap();
    }
    let all = events(&registry, EventFilter::default()).await;
    assert_eq!(all.len(), 1002);
    let others = all
        .iter()
        .find(|event| event.kind == EventKind::RestrictionViolated && event.detail.is_none());
    assert_eq!(others.unwrap().count, EventCount { count: 500, verified: 500, ..once });
}

async fn old_events_are_forgotten(home: Home) {
    let registry = home.registry().await;
    let mut batch = UsageBatch::new(1, 1);
    for (credential, last) in [(1, MIDNIGHT), (2, at(5, 0, 0))] {
        let count = EventCount { first: MIDNIGHT, last, count: 1, verified: 0 };
        batch.events.insert(event(credential, EventKind::Replayed, ""), count);
    }
    registry.save(&batch, at(5, 0, 0)).await.unwrap();
    registry.prune_usage(at(3 * 365 + 1, 0, 0)).await.unwrap();
    let left = events(&registry, EventFilter::default()).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].credential, CredentialId::new(2));
}
