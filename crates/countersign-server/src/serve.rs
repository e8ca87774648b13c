mod activity;
mod socket;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use countersign_store::ClientAddress;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt as _;
use tower_service::Service;

use self::{activity::Activity, socket::Socket};

/// How long the head of a connection's first request may take to arrive, and in HTTP/1.1 that of every one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection may be open without a request and without anything to send.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an HTTP/1.1 or HTTP/2 head is taken; a longer one is answered with 431.
const HEAD_BYTES: u32 = 32 * 1024;
/// How many requests one HTTP/2 connection may have open.
const STREAMS: u32 = 100;
/// How long open requests may take after the stop was asked for.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer without requests has to say goodbye (in HTTP/2 it is told first) before its connection is cut off.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a router over HTTP/1.1 and HTTP/2, without TLS, until `stop` is done; then it lets open requests end, for
/// 10 s at most.
///
/// Unlike a bare accept loop it closes connections whose first request head does not arrive within 10 s, or that are idle:
/// for 10 s in HTTP/1.1, for 30 s in HTTP/2. It takes heads of up to 32 KiB, and 100 requests at a time on one HTTP/2
/// connection.
///
/// Every request gets the [`ClientAddress`] of its socket's peer into its extensions, for limits by address. Behind a proxy
/// that is the proxy's, and [`Ingress::proxies`](crate::Ingress::proxies) has the verifier find out the client's.
pub async fn serve<S>(listener: TcpListener, service: S, stop: impl Future<Output = ()>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Every connection holds a receiver of this: it tells them of the stop, and us when the last one is gone.
    let (stop_all, stopping) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // An answer in several frames would wait for the peer's acknowledgement of the first.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        let address = ClientAddress::from(peer.ip());
        tokio::spawn(serve_connection(stream, address, service.clone(), stopping.clone()));
    }
    drop((listener, stopping));
    stop_all.send_replace(true);
    stop_all.closed().await;
}

async fn serve_connection<S>(
    stream: TcpStream,
    address: ClientAddress,
    service: S,
    stopping: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let activity = Activity::new();
    let noted = Arc::clone(&activity);
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(address);
        let open = noted.open();
        let response = service.clone().oneshot(request.map(Body::new));
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(response.map(|body| open.until_end_of(body)))
        }
    });
    let (socket, linger) = Socket::new(stream, Arc::clone(&activity));
    let builder = builder();
    let connection =
        builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
    if let Err(error) = until_closed(connection, &activity, stopping).await {
        tracing::debug!(error = &*error, "a connection ended early");
    }
    linger.await;
}

/// Serves a connection until its peer ends it, or it is idle for too long, or the server stops.
async fn until_closed<C: GracefulConnection<Error = BoxError>>(
    connection: C,
    activity: &Activity,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = activity.idle(HEAD_TIMEOUT, IDLE_TIMEOUT) => {}
        () = stopped(&mut stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let time_is_up = async {
        stopped(&mut stopping).await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        ended = connection => ended,
        // A request that crosses the goodbye is answered to its end.
        () = activity.idle(FAREWELL, FAREWELL) => Ok(()),
        () = time_is_up => Err("a request was still open at the stop".into()),
    }
}

/// Done when the server stops, or is dropped, which is an error here.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|&stopping| stopping).await);
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head_bytes = usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES)
        .max_concurrent_streams(STREAMS);
    builder
}
