mod activity;
mod connection;
mod delivery;
mod listener;
pub(crate) mod pace;
mod phase;
mod request_body;
mod response_body;
mod socket;
pub(crate) mod stop;
#[cfg(unix)]
mod stop_signals;
#[cfg(feature = "tls")]
mod tls;
mod unserved;

use std::{pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

#[cfg(feature = "tls")]
pub use self::tls::{BadTls, Tls};
use self::{connection::Connection, phase::Phase};
pub use self::{
    listener::Listener,
    request_body::ServedBody,
    stop::{Stop, until_signal},
};
use crate::{BoxError, telemetry};

/// The pause before the next accept after the system has refused a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a service, such as a router, over HTTP/1.1 and HTTP/2 until [`Stop`] asks it to stop. Then open requests may continue
/// for 10 s at most, and the last responses have 2 s to arrive.
///
/// Pass a `TcpListener`, or a [`Listener`] with settings. `stop` is any future, such as [`until_signal`]. With
/// [`SavedNonces::until_signal`](crate::SavedNonces::until_signal) the replay guard is saved at the end, so that the next start
/// refuses no request.
///
/// A connection is closed:
///
/// - if its first request head, TLS included, has not arrived within 10 s;
/// - if it is idle for 10 s in HTTP/1.1, or for 30 s in HTTP/2;
/// - if its peer takes less than 5,000 bytes of a response in 10 s. In HTTP/2 a response that the peer takes too slowly is reset,
///   while the other responses on its connection continue.
///
/// Request content that arrives at less than 5,000 bytes in 10 s ends with an error. The time that the service itself takes never
/// counts.
///
/// A request head has up to 32 KiB, and an HTTP/2 connection up to 100 requests at a time. No connection is upgraded. A WebSocket
/// request gets 501 `upgrade-unsupported`, and so does a request for which the service responds with 101 or opens a tunnel.
///
/// The extensions of every request have the [`ClientAddress`](countersign_store::ClientAddress) of its socket's peer, for limits
/// by address. Behind a proxy that is the proxy's address; with [`Ingress::proxies`](crate::Ingress::proxies) the verifier finds
/// the client's.
///
/// If the service fails, the request gets no response: its connection is closed, or its stream reset.
pub async fn serve<S, B, T>(listener: impl Into<Listener>, service: S, stop: T) -> T::Output
where
    T: Stop,
    S: Service<Request<ServedBody>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = listener.into();
    let most = usize::try_from(listener.connections.get()).unwrap_or(usize::MAX);
    let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    // Every connection holds a receiver, so the channel shows when the last connection is gone.
    let (phase, watched) = watch::channel(Phase::Open);
    let (asked, ending) = stop.into_parts();
    let mut asked = pin!(asked);
    let accepting = async {
        loop {
            let full = *phase.borrow() == Phase::Full;
            let accepted = match full && room.available_permits() >= most / 8 {
                // Only when nobody waits and there is some room, since this wakes all connections.
                true => tokio::select! {
                    biased;
                    accepted = listener.socket.accept() => accepted,
                    () = std::future::ready(()) => {
                        phase.send_replace(Phase::Open);
                        continue;
                    }
                },
                false => listener.socket.accept().await,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match Arc::clone(&room).try_acquire_owned() {
                Ok(place) => place,
                Err(_) => {
                    if !full {
                        telemetry::count_full();
                        phase.send_replace(Phase::Full);
                    }
                    // The semaphore is never closed.
                    let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                    place
                }
            };
            let connection = Connection::new(stream, peer, watched.clone());
            #[cfg(feature = "tls")]
            let connection = connection.over(listener.tls.clone());
            let service = service.clone();
            tokio::spawn(async move {
                connection.serve(service).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = &mut asked => {}
        () = accepting => {}
    }
    drop((listener, watched));
    phase.send_replace(Phase::Stopping);
    phase.closed().await;
    ending.await
}
