use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{Claim, NonceUse, Timestamp, Window};
use redis::{
    ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    eviction::Eviction,
    failure::{Failure, number, text},
    link::{Connected, Duty, Link},
    script::{CHARGE, CLAIM, RECOVER, Sent},
    server::{Place, Redis, Replicas, connect, connect_by_sentinels, redirected},
    terms::{Charge, Known, Mark, Recovery, Reply, Settlement, Tab, Terms, When},
};
use crate::{error::StoreError, nonces::fingerprint_key::FingerprintKey};

/// Most redirects of a cluster to follow before giving up.
const REDIRECTS: usize = 5;
/// Most attempts of a claim, if the mark turns out to differ from the known mark.
const ATTEMPTS: usize = 4;
/// The first and the longest pause between attempts to reconnect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The state that servers share, the mark and the nonces, and this server's connections to it.
///
/// No claim is fresh twice, for these reasons. A Redis that keeps its data replies `fresh` once: the script checks, inserts,
/// raises the mark and drops everything below it in one step. A Redis that lost data refuses the lost claims. Let D be the
/// clock error. A right clock is within D/2 of the true time. Assume that at any time either the clocks of all servers or the
/// clock of the primary are right:
///
/// 1. Accepted requests have `created <= true time + 1.5 D + skew`: the clocks of the server and of Redis are at most D apart, one
///    of them is right, and `created` is at most the skew ahead of the server's clock.
/// 2. After a loss of data, the mark is gone, has another replication id than the primary, or is below a mark that a server has
///    seen. The script then refuses claims until a recovery. Data set back within the process of Redis, unnoticed, is not covered.
/// 3. The recovery sets the mark to `max(both clocks) + skew + 2 D + 1 s`, which is more than `true time + 1.5 D + skew`.
/// 4. The true time does not step back: every request accepted before is below the mark, and the mark never falls.
pub(super) struct Guard {
    redis: Redis,
    terms: Terms,
    links: Box<[Link]>,
    next: AtomicUsize,
    key: RwLock<FingerprintKey>,
    /// The highest mark in any reply.
    seen: AtomicU64,
    clock: LastTime,
    next_look: Mutex<Instant>,
}

/// The time that the server last reported, carried on by a monotonic clock.
struct LastTime {
    start: Instant,
    /// The time at `start`, counted back from the last reported time.
    at_start: AtomicU64,
}

/// What became of a claim, and of its charge.
pub(super) struct ClaimOutcome {
    /// None if it was over a limit.
    pub(super) claim: Option<Claim>,
    pub(super) charge: Option<Charge>,
}

impl Guard {
    /// Connects, checks that this Redis is reliable, and makes the mark if it is missing.
    pub(super) async fn connect(
        redis: Redis,
        window: Window,
        now: Timestamp,
    ) -> Result<Arc<Self>, StoreError> {
        let mut guard = Self {
            terms: Terms::new(&redis, window),
            redis,
            links: Box::default(),
            next: AtomicUsize::new(0),
            key: RwLock::new(FingerprintKey::random()?),
            seen: AtomicU64::new(0),
            clock: LastTime::new(now),
            next_look: Mutex::new(Instant::now()),
        };
        let mut links = Vec::with_capacity(guard.redis.connections);
        for _ in 0..guard.redis.connections {
            let connection = guard.open().await.map_err(|failure| {
                StoreError::because("the replay guard cannot use Redis", failure)
            })?;
            links.push(Link::new(connection));
        }
        guard.links = links.into();
        Ok(Arc::new(guard))
    }

    /// Claims a nonce and charges a tab, in one round trip.
    pub(super) async fn claim(
        self: &Arc<Self>,
        used: &NonceUse,
        tab: Option<&Tab<'_>>,
        now: Timestamp,
    ) -> Result<ClaimOutcome, Failure> {
        self.clock.set(now);
        let deadline = after(self.redis.patience());
        for _ in 0..ATTEMPTS {
            match self.claim_once(used, tab, now, deadline).await? {
                Reply::Settled { settlement, low_water, charge } => {
                    self.seen.fetch_max(low_water, Ordering::AcqRel);
                    let claim = match settlement {
                        Settlement::Fresh => Some(Claim::Fresh),
                        Settlement::Replayed => Some(Claim::Replayed),
                        Settlement::Limited => None,
                        Settlement::Old => {
                            let from = Timestamp::from_unix(low_water);
                            let retry_after = from.since(now).unwrap_or(Duration::from_secs(1));
                            Some(Claim::TooOld { retry_after })
                        }
                    };
                    return Ok(ClaimOutcome { claim, charge });
                }
                Reply::Lost => self.recover(When::IfLost, now, deadline).await?,
                Reply::Key(key) => self.take_key(key),
            }
        }
        Err(Failure::Unsettled)
    }

    async fn claim_once(
        self: &Arc<Self>,
        used: &NonceUse,
        tab: Option<&Tab<'_>>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let asked = self.terms.claim(&self.known(), used, tab, now);
        let (asks_for_eviction, mark) = (self.is_look_due(), self.terms.mark());
        let link = self.link();
        let connected = soon(link.1, deadline).await?;
        let replies = self.send(link, connected, deadline, |pipeline, sent| {
            CLAIM.send(pipeline, sent, &asked);
            if let Some(Replicas { at_least, within }) = self.redis.replicas {
                let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                pipeline.cmd("WAIT").arg(at_least).arg(within);
            }
            if asks_for_eviction {
                Eviction::ask(pipeline, &mark);
            }
        });
        let mut replies = replies.await?.into_iter();
        let reply = self.terms.read_claim(&first(&mut replies)?, now)?;
        if let Some(Replicas { at_least, .. }) = self.redis.replicas {
            let got: i64 = number(Some(&first(&mut replies)?))?;
            let fresh = matches!(reply, Reply::Settled { settlement: Settlement::Fresh, .. });
            if fresh && got < i64::from(at_least) {
                return Err(Failure::Replicas { wanted: at_least, got });
            }
        }
        if asks_for_eviction {
            // Where it evicts or has, this claim does not count, and the next one looks again.
            if Eviction::read(replies)? == Eviction::Happened {
                self.recover(When::Always, now, deadline).await?;
                return Err(Failure::Evicted);
            }
            let next = after(self.redis.look_every);
            *self.next_look.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
        Ok(reply)
    }

    /// Returns the first accepted second, which is the mark. Makes the mark, or raises it, if it was lost.
    pub(super) async fn ready_at(self: &Arc<Self>, now: Timestamp) -> Result<Timestamp, Failure> {
        self.clock.set(now);
        self.recover(When::IfLost, now, after(self.redis.patience())).await?;
        Ok(Timestamp::from_unix(self.seen.load(Ordering::Acquire)))
    }

    /// Charges tabs in turn until one does not fit, and returns the charges of the tabs that were tried. Never waits for a
    /// connection.
    pub(super) async fn charge(self: &Arc<Self>, tabs: &[Tab<'_>]) -> Result<Vec<Charge>, Failure> {
        let asked = self.terms.charge(tabs);
        let link = self.link();
        let connected = link.1.now()?;
        let deadline = after(self.redis.timeout);
        let replies = self.send(link, connected, deadline, |pipeline, sent| {
            CHARGE.send(pipeline, sent, &asked);
        });
        self.terms.read_charges(&first(&mut replies.await?.into_iter())?)
    }

    /// Makes the mark, or raises it, and takes over its fingerprint key.
    async fn recover(
        self: &Arc<Self>,
        when: When,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let seen = self.seen.load(Ordering::Acquire);
        let asked = self.terms.recover(new_key()?, seen, when, now);
        let link = self.link();
        let connected = soon(link.1, deadline).await?;
        let replies = self.send(link, connected, deadline, |pipeline, sent| {
            RECOVER.send(pipeline, sent, &asked);
        });
        let reply = first(&mut replies.await?.into_iter())?;
        self.recovered(self.terms.read_recovery(&reply, now)?);
        Ok(())
    }

    fn recovered(&self, recovery: Recovery) {
        let Recovery { key, low_water, mark } = recovery;
        self.take_key(key);
        self.seen.fetch_max(low_water, Ordering::AcqRel);
        if mark == Mark::Raised {
            metrics::counter!("countersign_replay_recoveries_total").increment(1);
            tracing::warn!(
                guard = self.redis.guard,
                until = low_water,
                "Redis is new, was restarted, is another primary or was set back, and may have lost claims: signed calls \
                 are refused until it is `until`, in seconds since 1970"
            );
        }
    }

    fn known(&self) -> Known {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        Known { key, low_water: self.seen.load(Ordering::Acquire) }
    }

    fn take_key(&self, key: FingerprintKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Whether it is time to ask again if Redis evicts.
    fn is_look_due(&self) -> bool {
        let next = *self.next_look.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() >= next
    }

    /// Returns the next link in turn that is up. If all are down, returns the next link.
    fn link(&self) -> (usize, &Link) {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let next = next.checked_rem(self.links.len()).unwrap_or(0);
        let links = || self.links.iter().enumerate();
        let mut in_turn = links().skip(next).chain(links().take(next));
        #[expect(clippy::indexing_slicing, reason = "there is a link for every remainder")]
        let otherwise = (next, &self.links[next]);
        in_turn.find(|(_, link)| link.is_up()).unwrap_or(otherwise)
    }

    /// Sends a pipeline. Takes one round trip, or two if Redis does not know the script yet.
    async fn send(
        self: &Arc<Self>,
        (index, link): (usize, &Link),
        mut connected: Connected,
        deadline: Instant,
        fill: impl Fn(&mut Pipeline, Sent),
    ) -> Result<Vec<RedisResult<Value>>, Failure> {
        let lost = |connected: &Connected| {
            if link.lost(connected) == Duty::Yours {
                tokio::spawn(reconnect(Arc::downgrade(self), index, connected.clone()));
            }
        };
        for sent in [Sent::ByHash, Sent::Whole] {
            let mut pipeline = redis::pipe();
            fill(&mut pipeline, sent);
            let replies = pipeline
                .ignore_errors()
                .query_async::<Vec<RedisResult<Value>>>(&mut connected.connection);
            let replies = match timeout_at(deadline, replies).await {
                Ok(Ok(replies)) => replies,
                Ok(Err(error)) => {
                    lost(&connected);
                    return Err(error.into());
                }
                Err(_) => {
                    // A timeout does not tell a slow Redis from a lost connection; a new connection finds out.
                    lost(&connected);
                    return Err(Failure::TimedOut(self.redis.patience()));
                }
            };
            let unknown = |error: &RedisError| is(error, ServerErrorKind::NoScript);
            if replies.first().is_some_and(|reply| reply.as_ref().is_err_and(unknown)) {
                continue;
            }
            if replies.first().is_some_and(is_elsewhere) {
                lost(&connected);
            }
            return Ok(replies);
        }
        Err(Failure::Unreadable("it does not know a script that it was sent"))
    }

    /// Opens a connection to a reliable primary, and makes sure that it has a mark.
    async fn open(&self) -> Result<MultiplexedConnection, Failure> {
        match &self.redis.place {
            Place::Sentinels { service, sentinels, nodes } => {
                let mut connection = connect_by_sentinels(service, sentinels, nodes).await?;
                self.admit(&mut connection).await?;
                Ok(connection)
            }
            Place::Nodes(nodes) => {
                let mut failure = Failure::Connecting;
                for node in nodes {
                    match self.open_node(node.clone()).await {
                        Ok(connection) => return Ok(connection),
                        Err(why) => failure = why,
                    }
                }
                Err(failure)
            }
        }
    }

    /// Opens a connection to a node, or to the node that it names as the owner of the guard's slot.
    async fn open_node(&self, mut node: ConnectionInfo) -> Result<MultiplexedConnection, Failure> {
        for _ in 0..REDIRECTS {
            let mut connection = connect(node.clone()).await?;
            let Err(failure) = self.admit(&mut connection).await else { return Ok(connection) };
            let to = match &failure {
                Failure::Redis(error) => error.redirect_node().map(|(address, _)| address),
                _ => None,
            };
            node = to.and_then(|to| redirected(&node, to)).ok_or(failure)?;
        }
        Err(Failure::Unreadable("the cluster does not say where the guard is"))
    }

    async fn admit(&self, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        let patience = self.redis.patience().max(Duration::from_secs(1));
        let admitted = timeout(patience, async {
            let mut pipeline = redis::pipe();
            Eviction::ask(&mut pipeline, &self.terms.mark());
            let replies = pipeline.ignore_errors().query_async::<Vec<_>>(connection).await?;
            let when = match Eviction::read(replies.into_iter())? {
                Eviction::Never => When::IfLost,
                Eviction::Happened => When::Always,
            };
            let (now, seen) = (self.clock.now(), self.seen.load(Ordering::Acquire));
            let asked = self.terms.recover(new_key()?, seen, when, now);
            let mut pipeline = redis::pipe();
            RECOVER.send(&mut pipeline, Sent::Whole, &asked);
            // The first calls then take one round trip as well.
            CLAIM.load(&mut pipeline);
            CHARGE.load(&mut pipeline);
            let replies = pipeline.ignore_errors().query_async::<Vec<_>>(connection).await?;
            let reply = first(&mut replies.into_iter())?;
            self.recovered(self.terms.read_recovery(&reply, now)?);
            Ok(())
        });
        admitted.await.unwrap_or(Err(Failure::TimedOut(patience)))
    }
}

/// Reconnects, until an attempt succeeds or the guard is dropped.
async fn reconnect(guard: Weak<Guard>, index: usize, lost: Connected) {
    let (mut pause, longest) = PAUSES;
    let mut failed_before = false;
    loop {
        let Some(guard) = guard.upgrade() else { return };
        let Some(link) = guard.links.get(index) else { return };
        match guard.open().await {
            Ok(connection) => {
                if failed_before {
                    tracing::info!(guard = guard.redis.guard, "Redis can be used again");
                }
                link.up(connection, &lost);
                return;
            }
            Err(failure) => {
                if !failed_before {
                    let error = &failure as &dyn std::error::Error;
                    tracing::warn!(guard = guard.redis.guard, error, "Redis cannot be used");
                }
                failed_before = true;
                link.down(failure);
            }
        }
        drop(guard);
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// Returns the connection of a link, unless the deadline passes first.
async fn soon(link: &Link, deadline: Instant) -> Result<Connected, Failure> {
    timeout_at(deadline, link.soon()).await.unwrap_or(Err(Failure::Connecting))
}

fn first(replies: &mut impl Iterator<Item = RedisResult<Value>>) -> Result<Value, Failure> {
    Ok(replies.next().ok_or(Failure::Unreadable("it is missing"))??)
}

fn new_key() -> Result<FingerprintKey, Failure> {
    FingerprintKey::random().map_err(|_| Failure::NoRandomness)
}

fn after(time: Duration) -> Instant {
    // A time beyond the range of the clock needs no wait.
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}

/// Whether this reply says that another server is the primary.
fn is_elsewhere(reply: &RedisResult<Value>) -> bool {
    match reply {
        Ok(Value::Array(values)) => {
            values.first().is_some_and(|verdict| text(verdict).is_ok_and(|it| it == "replica"))
        }
        Ok(_) => false,
        Err(error) => is(error, ServerErrorKind::Moved) || is(error, ServerErrorKind::ReadOnly),
    }
}

impl LastTime {
    fn new(now: Timestamp) -> Self {
        Self { start: Instant::now(), at_start: AtomicU64::new(now.unix()) }
    }

    fn set(&self, now: Timestamp) {
        let at_start = now.minus(self.start.elapsed()).unix();
        self.at_start.store(at_start, Ordering::Release);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.at_start.load(Ordering::Acquire)).plus(self.start.elapsed())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("redis", &self.redis)
            .field("terms", &self.terms)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
