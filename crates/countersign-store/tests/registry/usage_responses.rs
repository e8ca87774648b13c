//! What is done about events: they are told, and keys are put into quarantine within limits.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::Timestamp;
use countersign_store::{
    Action, Actor, AuditFilter, CredentialId, EventCount, EventHandler, EventKey, EventKind,
    EventNews, EventResponse, Registry, State, StoreError, UsageBatch, UsageResponse, UsageSink,
};

use crate::{
    home::{Home, on_both},
    life::{add, id, key},
    usage::at,
};

on_both! {
    what_a_stranger_can_cause_never_puts_a_key_into_quarantine
    a_key_goes_into_quarantine_after_as_many_events_as_the_policy_says
    quarantines_are_limited_over_all_servers_and_over_restarts
    an_event_that_was_not_taken_is_handed_over_again
    a_feed_returns_what_is_saved_late_and_nothing_twice
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An event of a credential, how often it is new, and what was done about it.
type Note = (CredentialId, EventKind, u64, EventResponse);

/// Notes what it gets, and fails so many times.
#[derive(Clone, Default)]
struct Notes {
    got: Arc<Mutex<Vec<Note>>>,
    failures: Arc<Mutex<u32>>,
}

impl EventHandler for Notes {
    async fn handle(&self, news: &EventNews, done: EventResponse) -> Result<(), StoreError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(StoreError::because("the handler", "is away"));
        }
        let note = (news.event.credential, news.event.kind, news.new, done);
        self.got.lock().unwrap().push(note);
        Ok(())
    }
}

impl Notes {
    fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }

    fn done(&self) -> Vec<EventResponse> {
        self.take().into_iter().map(|(.., done)| done).collect()
    }
}

/// Saves that something happened to a credential so many times, all of them verified or none.
async fn save(
    registry: &Registry,
    number: u64,
    (credential, kind, detail): (i64, EventKind, &str),
    (count, verified): (u64, u64),
    now: Timestamp,
) {
    let mut batch = UsageBatch::new(1, number);
    let credential = CredentialId::new(credential);
    let key = EventKey { credential, kind, detail: Some(detail.into()) };
    batch.events.insert(key, EventCount { first: now, last: now, count, verified });
    registry.save(&batch, now).await.unwrap();
}

fn times(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// The strictest policy there can be.
fn strictest() -> UsageResponse {
    let all = EventKind::all().iter();
    let strict = UsageResponse::notify().at_most_an_hour(1000);
    all.fold(strict, |response, kind| response.quarantine_after(*kind, times(1), DAY))
}

async fn state(registry: &Registry, seed: u8) -> State {
    registry.credential(&id(&key(seed))).await.unwrap().state
}

async fn what_a_stranger_can_cause_never_puts_a_key_into_quarantine(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let notes = Notes::default();
    let mut watch = registry.watch_events(strictest(), notes.clone(), at(0, 0, 0));
    for (number, kind) in (1..).zip(EventKind::all()) {
        save(&registry, number, (1, *kind, ""), (10_000, 0), at(0, 0, number)).await;
        watch.look(at(0, 0, number)).await.unwrap();
    }
    assert_eq!(state(&registry, 1).await, State::Active);
    assert_eq!(notes.done(), [EventResponse::Notified; 9]);
    // Not even if a server took them for verified.
    let of_strangers = [
        EventKind::Replayed,
        EventKind::BadSignature,
        EventKind::UsedAfterRevocation,
        EventKind::UsedAfterExpiry,
        EventKind::PublishableWrite,
        EventKind::RestrictionViolated,
    ];
    for (number, kind) in (10..).zip(of_strangers) {
        save(&registry, number, (1, kind, ""), (10_000, 10_000), at(0, 0, number)).await;
        watch.look(at(0, 0, number)).await.unwrap();
    }
    assert_eq!(state(&registry, 1).await, State::Active);
    // And without a rule nothing is done.
    let mut only_told = registry.watch_events(UsageResponse::notify(), notes.clone(), at(0, 0, 0));
    save(&registry, 20, (1, EventKind::FirstNetwork, "a"), (9, 9), at(0, 0, 20)).await;
    only_told.look(at(0, 0, 20)).await.unwrap();
    assert_eq!(state(&registry, 1).await, State::Active);
    watch.look(at(0, 0, 20)).await.unwrap();
    assert_eq!(state(&registry, 1).await, State::Quarantined);
}

async fn a_key_goes_into_quarantine_after_as_many_events_as_the_policy_says(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let notes = Notes::default();
    let response =
        UsageResponse::notify().quarantine_after(EventKind::FirstNetwork, times(2), HOUR);
    let mut watch = registry.watch_events(response, notes.clone(), at(0, 0, 0));
    let mut number = 0;
    let mut happens = async |network: &str, kind, now: Timestamp| {
        number += 1;
        // However many requests come from a network, it is one.
        save(&registry, number, (1, kind, network), (500, 500), now).await;
        watch.look(now).await.unwrap();
        watch.look(now).await.unwrap();
        let done = notes.done();
        let [done] = done.as_slice() else { panic!("{done:?}") };
        (*done, state(&registry, 1).await)
    };
    use EventResponse::{Notified, Quarantined};
    let network = EventKind::FirstNetwork;
    assert_eq!(happens("a", network, at(0, 0, 1)).await, (Notified, State::Active));
    // Other kinds, and what is longer ago than the time of the rule, do not count.
    let platform = EventKind::FirstPlatform;
    assert_eq!(happens("ios", platform, at(0, 0, 2)).await, (Notified, State::Active));
    assert_eq!(happens("b", network, at(0, 1, 2)).await, (Notified, State::Active));
    assert_eq!(happens("c", network, at(0, 1, 3)).await, (Quarantined, State::Quarantined));
    assert_eq!(happens("d", network, at(0, 1, 4)).await, (Notified, State::Quarantined));
    let actor: Actor = "usage policy".parse().unwrap();
    let filter = AuditFilter::default().actor(&actor);
    let entries = registry.latest_audit_entries(&filter, None, 10).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.action, Action::QuarantineKey.as_str());
    // Who releases it can trust that it takes as many again.
    registry.release(&id(&key(1)), None, at(0, 1, 5)).await.unwrap();
    registry.revoke(&id(&key(1)), None, at(0, 1, 6)).await.unwrap();
    assert_eq!(happens("e", network, at(0, 1, 7)).await, (Notified, State::Revoked));
    assert_eq!(happens("f", network, at(0, 1, 8)).await, (Notified, State::Revoked));
}

async fn quarantines_are_limited_over_all_servers_and_over_restarts(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=4 {
        add(&registry, &key(seed)).await;
    }
    let notes = Notes::default();
    let response = || strictest().at_most_an_hour(2);
    for (seed, expected) in [
        (1, EventResponse::Quarantined),
        (2, EventResponse::Quarantined),
        (3, EventResponse::LimitReached),
    ] {
        // As a server after a restart, or another.
        let now = at(0, 0, seed);
        let mut watch = registry.watch_events(response(), notes.clone(), now);
        let event = (i64::try_from(seed).unwrap(), EventKind::ManyNetworks, "");
        save(&registry, seed, event, (1, 1), now).await;
        watch.look(now).await.unwrap();
        assert_eq!(notes.done(), [expected], "{seed}");
    }
    assert_eq!(state(&registry, 3).await, State::Active);
    let later = at(0, 1, 10);
    let mut watch = registry.watch_events(response(), notes.clone(), later);
    save(&registry, 4, (3, EventKind::ManyNetworks, ""), (1, 1), later).await;
    watch.look(later).await.unwrap();
    assert_eq!(notes.done(), [EventResponse::Quarantined]);
    let mut none = registry.watch_events(strictest().at_most_an_hour(0), notes.clone(), later);
    save(&registry, 5, (4, EventKind::ManyNetworks, ""), (1, 1), later).await;
    none.look(later).await.unwrap();
    assert_eq!(notes.done().last(), Some(&EventResponse::LimitReached));
    assert_eq!(state(&registry, 4).await, State::Active);
}

async fn an_event_that_was_not_taken_is_handed_over_again(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let notes = Notes::default();
    *notes.failures.lock().unwrap() = 2;
    let mut watch = registry.watch_events(UsageResponse::notify(), notes.clone(), at(0, 0, 0));
    let credential = CredentialId::new(1);
    save(&registry, 1, (1, EventKind::Replayed, ""), (3, 0), at(0, 0, 1)).await;
    save(&registry, 2, (1, EventKind::BadSignature, ""), (1, 0), at(0, 0, 2)).await;
    for _ in 0..2 {
        watch.look(at(0, 0, 3)).await.unwrap();
        assert_eq!(notes.take(), []);
    }
    watch.look(at(0, 0, 3)).await.unwrap();
    let expected = [
        (credential, EventKind::Replayed, 3, EventResponse::Notified),
        (credential, EventKind::BadSignature, 1, EventResponse::Notified),
    ];
    assert_eq!(notes.take(), expected);
    watch.look(at(0, 0, 3)).await.unwrap();
    assert_eq!(notes.take(), []);
}

async fn a_feed_returns_what_is_saved_late_and_nothing_twice(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let notes = Notes::default();
    let mut watch = registry.watch_events(UsageResponse::notify(), notes.clone(), at(0, 0, 0));
    let mut look = async |minutes| {
        watch.look(at(0, 0, minutes)).await.unwrap();
        notes.take().into_iter().map(|(_, kind, new, _)| (kind, new)).collect::<Vec<_>>()
    };
    let (replayed, bad) = (EventKind::Replayed, EventKind::BadSignature);
    save(&registry, 1, (1, replayed, ""), (2, 0), at(0, 0, 20)).await;
    assert_eq!(look(20).await, [(replayed, 2)]);
    // Another server was without its database for ten minutes.
    save(&registry, 2, (1, bad, ""), (7, 0), at(0, 0, 11)).await;
    assert_eq!(look(21).await, [(bad, 7)]);
    assert_eq!(look(22).await, []);
    save(&registry, 3, (1, replayed, ""), (5, 0), at(0, 0, 23)).await;
    assert_eq!(look(23).await, [(replayed, 5)]);
    // It is forgotten by then how often it had happened: at least once more is sure.
    assert_eq!(look(50).await, []);
    save(&registry, 4, (1, bad, ""), (3, 0), at(0, 0, 51)).await;
    assert_eq!(look(51).await, [(bad, 1)]);
}
