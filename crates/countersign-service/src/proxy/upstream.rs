use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{failure::Failure, sent_body::SentBody};
use crate::config::{UpstreamSettings, upstream_address::UpstreamAddress};

/// How long an upstream that could not be reached is the last to be tried.
const AVOIDED: Duration = Duration::from_secs(1);
/// The most header fields of a response.
const FIELDS: usize = 200;

/// A server behind the proxy, and the connections to it.
#[derive(Debug)]
pub(super) struct Upstream {
    address: UpstreamAddress,
    connect_timeout: Duration,
    keep_alive: Duration,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    is_healthy: AtomicBool,
    avoided_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<SentBody>,
    since: Instant,
}

/// A connection in use, with its place among the connections of its upstream.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Arc<Upstream>,
    sender: SendRequest<SentBody>,
    reuse: Reuse,
    _place: OwnedSemaphorePermit,
}

/// Whether a connection was used before: its peer may have closed it meanwhile.
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
}

impl Upstream {
    pub(super) fn new(address: UpstreamAddress, settings: &UpstreamSettings) -> Self {
        let most = usize::try_from(settings.connections.get()).unwrap_or(usize::MAX);
        Self {
            address,
            connect_timeout: settings.connect_timeout.get(),
            keep_alive: settings.keep_alive.get(),
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
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
        let place = timeout(self.connect_timeout, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Failure::Busy) };
        while let Some(Idle { mut sender, .. }) = self.take_idle() {
            // The connection has read its last response, and is about to accept the next request.
            if sender.ready().await.is_ok() {
                let upstream = Arc::clone(self);
                return Ok(Lease { upstream, sender, reuse: Reuse::Again, _place: place });
            }
        }
        self.connect(place).await
    }

    /// Returns a new connection, for a request that an old one did not take.
    pub(super) async fn lease_new(self: &Arc<Self>) -> Result<Lease, Failure> {
        let place = timeout(self.connect_timeout, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Failure::Busy) };
        self.connect(place).await
    }

    async fn connect(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Result<Lease, Failure> {
        match timeout(self.connect_timeout, self.shake_hands()).await {
            Ok(Ok(sender)) => {
                self.set_avoided(None);
                let upstream = Arc::clone(self);
                Ok(Lease { upstream, sender, reuse: Reuse::First, _place: place })
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

    async fn shake_hands(&self) -> Result<SendRequest<SentBody>, crate::BoxError> {
        let stream = TcpStream::connect((self.address.host(), self.address.port())).await?;
        stream.set_nodelay(true)?;
        refuse_self(&stream)?;
        let mut builder = http1::Builder::new();
        builder.max_headers(FIELDS);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream ended early");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            if last.since.elapsed() >= self.keep_alive {
                // Those before it were idle for longer.
                idle.clear();
                return None;
            }
            if !last.sender.is_closed() {
                return Some(last);
            }
        }
        None
    }

    fn put_back(&self, sender: SendRequest<SentBody>) {
        if !sender.is_closed() {
            let since = Instant::now();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(Idle { sender, since });
        }
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
    ) -> Result<Response<Incoming>, NotSent> {
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => Err(match (error.take_message(), self.reuse) {
                (Some(request), Reuse::Again) => NotSent::Unseen(Box::new(request)),
                _ => NotSent::Broken(error.into_error()),
            }),
        }
    }

    /// Gives the connection back, for the next request.
    pub(super) fn give_back(self) {
        let Self { upstream, sender, .. } = self;
        upstream.put_back(sender);
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
