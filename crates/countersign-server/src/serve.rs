mod lingering;

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tower::ServiceExt as _;
use tower_service::Service;

use self::lingering::Lingering;

/// How long a request head may take to arrive, and how long a connection may be open without a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
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
/// Unlike a bare accept loop it closes connections whose request head does not arrive within 10 s, or that have had no
/// request for as long; it takes heads of up to 32 KiB, and 100 requests at a time on one HTTP/2 connection.
pub async fn serve<S>(listener: TcpListener, service: S, stop: impl Future<Output = ()>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Every connection holds a receiver of this: it tells them of the stop, and us when the last one is gone.
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        tokio::spawn(serve_connection(stream, service.clone(), stopped.clone()));
    }
    drop((listener, stopped));
    stopping.send_replace(());
    stopping.closed().await;
}

async fn serve_connection<S>(stream: TcpStream, service: S, stopped: watch::Receiver<()>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let (open, requests) = watch::channel(0usize);
    let counted = tower::service_fn(move |request: Request<Incoming>| {
        let guard = OpenRequest::new(open.clone());
        let response = service.clone().oneshot(request.map(Body::new));
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(response.map(|body| OpenBody { body, _open: guard }))
        }
    });
    let (stream, linger) = Lingering::new(stream);
    let builder = builder();
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(counted));
    if let Err(error) = until_closed(connection, requests, stopped).await {
        tracing::debug!(error = &*error, "a connection ended early");
    }
    linger.await;
}

/// Serves a connection until its peer ends it, or it is idle for too long, or the server stops.
async fn until_closed<C: GracefulConnection<Error = BoxError>>(
    connection: C,
    requests: watch::Receiver<usize>,
    mut stopped: watch::Receiver<()>,
) -> Result<(), BoxError> {
    let mut connection = pin!(connection);
    let grace = tokio::select! {
        ended = connection.as_mut() => return ended,
        // An error means that the server was dropped, which is a stop as well.
        _ = stopped.changed() => STOP_TIMEOUT,
        () = idle(requests) => FAREWELL,
    };
    connection.as_mut().graceful_shutdown();
    timeout(grace, connection).await.unwrap_or_else(|_| Err("it did not end in time".into()))
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
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HEAD_TIMEOUT);
    builder
}

/// Done when a connection has had no request for as long as a head may take. hyper's own time-out begins when it is
/// known to be HTTP/1.1; before that, and in HTTP/2, a head can be waited for for ever.
async fn idle(mut requests: watch::Receiver<usize>) {
    loop {
        match timeout(HEAD_TIMEOUT, requests.changed()).await {
            // Something came or was answered meanwhile.
            Ok(Ok(())) => {}
            Err(_) if *requests.borrow() > 0 => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Counts a request of a connection until it is answered.
struct OpenRequest(watch::Sender<usize>);

impl OpenRequest {
    fn new(open: watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open = open.saturating_add(1));
        Self(open)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// The content of an answer, until whose end its request is open.
struct OpenBody {
    body: Body,
    _open: OpenRequest,
}

impl HttpBody for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
