use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use countersign::Timestamp;
use countersign_store::{AddressPrefix, CallCount, CallKey, CredentialId, EventCount, RouteLabel};
use foldhash::fast::RandomState;

use super::{
    agent::AgentId,
    bounds,
    counted::{Counted, Event, Group},
    hourly::Hourly,
    room::{Added, Origin, Room},
};

/// How many parts the tables have for calls of credentials. One more is for calls without a known credential.
const SHARDS: u64 = 64;

/// The counts of a server since the last flush, in parts by credential. Each part has a lock of its own.
///
/// Their hashes are quick ones that a stranger could find collisions of. The bounds of the entries that strangers can choose also
/// bound the collisions.
#[derive(Debug)]
pub(super) struct Tables {
    shards: Box<[Mutex<Shard>]>,
    rooms: Rooms,
    /// The begin of the newest call, by the verifier's clock.
    newest: AtomicU64,
    overflow: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Rooms {
    calls: Room,
    places: Room,
    clients: Room,
    events: Room,
}

#[derive(Debug)]
struct Shard {
    calls: Calls,
    places: Hourly<AddressPrefix>,
    clients: Hourly<AgentId>,
    events: Events,
    /// How much room the calls take.
    held: Vec<Held>,
}

type Calls = HashMap<CallKey, CallCount, RandomState>;
type Events = HashMap<(CredentialId, Event), EventCount, RandomState>;

/// The room that the entry of some calls takes.
#[derive(Clone, Copy, Debug)]
enum Held {
    Call(Origin),
    SpilledCall,
}

/// What was taken out of the tables.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) calls: HashMap<CallKey, CallCount>,
    pub(super) places: Vec<(Group, Option<AddressPrefix>, u64)>,
    pub(super) clients: Vec<(Group, Option<AgentId>, u64)>,
    pub(super) events: HashMap<(CredentialId, Event), EventCount>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            shards: (0..=SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            rooms: Rooms {
                calls: Room::of(bounds::CALLS),
                places: Room::of(bounds::PLACES),
                clients: Room::of(bounds::CLIENTS),
                events: Room::of(bounds::EVENTS),
            },
            newest: AtomicU64::new(0),
            overflow: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Tables {
    /// Counts a call.
    pub(super) fn count(&self, counted: Counted) {
        let (group, origin) = (counted.group(), counted.origin());
        let Counted { began, credential, prefix, agent, event, .. } = counted;
        if self.newest.load(Ordering::Relaxed) < began.unix() {
            self.newest.fetch_max(began.unix(), Ordering::Relaxed);
        }
        let Some(mut shard) = self.shard(credential) else { return };
        let added = [
            shard.add_call(counted, &self.rooms.calls),
            shard.places.add(group, prefix, origin, &self.rooms.places),
            shard.clients.add(group, agent, origin, &self.rooms.clients),
            match credential.zip(event) {
                Some((credential, event)) => {
                    shard.add_event(credential, event, began, &self.rooms.events)
                }
                None => Added::Apart,
            },
        ];
        drop(shard);
        for added in added {
            match added {
                Added::Apart => {}
                Added::Together => drop(self.overflow.fetch_add(1, Ordering::Relaxed)),
                Added::Dropped => drop(self.dropped.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    fn shard(&self, credential: Option<CredentialId>) -> Option<MutexGuard<'_, Shard>> {
        let place = match credential {
            Some(credential) => credential.get().unsigned_abs().checked_rem(SHARDS).unwrap_or(0),
            None => SHARDS,
        };
        let shard = self.shards.get(usize::try_from(place).unwrap_or(0))?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what was counted.
    pub(super) fn drain(&self) -> Drained {
        let newest = Timestamp::from_unix(self.newest.load(Ordering::Relaxed));
        let mut drained = Drained::default();
        for shard in &self.shards {
            let (calls, events) = {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.places.drain(newest, &self.rooms.places, &mut drained.places);
                shard.clients.drain(newest, &self.rooms.clients, &mut drained.clients);
                shard.take(&self.rooms)
            };
            drained.events.extend(events);
            for (key, count) in calls {
                merge(drained.calls.entry(key).or_default(), &count);
            }
        }
        drained
    }

    /// The begin of the newest call, by the verifier's clock.
    pub(super) fn newest(&self) -> Timestamp {
        Timestamp::from_unix(self.newest.load(Ordering::Relaxed))
    }

    /// How many counts went into a row for all others, and how many were dropped, since the last time.
    pub(super) fn take_lost(&self) -> (u64, u64) {
        (self.overflow.swap(0, Ordering::Relaxed), self.dropped.swap(0, Ordering::Relaxed))
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            calls: HashMap::default(),
            places: Hourly::of(bounds::PLACES_EACH),
            clients: Hourly::of(bounds::CLIENTS_EACH),
            events: HashMap::default(),
            held: Vec::new(),
        }
    }

    fn add_call(&mut self, counted: Counted, room: &Room) -> Added {
        let (duration, bytes_in, bytes_out) =
            (counted.duration, counted.bytes_in, counted.bytes_out);
        let origin = counted.origin();
        let mut key = counted.into_key();
        if let Some(count) = self.calls.get_mut(&key) {
            count.add(duration, bytes_in, bytes_out);
            return Added::Apart;
        }
        let mut added = Added::Apart;
        let mut held = Some(Held::Call(origin));
        if !room.take(origin) {
            (key.credential, key.route) = (None, RouteLabel::Other);
            let is_new = !self.calls.contains_key(&key);
            if is_new && !room.spill() {
                return Added::Dropped;
            }
            held = is_new.then_some(Held::SpilledCall);
            added = Added::Together;
        }
        self.calls.entry(key).or_default().add(duration, bytes_in, bytes_out);
        self.held.extend(held);
        added
    }

    fn add_event(
        &mut self,
        credential: CredentialId,
        event: Event,
        at: Timestamp,
        room: &Room,
    ) -> Added {
        if let Some(count) = self.events.get_mut(&(credential, event)) {
            count.first = count.first.min(at);
            count.last = count.last.max(at);
            count.count = count.count.saturating_add(1);
            return Added::Apart;
        }
        // Each of these events can be brought about without the private key.
        if !room.take(Origin::Holder) {
            return Added::Dropped;
        }
        let count = EventCount { first: at, last: at, count: 1, verified: 0 };
        self.events.insert((credential, event), count);
        Added::Apart
    }

    /// Takes calls and events.
    fn take(&mut self, rooms: &Rooms) -> (Calls, Events) {
        for held in self.held.drain(..) {
            match held {
                Held::Call(origin) => rooms.calls.give(origin),
                Held::SpilledCall => rooms.calls.unspill(),
            }
        }
        for _ in &self.events {
            rooms.events.give(Origin::Holder);
        }
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.events))
    }
}

fn merge(count: &mut CallCount, other: &CallCount) {
    count.calls = count.calls.saturating_add(other.calls);
    count.bytes_in = count.bytes_in.saturating_add(other.bytes_in);
    count.bytes_out = count.bytes_out.saturating_add(other.bytes_out);
    count.duration = count.duration.saturating_add(other.duration);
    let (mut sums, others) = (*count.latencies.counts(), other.latencies.counts());
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum = sum.saturating_add(*other);
    }
    count.latencies = countersign_store::LatencyHistogram::of(sums);
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc, time::Duration};

    use countersign::Code;
    use countersign_store::{CallAccess, CallOutcome, EventKind, RestrictionKind};
    use http::{HeaderMap, HeaderValue, Method, StatusCode, header::USER_AGENT};

    use super::{
        super::agent::{Agents, Sender},
        *,
    };

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

    /// A read with the publishable key of this credential.
    fn read(credential: i64) -> Counted {
        Counted {
            began: NOW,
            credential: Some(CredentialId::new(credential)),
            route: None,
            method: Method::GET,
            access: CallAccess::Publishable,
            outcome: CallOutcome::Passed,
            status: StatusCode::OK,
            accepted_signature: false,
            prefix: None,
            agent: None,
            event: None,
            duration: Duration::from_millis(3),
            bytes_in: 0,
            bytes_out: 10,
        }
    }

    fn signed(credential: i64) -> Counted {
        let access = CallAccess::Signed;
        Counted { access, accepted_signature: true, ..read(credential) }
    }

    fn prefix(number: usize) -> Option<AddressPrefix> {
        let [.., a, b] = u32::try_from(number).unwrap().to_be_bytes();
        Some(AddressPrefix::of(IpAddr::from([10, a, b, 7])))
    }

    fn sum(rows: &[(Group, Option<impl Copy>, u64)]) -> u64 {
        rows.iter().map(|(.., calls)| calls).sum()
    }

    #[test]
    fn calls_that_are_alike_are_counted_together() {
        let tables = Tables::default();
        let route: Arc<str> = "GET /v1/orders".into();
        for _ in 0..3 {
            // Equal, and another allocation each time.
            let route = Some(Arc::from(&*route));
            tables.count(Counted { route, ..signed(1) });
        }
        tables.count(Counted { began: NOW.plus(Duration::from_secs(60)), ..signed(1) });
        tables.count(read(1));
        let drained = tables.drain();
        assert_eq!(drained.calls.len(), 3);
        let key = Counted { route: Some(route), ..signed(1) }.into_key();
        let count = drained.calls.get(&key).unwrap();
        assert_eq!((count.calls, count.bytes_out), (3, 30));
        assert_eq!(count.duration, Duration::from_millis(9));
        assert_eq!(count.latencies.counts().iter().sum::<u64>(), 3);
        assert_eq!(sum(&drained.places), 5);
        assert!(tables.drain().calls.is_empty());
    }

    #[test]
    fn networks_beyond_the_bound_of_an_hour_are_counted_in_one_row_in_all_flushes_of_the_hour() {
        let tables = Tables::default();
        let mut rows = std::collections::HashMap::new();
        for flush in 0..10 {
            for number in 0..100 {
                tables.count(Counted { prefix: prefix(flush * 100 + number), ..read(1) });
            }
            for (group, prefix, calls) in tables.drain().places {
                *rows.entry((group, prefix)).or_insert(0) += calls;
            }
        }
        assert_eq!(rows.len(), bounds::PLACES_EACH + 1);
        assert_eq!(rows.values().sum::<u64>(), 1000);
        assert_eq!(tables.take_lost(), (1000 - 256, 0));
        // A signed call has bounds of its own, and so has the next day.
        tables.count(Counted { prefix: prefix(5000), ..signed(1) });
        tables.count(Counted {
            prefix: prefix(5001),
            began: NOW.plus(Duration::from_secs(86_400)),
            ..read(1)
        });
        let apart = tables.drain().places;
        assert_eq!(apart.iter().filter(|(_, prefix, _)| prefix.is_some()).count(), 2);
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_signed_calls() {
        let tables = Tables::default();
        // More than a stranger can bring about: there are no such labels without a declaration.
        for number in 0..100_000_u32 {
            let route = Some(Arc::from(format!("GET /{number}")));
            let bomb = Counted { credential: None, access: CallAccess::Open, route, ..read(0) };
            tables.count(bomb);
        }
        tables.count(Counted { route: Some("POST /v1/orders".into()), ..signed(1) });
        assert_eq!(tables.take_lost(), (100_000 - 32_768, 0));
        let calls = tables.drain().calls;
        assert_eq!(calls.len(), bounds::CALLS / 2 + 2);
        assert_eq!(calls.values().map(|count| count.calls).sum::<u64>(), 100_001);
        let key = Counted { route: Some("POST /v1/orders".into()), ..signed(1) }.into_key();
        assert!(calls.contains_key(&key));
        // What was taken leaves its room.
        tables.count(Counted { route: Some("GET /anew".into()), ..read(2) });
        assert_eq!(tables.take_lost(), (0, 0));
    }

    #[test]
    fn rows_for_all_others_are_bounded_and_what_is_dropped_is_counted() {
        let tables = Tables::default();
        for minute in 0..50_000_u64 {
            let began = NOW.plus(Duration::from_secs(minute * 60));
            tables.count(Counted { began, credential: None, ..read(0) });
        }
        let (overflow, dropped) = tables.take_lost();
        assert!(dropped >= 50_000 - 32_768 - 4096, "{dropped}");
        assert!(overflow >= 4096, "{overflow}");
        let drained = tables.drain();
        assert_eq!(drained.calls.len(), bounds::CALLS / 2 + bounds::SPILL);
        tables.count(Counted { credential: None, ..read(0) });
        assert_eq!(tables.take_lost().1, 0, "there is room again");
    }

    #[test]
    fn hours_that_are_over_leave_their_room() {
        let tables = Tables::default();
        for hour in 0..50 {
            let began = NOW.plus(Duration::from_secs(hour * 3600));
            // A third of the room of strangers, each hour.
            for credential in 0..20_000 {
                tables.count(Counted { began, ..read(credential) });
            }
            assert_eq!(tables.take_lost().1, 0, "hour {hour}");
            assert_eq!(sum(&tables.drain().places), 20_000);
        }
    }

    #[test]
    fn events_keep_their_first_and_last_time_and_are_never_verified() {
        let tables = Tables::default();
        let restriction = Some(RestrictionKind::Ip);
        let event = Event { kind: EventKind::RestrictionViolated, restriction };
        for seconds in [5, 1, 9] {
            let began = NOW.plus(Duration::from_secs(seconds));
            let outcome = CallOutcome::Refused(Code::KeyForbidden);
            tables.count(Counted { began, outcome, event: Some(event), ..signed(7) });
        }
        let events = tables.drain().events;
        let count = EventCount {
            first: NOW.plus(Duration::from_secs(1)),
            last: NOW.plus(Duration::from_secs(9)),
            count: 3,
            verified: 0,
        };
        assert_eq!(events, [((CredentialId::new(7), event), count)].into());
    }

    #[test]
    fn a_replayed_request_tells_no_network_of_its_credential() {
        let tables = Tables::default();
        tables.count(Counted { accepted_signature: false, prefix: prefix(1), ..signed(1) });
        let drained = tables.drain();
        assert!(drained.calls.keys().all(|key| key.access == CallAccess::Signed));
        assert!(drained.places.iter().all(|(group, ..)| group.access == CallAccess::Publishable));
    }

    #[test]
    fn programs_beyond_the_bounds_are_counted_in_one_row() {
        let (tables, agents) = (Tables::default(), Agents::default());
        let sender = |text: String| {
            let value = HeaderValue::from_str(&text).unwrap();
            agents.sender(&HeaderMap::from_iter([(USER_AGENT, value)]), NOW)
        };
        for number in 0..10_000 {
            let Sender { id, new } = sender(format!("bomb/{number} {}", "x".repeat(5000)));
            let known = new.is_some_and(|new| {
                assert_eq!(new.text.len(), bounds::AGENT_BYTES);
                agents.remember(id.unwrap(), *new, Origin::Stranger, NOW)
            });
            tables.count(Counted { agent: id.filter(|_| known), ..read(1) });
        }
        assert_eq!(agents.len(), bounds::AGENTS / 2);
        let clients = tables.drain().clients;
        assert_eq!(clients.len(), bounds::CLIENTS_EACH + 1);
        assert_eq!(sum(&clients), 10_000);
        // The holder of a key still finds room, until programs are forgotten.
        let Sender { id, new } = sender("curl/8.4.0".into());
        assert!(agents.remember(id.unwrap(), *new.unwrap(), Origin::Holder, NOW));
        agents.forget_before(NOW.plus(Duration::from_secs(3 * 3600)));
        assert_eq!(agents.len(), 0);
    }
}
