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
use crate::{BoxError, content::length, ingress::received::Received};

/// How long the head of a connection's first request may take to arrive, and in HTTP/1.1 that of every one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection may be open without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much target and fields of a request may have.
const HEAD_BYTES: usize = 32 * 1024;
/// How much of a head is read, so that a head that is too large gets a refusal of this crate. Beyond this hyper responds with 431.
const TAKEN_BYTES: u32 = 64 * 1024;
/// How many requests one HTTP/2 connection may have open.
const STREAMS: u32 = 100;
/// How much content may come of one HTTP/2 request, and of all of its connection, before anybody reads it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest HTTP/2 frame that is taken: the least that RFC 9113 §4.2 allows.
const FRAME_BYTES: u32 = 16 * 1024;
/// How much of a response is taken from its body before the peer of an HTTP/2 connection takes it.
const SEND_BYTES: usize = 64 * 1024;
/// How many HTTP/2 requests a peer may reset before anybody has seen them, and how many it may get wrong, until its connection ends.
const RESETS: usize = 20;
const ERRORS: usize = 100;
/// How long open requests may take after the stop was asked for.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer without requests has to say goodbye (in HTTP/2 it is told first) before its connection is cut off.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection that was accepted.
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

    /// The same connection over TLS.
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
        // A process that ends before the last answer has arrived resets its connection.
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

/// Begins with TLS, in the time in which there has to be a request.
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

/// Takes the content off a response that may have none (RFC 9110 §6.4.1), as one to `HEAD`. Over HTTP/2 hyper sends whatever
/// content there is, and over either version whatever length the service told.
fn strip_content<B: Body>(
    method: &Method,
    response: Response<SentContent<B>>,
) -> Response<SentContent<B>> {
    let told = ResponseHead { status: response.status(), headers: response.headers() };
    if told.may_have_content(method) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    length::settle(&body, method, head.status, &mut head.headers);
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
        // A request that crosses the goodbye is answered to its end.
        () = activity.idle(goodbye, FAREWELL) => Ok(()),
        () = time_is_up => Err("a request was still open at the stop".into()),
    }
}

/// Done when the server stops, or has no room left and the connection no request for a moment.
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

/// Done when the server stops, or is dropped, which is an error here.
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
