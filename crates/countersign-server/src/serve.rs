use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::timeout};
use tower::ServiceExt as _;
use tower_service::Service;

/// How long a request head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an HTTP/1.1 or HTTP/2 head is taken; a longer one is answered with 431.
const HEAD_BYTES: u32 = 32 * 1024;
/// How many requests one HTTP/2 connection may have open.
const STREAMS: u32 = 100;
/// How long open requests may take after the stop was asked for.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a router over HTTP/1.1 and HTTP/2, without TLS, until `stop` is done; then it lets open requests end, for
/// 10 s at most.
///
/// Unlike a bare accept loop it closes connections whose request head does not arrive within 10 s, takes heads of up to
/// 32 KiB, and 100 requests at a time on one HTTP/2 connection.
pub async fn serve<S>(listener: TcpListener, service: S, stop: impl Future<Output = ()>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let service = service.map_request(|request: Request<Incoming>| request.map(Body::new));
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
    let open = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
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
        let service = TowerToHyperService::new(service.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(STOP_TIMEOUT, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the stop");
    }
}
