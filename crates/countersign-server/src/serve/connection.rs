use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use countersign::ResponseHead;
use countersign_store::ClientAddress;
use http::{Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};
use tower::ServiceExt as _;
use tower_service::Service;

use super::{
    activity::Activity,
    delivery::{Delivery, Streams},
    pace::TooSlow,
    phase::Phase,
    request_body::ServedBody,
    response_body::{ResponseBody, SentContent},
    socket::{self, Socket},
    unserved,
};
use crate::{BoxError, ingress::received::Received, response_length::fix_content_length};

/// How long the head of a connection's first request may take to arrive. In HTTP/1.1 the same limit holds for every request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection may be open without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request target and header fields together, in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// How many bytes of a head are read. A head above [`HEAD_BYTES`] gets a refusal of this crate; above this limit hyper responds
/// with 431.
const TAKEN_BYTES: u32 = 64 * 1024;
/// How many open requests an HTTP/2 connection may have.
const STREAMS: u32 = 100;
/// How many bytes of content may arrive before they are read: for an HTTP/2 request, and for all requests of its connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest HTTP/2 frame that a peer may send. RFC 9113 §4.2 allows no smaller limit.
const FRAME_BYTES: u32 = 16 * 1024;
/// How many bytes of a response are taken from its body before the peer of an HTTP/2 connection takes them.
const SEND_BYTES: usize = 64 * 1024;
/// How many HTTP/2 requests a peer may reset before the service sees them, and how many protocol errors it may make, before its
/// connection ends.
const RESETS: usize = 20;
const ERRORS: usize = 100;
/// How long open requests may continue after the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer without requests has to close its connection before it is cut off. In HTTP/2 the server announces this first.
const FAREWELL: Duration = Duration::from_secs(1);

/// An accepted connection.
pub(super) struct Connection {
    stream: TcpStream,
    address: ClientAddress,
    activity: Arc<Activity>,
    phase: watch::Receiver<Phase>,
    #[cfg(feature = "tls")]
    tls: Option<super::Tls>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, phase: watch::Receiver<Phase>) -> Self {
        if let Err(error) = socket::set_up(&stream) {
            tracing::debug!(%error, "a connection is gone already");
        }
        Self {
            stream,
            address: ClientAddress::from(peer.ip()),
            activity: Activity::new(),
            phase,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Puts the connection behind TLS.
    #[cfg(feature = "tls")]
    pub(super) fn over(self, tls: Option<super::Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Serves the connection until it ends.
    pub(super) async fn serve<S, B>(self, service: S)
    where
        S: Service<Request<ServedBody>, Response = Response<B>, Error: Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { stream, address, activity, phase, .. } = self;
        // The connection keeps the process running until the last response has arrived: the end of the process would reset it.
        let _stop_waits = phase.clone();
        let (socket, linger) = Socket::new(stream, Arc::clone(&activity));
        #[cfg(feature = "tls")]
        let served = match self.tls {
            Some(tls) => match shake_hands(&tls, socket, &activity, phase.clone()).await {
                Ok(socket) => serve_on(socket, address, service, &activity, phase).await,
                Err(failed) => Err(failed),
            },
            None => serve_on(socket, address, service, &activity, phase).await,
        };
        #[cfg(not(feature = "tls"))]
        let served = serve_on(socket, address, service, &activity, phase).await;
        if let Err(error) = served {
            tracing::debug!(error = &*error, "a connection ended early");
        }
        linger.await;
    }
}

/// Does the TLS handshake, within the time limit for the first request head.
#[cfg(feature = "tls")]
async fn shake_hands(
    tls: &super::Tls,
    socket: Socket,
    activity: &Activity,
    mut phase: watch::Receiver<Phase>,
) -> Result<tokio_rustls::server::TlsStream<Socket>, BoxError> {
    tokio::select! {
        accepted = tls.accept(socket) => Ok(accepted?),
        () = tokio::time::sleep_until(activity.after(HEAD_TIMEOUT)) => Err(TooSlow.into()),
        () = stopping(&mut phase) => Err("TLS had not begun at the stop".into()),
    }
}

async fn serve_on<I, S, B>(
    socket: I,
    address: ClientAddress,
    service: S,
    activity: &Arc<Activity>,
    phase: watch::Receiver<Phase>,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<ServedBody>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let noted = Arc::clone(activity);
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(Received);
        let open = noted.open();
        let (method, version) = (request.method().clone(), request.version());
        let response = match unserved::refuse(&mut request, HEAD_BYTES) {
            Some(refused) => Err(refused),
            None => Ok(service.clone().oneshot(request.map(ServedBody::new))),
        };
        async move {
            let delivery = Delivery::of_this_stream();
            let response = match response {
                Ok(response) => response.await?.map(SentContent::given),
                Err(refused) => refused.map(SentContent::from),
            };
            let response = match unserved::replace(&method, version, &response) {
                Some(refused) => refused.map(SentContent::from),
                None => response,
            };
            let response = strip_content(&method, response);
            Ok::<_, S::Error>(response.map(|body| ResponseBody::new(body, delivery, open)))
        }
    });
    let builder = builder(Streams::new(Arc::clone(activity)));
    let connection =
        builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
    until_closed(connection, activity, phase).await
}

/// Removes the content of a response that may have none (RFC 9110 §6.4.1), such as a response to `HEAD`. Over HTTP/2 hyper would
/// send the content, and over either version the length that the service set.
fn strip_content<B: Body>(
    method: &Method,
    response: Response<SentContent<B>>,
) -> Response<SentContent<B>> {
    let told = ResponseHead { status: response.status(), headers: response.headers() };
    if told.may_have_content(method) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    fix_content_length(&body, method, head.status, &mut head.headers);
    Response::from_parts(head, SentContent::none())
}

/// Serves a connection until its peer closes it, it is idle for too long, or the server needs its place.
async fn until_closed<C: GracefulConnection<Error = BoxError>>(
    connection: C,
    activity: &Activity,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), BoxError> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = activity.to_be_cut() => return Err(TooSlow.into()),
        () = activity.idle(activity.after(HEAD_TIMEOUT), IDLE_TIMEOUT) => {}
        () = unwanted(&mut phase, activity) => {}
    }
    connection.as_mut().graceful_shutdown();
    let time_is_up = async {
        stopping(&mut phase).await;
        sleep(STOP_TIMEOUT).await;
    };
    let now = Instant::now();
    let goodbye = now.checked_add(FAREWELL).unwrap_or(now);
    tokio::select! {
        ended = connection => ended,
        () = activity.to_be_cut() => Err(TooSlow.into()),
        // A request that was sent before the peer read the goodbye still gets its whole response.
        () = activity.idle(goodbye, FAREWELL) => Ok(()),
        () = time_is_up => Err("a request was still open at the stop".into()),
    }
}

/// Waits until the server stops, or until the server is full and the connection has had no open request for a moment.
async fn unwanted(phase: &mut watch::Receiver<Phase>, activity: &Activity) {
    loop {
        let now = *phase.borrow_and_update();
        let changed = match now {
            Phase::Open => phase.changed().await,
            Phase::Full => tokio::select! {
                () = activity.quiet(FAREWELL) => return,
                changed = phase.changed() => changed,
            },
            Phase::Stopping => return,
        };
        // The server was dropped.
        if changed.is_err() {
            return;
        }
    }
}

/// Waits until the server stops. It also ends if the server is dropped, and the error is ignored.
async fn stopping(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|&phase| phase == Phase::Stopping).await);
}

fn builder(streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    let taken_bytes = usize::try_from(TAKEN_BYTES).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .half_close(false)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(taken_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(TAKEN_BYTES)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS);
    builder
}
