//! What operators and their programs ask, on a listener of its own: nobody outside reaches it. The admin API will be here too.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use countersign_store::{Readiness as _, system_time};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use crate::generation::Generation;

#[derive(Clone)]
struct Operations {
    generation: watch::Receiver<Arc<Generation>>,
    metrics: PrometheusHandle,
}

pub(crate) fn router(
    generation: watch::Receiver<Arc<Generation>>,
    metrics: PrometheusHandle,
) -> Router {
    Router::new()
        .route("/healthz", get(async || "well\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state(Operations { generation, metrics })
}

/// Whether signed requests are accepted and an upstream is healthy.
async fn ready(State(Operations { generation, .. }): State<Operations>) -> impl IntoResponse {
    let generation = Arc::clone(&generation.borrow());
    if !generation.front.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no upstream is healthy\n".to_owned());
    }
    let now = system_time();
    match generation.gate.ready_at(now).await {
        Ok(from) if from <= now => (StatusCode::OK, "ready\n".to_owned()),
        Ok(_) => {
            let reason = "the replay guard does not accept signatures yet\n";
            (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn metrics_page(State(Operations { metrics, .. }): State<Operations>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}
