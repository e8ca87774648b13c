//! Races between threads in the guard, explored by loom: every order of their operations on locks and counters.
//!
//! The race to be closed: a thread looks a fingerprint up and does not find it. Meanwhile another thread inserts it, and a
//! third forgets its bucket and raises the mark. Then the first thread inserts the fingerprint, a second time.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use countersign::{Claim, Nonce, NonceUse, Timestamp, Window};
use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    MemoryNonces,
    memory_limit::MemoryLimit,
    record::bucket,
    shard::{LookUp, Shard},
    sync::{Mutex, lock},
};
use crate::nonces::NonceStore;

const CREATED: Timestamp = Timestamp::from_unix(1_763_900_000);
/// The last second at which a signature of [`CREATED`] is live, and the first at which it has expired.
const LIVE: Timestamp = Timestamp::from_unix(CREATED.unix() + 80);
const EXPIRED: Timestamp = Timestamp::from_unix(CREATED.unix() + 81);

fn used(created: Timestamp) -> NonceUse {
    NonceUse::new(1, created, Nonce::from_random([7; 16]))
}

/// Claims a nonce. A volatile guard never waits.
fn claim(guard: &MemoryNonces, used: &NonceUse, now: Timestamp) -> Claim {
    match pin!(guard.claim(used, now)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(claim) => claim.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

/// Two threads claim the same nonce, while a third, whose clock is ahead, makes the guard forget it.
#[test]
fn a_race_for_a_nonce_that_is_being_forgotten_has_at_most_one_winner() {
    loom::model(|| {
        let started = Timestamp::from_unix(CREATED.unix() - 100);
        let guard = Arc::new(MemoryNonces::volatile(Window::default(), started).unwrap());
        let fresh = Arc::new(AtomicUsize::new(0));
        let claimants: Vec<_> = (0..2)
            .map(|_| {
                let (guard, fresh) = (Arc::clone(&guard), Arc::clone(&fresh));
                thread::spawn(move || match claim(&guard, &used(CREATED), LIVE) {
                    Claim::Fresh => drop(fresh.fetch_add(1, Ordering::Relaxed)),
                    Claim::Replayed | Claim::TooOld { .. } => {}
                    Claim::ShareUsedUp { .. } => panic!("there was enough of it"),
                })
            })
            .collect();
        assert_eq!(claim(&guard, &used(EXPIRED), EXPIRED), Claim::Fresh);
        claimants.into_iter().for_each(|claimant| claimant.join().unwrap());
        // In every order one claim is in time: the mark rises only past nonces in the guard.
        assert_eq!(fresh.load(Ordering::Relaxed), 1);
        assert_ne!(claim(&guard, &used(CREATED), LIVE), Claim::Fresh);
    });
}

/// Two threads claim while a third closes the guard: the closed state has every accepted nonce.
#[test]
fn what_is_accepted_while_a_guard_is_closed_is_in_what_it_leaves() {
    loom::model(|| {
        let started = Timestamp::from_unix(CREATED.unix() - 100);
        let guard = Arc::new(MemoryNonces::volatile(Window::default(), started).unwrap());
        let fresh = Arc::new(AtomicUsize::new(0));
        let claimants: Vec<_> = (0..2)
            .map(|_| {
                let (guard, fresh) = (Arc::clone(&guard), Arc::clone(&fresh));
                thread::spawn(move || {
                    if guard.record.claim(&used(CREATED), LIVE) == Ok(Claim::Fresh) {
                        fresh.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let (shards, tallies) = guard.record.close();
        claimants.into_iter().for_each(|claimant| claimant.join().unwrap());
        let remembered: usize = shards.iter().map(Shard::len).sum();
        assert_eq!(remembered, fresh.load(Ordering::Relaxed));
        let counted = tallies.iter().flat_map(|tally| tally.spans()).count();
        assert_eq!(counted, remembered);
    });
}

/// The same race in a guard that unlocks between look-up and insertion. Loom finds the replay that the real guard prevents.
#[test]
fn a_guard_that_unlocks_between_looking_up_and_inserting_is_caught() {
    let broken = || {
        loom::model(|| {
            let shard = Arc::new(Mutex::new(Shard::new(0, bucket(Window::default()))));
            let memory_limit = MemoryLimit::new(1 << 20);
            let fresh = Arc::new(AtomicUsize::new(0));
            let claimants: Vec<_> = (0..2)
                .map(|_| {
                    let (shard, memory_limit) = (Arc::clone(&shard), Arc::clone(&memory_limit));
                    let fresh = Arc::clone(&fresh);
                    thread::spawn(move || {
                        let fingerprint = &7.into();
                        let created = CREATED.unix();
                        if !matches!(lock(&shard).look_up(fingerprint, created), LookUp::Unknown(_))
                        {
                            return;
                        }
                        // Other threads can run here. The mark is not checked again.
                        let mut shard = lock(&shard);
                        if shard.insert_unseen(fingerprint, created, &memory_limit) {
                            fresh.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            lock(&shard).forget_before(EXPIRED.unix());
            claimants.into_iter().for_each(|claimant| claimant.join().unwrap());
            assert!(fresh.load(Ordering::Relaxed) <= 1, "accepted twice");
        });
    };
    let caught = std::panic::catch_unwind(broken).unwrap_err();
    let message = caught.downcast_ref::<&str>().copied();
    assert_eq!(message, Some("accepted twice"));
}
