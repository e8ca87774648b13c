use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::Scheme;
use http::{Request, Response, Version};
use http_body::Frame;
use hyper::body::Incoming;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use super::{
    failure::Failure, progress::Progress, sent_body::SentBody,
    upstream_connection::UpstreamConnection, upstream_tls::UpstreamTls,
};
use crate::config::{upstream_address::UpstreamAddress, upstream_settings::UpstreamSettings};

/// How long an upstream that could not be reached is the last to be tried.
const AVOIDED: Duration = Duration::from_secs(1);
/// How often idle connections are checked. A connection that is too old, or that its upstream has closed, is closed.
const TIDYING: Duration = Duration::from_secs(1);

/// A server behind the proxy, and the connections to it.
#[derive(Debug)]
pub(super) struct Upstream {
    address: UpstreamAddress,
    /// If its scheme is `https`.
    tls: Option<UpstreamTls>,
    connect_timeout: Duration,
    keep_alive: Duration,
    response_timeout: Duration,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Whether a task looks after the idle connections.
    is_tidied: AtomicBool,
    is_healthy: AtomicBool,
    avoided_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Idle {
    connection: UpstreamConnection,
    since: Instant,
}

/// A connection in use, with its place among the connections of its upstream.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Arc<Upstream>,
    connection: UpstreamConnection,
    reuse: Reuse,
    /// Of the last response.
    version: Version,
    _place: OwnedSemaphorePermit,
}

/// Whether a connection was used before: the upstream may have closed a used connection meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    First,
    Again,
}

/// Why a request was not sent, with the request if an upstream cannot have seen any of it.
#[derive(Debug)]
pub(super) enum NotSent {
    Unseen(Box<Request<SentBody>>),
    Broken(hyper::Error),
    /// The upstream neither took a piece nor responded for too long.
    Stalled,
}

impl Upstream {
    pub(super) fn new(
        address: UpstreamAddress,
        settings: &UpstreamSettings,
        tls: Option<UpstreamTls>,
    ) -> Self {
        let most = usize::try_from(settings.connections.get()).unwrap_or(usize::MAX);
        Self {
            tls: tls.filter(|_| address.scheme() == Scheme::Https),
            address,
            connect_timeout: settings.connect_timeout.get(),
            keep_alive: settings.keep_alive.get(),
            response_timeout: settings.response_timeout.get(),
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
            is_tidied: AtomicBool::new(false),
            is_healthy: AtomicBool::new(true),
            avoided_until: Mutex::default(),
        }
    }

    pub(super) const fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    pub(super) fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    /// Sets the result of a health check, and returns the one before.
    pub(super) fn set_healthy(&self, is_healthy: bool) -> bool {
        self.is_healthy.swap(is_healthy, Ordering::Relaxed)
    }

    /// Whether it could not be reached a moment ago.
    pub(super) fn is_avoided(&self) -> bool {
        let until = *self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn set_avoided(&self, until: Option<Instant>) {
        *self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Returns a connection: an idle one, or a new one. Waits for a place as long as for a connection.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Failure> {
        let place = self.place().await?;
        match self.take_idle() {
            // If the upstream has closed the connection, the request comes back unseen.
            Some(connection) => {
                let upstream = Arc::clone(self);
                Ok(Lease {
                    upstream,
                    connection,
                    reuse: Reuse::Again,
                    version: Version::HTTP_11,
                    _place: place,
                })
            }
            None => self.connect(place).await,
        }
    }

    /// Returns a new connection, for a request that an old one did not take.
    pub(super) async fn lease_new(self: &Arc<Self>) -> Result<Lease, Failure> {
        let place = self.place().await?;
        self.connect(place).await
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        match timeout(self.connect_timeout, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }

    async fn connect(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Result<Lease, Failure> {
        match timeout(self.connect_timeout, self.shake_hands()).await {
            Ok(Ok(connection)) => {
                self.set_avoided(None);
                let upstream = Arc::clone(self);
                Ok(Lease {
                    upstream,
                    connection,
                    reuse: Reuse::First,
                    version: Version::HTTP_11,
                    _place: place,
                })
            }
            failed => {
                self.set_avoided(Instant::now().checked_add(AVOIDED));
                Err(match failed {
                    Ok(Err(error)) => {
                        tracing::debug!(error = &*error, upstream = %self.address, "no connection");
                        Failure::Unreachable
                    }
                    _ => Failure::Timeout,
                })
            }
        }
    }

    async fn shake_hands(&self) -> Result<UpstreamConnection, crate::BoxError> {
        let stream = TcpStream::connect((self.address.host(), self.address.port())).await?;
        stream.set_nodelay(true)?;
        refuse_self(&stream)?;
        match (self.address.scheme(), &self.tls) {
            (Scheme::Http, _) => UpstreamConnection::begin(stream).await,
            (Scheme::Https, Some(tls)) => match tls.connect(self.address.host(), stream).await {
                Ok(stream) => UpstreamConnection::begin(stream).await,
                Err(error) => {
                    tracing::warn!(error = &*error, upstream = %self.address, "no TLS to an upstream");
                    Err(error)
                }
            },
            (Scheme::Https, None) => Err("TLS was not set up".into()),
        }
    }

    fn take_idle(&self) -> Option<UpstreamConnection> {
        let mut idle = self.idle();
        let Idle { connection, since } = idle.pop()?;
        if since.elapsed() < self.keep_alive {
            return Some(connection);
        }
        // Those before it were idle for longer.
        idle.clear();
        None
    }

    fn put_back(
        self: &Arc<Self>,
        mut connection: UpstreamConnection,
        version: Version,
        progress: &Arc<Progress>,
    ) {
        // Content without a length cannot be sent on a connection that once spoke HTTP/1.0.
        if version != Version::HTTP_11 || !connection.is_idle() {
            connection.close(progress, self.response_timeout);
            return;
        }
        let since = Instant::now();
        self.idle().push(Idle { connection, since });
        if !self.is_tidied.load(Ordering::Relaxed) && !self.is_tidied.swap(true, Ordering::Relaxed)
        {
            tokio::spawn(tidy(Arc::downgrade(self)));
        }
    }

    /// Closes idle connections that are too old, or that the upstream has closed. Returns whether others are left.
    fn tidy(&self) -> bool {
        let mut idle = self.idle();
        idle.retain_mut(|Idle { connection, since }| {
            since.elapsed() < self.keep_alive && connection.is_idle()
        });
        let some_left = !idle.is_empty();
        // Under the lock, so that a connection that is put back now begins the next task.
        self.is_tidied.store(some_left, Ordering::Relaxed);
        some_left
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Whether the connection was used before.
    pub(super) fn is_reused(&self) -> bool {
        self.reuse == Reuse::Again
    }

    /// Sends a request, and waits for the head of the response.
    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Incoming>, NotSent> {
        let longest = self.upstream.response_timeout;
        match self.connection.send(request, progress, longest).await {
            Some(Ok(response)) => {
                self.version = response.version();
                Ok(response)
            }
            Some(Err(mut error)) => Err(match (error.take_message(), self.reuse) {
                (Some(request), Reuse::Again) => NotSent::Unseen(Box::new(request)),
                _ => NotSent::Broken(error.into_error()),
            }),
            None => Err(NotSent::Stalled),
        }
    }

    /// Reads on in the content of the response.
    pub(super) fn poll_frame(
        &mut self,
        content: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.connection.poll_frame(content, context)
    }

    /// Gives the connection back, for the next request, after a request that was sent.
    pub(super) fn give_back(self, progress: &Arc<Progress>) {
        let Self { upstream, connection, version, .. } = self;
        upstream.put_back(connection, version, progress);
    }
}

/// Looks after the idle connections of an upstream as long as there are any.
async fn tidy(upstream: Weak<Upstream>) {
    loop {
        sleep(TIDYING).await;
        match upstream.upgrade() {
            Some(upstream) if upstream.tidy() => {}
            _ => return,
        }
    }
}

/// On loopback, a connection to a port on which nobody listens can end up connected to itself.
fn refuse_self(stream: &TcpStream) -> std::io::Result<()> {
    let (here, there): (SocketAddr, SocketAddr) = (stream.local_addr()?, stream.peer_addr()?);
    match here == there {
        true => Err(std::io::ErrorKind::ConnectionRefused.into()),
        false => Ok(()),
    }
}
