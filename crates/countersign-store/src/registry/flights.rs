use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use countersign::KeyId;
use tokio::sync::watch;

use super::{cache::Generation, error::RegistryError};
use crate::{credential::Credential, error::StoreError};

/// How many keys are looked up at the same time. A request for one more is refused: the database does not keep up.
const MOST: usize = 10_000;

const FAILED: &str = "the registry cannot be read";

/// The lookups that are under way, so that the database is asked once for a key that many ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<KeyId, Flight>>>,
}

/// A lookup that is under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    generation: Generation,
    landed: watch::Receiver<Option<Landed>>,
}

/// The result of a lookup, for all who wait for it.
pub(super) type Landed = Result<Option<Arc<Credential>>, Arc<RegistryError>>;

/// A place among those who look a key up.
#[derive(Debug)]
pub(super) enum Seat {
    /// Another caller looks the key up already.
    Passenger(Flight),
    /// The caller has to look the key up.
    Pilot(Flight, Landing),
    /// Too many lookups are under way.
    Full,
}

/// To be held while a key is looked up. Dropped without a result, the lookup has failed.
#[derive(Debug)]
pub(super) struct Landing {
    flights: Flights,
    id: KeyId,
    landed: watch::Sender<Option<Landed>>,
}

impl Flights {
    /// Joins the lookup of a key, or begins one. A lookup that began before the last change that is known here is not joined:
    /// its result may be from before the change.
    pub(super) fn join(&self, id: &KeyId, generation: Generation) -> Seat {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get(id)
            && flight.generation == generation
        {
            return Seat::Passenger(flight.clone());
        }
        if under_way.len() >= MOST {
            return Seat::Full;
        }
        let (sender, landed) = watch::channel(None);
        let flight = Flight { generation, landed };
        under_way.insert(*id, flight.clone());
        Seat::Pilot(flight, Landing { flights: self.clone(), id: *id, landed: sender })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Flight>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits for the result.
    pub(super) async fn landed(mut self) -> Result<Option<Arc<Credential>>, StoreError> {
        let landed = self.landed.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(Ok(found))) => Ok(found.clone()),
            Ok(Some(Err(error))) => Err(StoreError::because(FAILED, Arc::clone(error))),
            Ok(None) | Err(_) => Err(StoreError::new(FAILED)),
        }
    }
}

impl Landing {
    /// Gives the result to all who wait. Call it after the result is in the cache, so that nobody begins a lookup in between.
    pub(super) fn land(self, landed: Landed) {
        // Before anybody has the result: a caller who has seen a failure, and asks again, begins a lookup of its own.
        self.leave();
        self.landed.send_replace(Some(landed));
    }

    /// Lets the next caller begin a lookup.
    fn leave(&self) {
        let mut under_way = self.flights.lock();
        // A later lookup may have taken its place.
        let is_this = under_way
            .get(&self.id)
            .is_some_and(|flight| flight.landed.same_channel(&self.landed.subscribe()));
        if is_this {
            under_way.remove(&self.id);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use countersign::{PublishableKey, Timestamp};

    use super::*;
    use crate::registry::{audit::act::ActSubject, cache::Cache};

    fn id(seed: u8) -> KeyId {
        KeyId::Publishable(PublishableKey::ed25519([seed; 32]))
    }

    fn generation(cache: &Cache) -> Generation {
        cache.lookup(Timestamp::from_unix(1_763_900_000)).generation()
    }

    #[tokio::test]
    async fn one_looks_a_key_up_for_all_who_ask() {
        let (flights, cache) = (Flights::default(), Cache::default());
        let Seat::Pilot(own, landing) = flights.join(&id(1), generation(&cache)) else { panic!() };
        let Seat::Passenger(joined) = flights.join(&id(1), generation(&cache)) else { panic!() };
        let Seat::Pilot(..) = flights.join(&id(2), generation(&cache)) else { panic!() };
        landing.land(Ok(None));
        assert!(own.landed().await.unwrap().is_none());
        assert!(joined.landed().await.unwrap().is_none());
        assert!(flights.lock().is_empty(), "what has landed is not kept");
    }

    #[tokio::test]
    async fn a_failure_and_a_lookup_that_is_given_up_reach_all_who_wait() {
        let (flights, cache) = (Flights::default(), Cache::default());
        for result in [Some(Err(Arc::new(RegistryError::NewerSchema))), None] {
            let seat = flights.join(&id(1), generation(&cache));
            let Seat::Pilot(own, landing) = seat else { panic!() };
            let Seat::Passenger(joined) = flights.join(&id(1), generation(&cache)) else {
                panic!()
            };
            match result {
                Some(result) => landing.land(result),
                None => drop(landing),
            }
            assert!(own.landed().await.is_err());
            assert!(joined.landed().await.is_err());
        }
    }

    #[test]
    fn who_has_seen_a_failure_and_asks_again_begins_another_lookup() {
        let (flights, cache) = (Flights::default(), Cache::default());
        for _ in 0..2_000 {
            let seat = flights.join(&id(1), generation(&cache));
            let Seat::Pilot(flight, landing) = seat else { panic!("the last lookup has ended") };
            let landed = Err(Arc::new(RegistryError::NewerSchema));
            let pilot = std::thread::spawn(move || landing.land(landed));
            while flight.landed.borrow().is_none() {
                std::hint::spin_loop();
            }
            let again = flights.join(&id(1), generation(&cache));
            assert!(matches!(again, Seat::Pilot(..)), "it joined the failure");
            drop(again);
            pilot.join().unwrap();
        }
    }

    #[tokio::test]
    async fn who_asks_after_a_change_gets_no_answer_from_before_it() {
        let (flights, cache) = (Flights::default(), Cache::default());
        let Seat::Pilot(_, earlier) = flights.join(&id(1), generation(&cache)) else { panic!() };
        cache.remove(&ActSubject { application: None, key: Some(id(1)) });
        let Seat::Pilot(later, landing) = flights.join(&id(1), generation(&cache)) else {
            panic!()
        };
        drop(earlier);
        let Seat::Passenger(joined) = flights.join(&id(1), generation(&cache)) else { panic!() };
        landing.land(Ok(None));
        assert!(later.landed().await.unwrap().is_none());
        assert!(joined.landed().await.unwrap().is_none());
    }

    #[test]
    fn lookups_are_refused_when_too_many_are_under_way() {
        let (flights, cache) = (Flights::default(), Cache::default());
        let numbered = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            flights.join(&KeyId::Publishable(PublishableKey::ed25519(bytes)), generation(&cache))
        };
        let mut seats: Vec<_> = (0..MOST).map(numbered).collect();
        assert!(matches!(numbered(MOST), Seat::Full));
        assert!(matches!(numbered(0), Seat::Passenger(_)), "who joins takes no place");
        seats.pop();
        assert!(matches!(numbered(MOST), Seat::Pilot(..)));
    }
}
