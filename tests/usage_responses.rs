//! What a policy does about the events of a service: never because of a stranger.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::ProvenKey;
use countersign_server::{Publishable, Route, Routes, Signed, Usage};
use countersign_store::{
    EventFilter, EventHandler, EventKind, EventNews, EventResponse, NewCredential, Registry, State,
    StoreError, UsageResponse,
};
use harness::{NOW, Raw, Service, TestClock, key, verifier};
use http::{Method, StatusCode};

use crate::usage::{call, publishable};

/// Takes events, and does nothing with them.
struct Told;

impl EventHandler for Told {
    async fn handle(&self, _: &EventNews, _: EventResponse) -> Result<(), StoreError> {
        Ok(())
    }
}

fn routes() -> Routes {
    Routes::new()
        .route(Route::read("/v1/orders"), async |Publishable(_): Publishable| "orders")
        .route(
            Route::signed(Method::POST, "/v1/orders"),
            async |Signed(_, content): Signed<Bytes>| (StatusCode::CREATED, content),
        )
}

/// The strictest policy there can be: a key goes into quarantine at the first event of any kind.
fn strictest() -> UsageResponse {
    let strict = UsageResponse::notify().at_most_an_hour(1000);
    let day = Duration::from_secs(24 * 60 * 60);
    EventKind::all()
        .iter()
        .fold(strict, |response, kind| response.quarantine_after(*kind, NonZeroU32::MIN, day))
}

#[tokio::test]
async fn a_stranger_never_puts_a_key_into_quarantine_and_a_thief_of_the_private_key_does() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Arc::new(Registry::open_or_create(&url).await.unwrap());
    registry.add_application("shop", "test", NOW).await.unwrap();
    let proven = ProvenKey::from(&key(1));
    let new = NewCredential::new("shop", "laptop", &proven);
    let id = registry.add_credential(new, NOW).await.unwrap().publishable_key().into();
    let usage = Usage::record_to(Arc::clone(&registry));
    let verifier = verifier(&TestClock::default(), Arc::clone(&registry), Service::nonces());
    let app = verifier.usage(usage.clone()).protect(routes()).unwrap();
    let mut watch = registry.watch_events(strictest(), Told, NOW);

    let at_home = |raw: Raw| raw.add("Test-From", "192.0.2.7").add("User-Agent", "okhttp/4.12.0");
    let captured = at_home(Raw::order().signed());
    assert_eq!(call(&app, &captured).await, 201);
    usage.flush().await.unwrap();
    watch.look(NOW).await.unwrap();

    let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)";
    let elsewhere = |raw: Raw, network: u8| {
        raw.set("Test-From", format!("198.51.{network}.9")).set("User-Agent", iphone)
    };
    for network in 0..60 {
        // The captured request again, as it is and with other content; garbage under the key; and the publishable key alone.
        for (attack, expected) in [
            (captured.clone(), 401),
            (captured.clone().body(b"changed"), 401),
            (Raw::order().forged(&key(1)), 401),
            (publishable(Raw::order(), 1), 401),
            (publishable(Raw::read(), 1), 200),
        ] {
            assert_eq!(call(&app, &elsewhere(attack, network)).await, expected);
        }
    }
    usage.flush().await.unwrap();
    watch.look(NOW).await.unwrap();
    let state = async || registry.credential(&id).await.unwrap().state;
    let kinds = async || {
        let events = registry.events(&EventFilter::default(), None, 100).await.unwrap().entries;
        let mut kinds: Vec<_> =
            events.iter().map(|event| (event.kind, event.count.verified > 0)).collect();
        kinds.sort();
        kinds
    };
    let strangers = [EventKind::Replayed, EventKind::BadSignature, EventKind::PublishableWrite];
    let strangers = strangers.map(|kind| (kind, false));
    assert_eq!(kinds().await, strangers);
    assert_eq!(state().await, State::Active);

    // Whoever has the private key makes requests of their own.
    assert_eq!(call(&app, &elsewhere(Raw::order().signed(), 1)).await, 201);
    usage.flush().await.unwrap();
    watch.look(NOW).await.unwrap();
    let thief = [EventKind::FirstNetwork, EventKind::FirstPlatform].map(|kind| (kind, true));
    assert_eq!(kinds().await, [strangers.as_slice(), &thief].concat());
    assert_eq!(state().await, State::Quarantined);
    assert_eq!(call(&app, &elsewhere(Raw::order().signed(), 1)).await, 401);
    assert_eq!(call(&app, &elsewhere(publishable(Raw::read(), 1), 1)).await, 200);
}
