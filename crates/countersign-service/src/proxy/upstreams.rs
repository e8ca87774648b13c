use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Version, header};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    failure::Failure,
    progress::Progress,
    sent_body::SentBody,
    upstream::{Lease, Upstream},
    upstream_tls::UpstreamTls,
};
use crate::config::{
    upstream_address::UpstreamAddress,
    upstream_settings::{HealthCheck, UpstreamSettings},
};

/// How long a client waits for the next attempt if no upstream is healthy and there is no health check.
const RETRY: Duration = Duration::from_secs(5);

/// The servers behind the proxy. An upstream that fails its health check gets no new request, and finishes those it has.
#[derive(Debug)]
pub(super) struct Upstreams {
    servers: Vec<Arc<Upstream>>,
    next: AtomicUsize,
    retry_after: Duration,
    checks: Vec<JoinHandle<()>>,
}

impl Upstreams {
    /// Begins the health checks, if there are any.
    pub(super) fn new(settings: &UpstreamSettings, tls: Option<&UpstreamTls>) -> Self {
        let server = |address: &UpstreamAddress| {
            Arc::new(Upstream::new(address.clone(), settings, tls.cloned()))
        };
        let servers: Vec<_> = settings.servers.iter().map(server).collect();
        let check = |check: &HealthCheck| {
            let begin = |server: &Arc<Upstream>| {
                tokio::spawn(keep_checking(Arc::clone(server), check.clone()))
            };
            servers.iter().map(begin).collect()
        };
        let checks = settings.health.as_ref().map(check).unwrap_or_default();
        let retry_after = settings.health.as_ref().map_or(RETRY, |check| check.interval.get());
        Self { servers, next: AtomicUsize::new(0), retry_after, checks }
    }

    /// Whether at least one upstream is healthy.
    pub(super) fn are_healthy(&self) -> bool {
        self.servers.iter().any(|server| server.is_healthy())
    }

    /// Returns a connection to the upstream with the fewest requests. If it cannot be reached, tries the others.
    pub(super) async fn lease(&self) -> Result<Lease, Failure> {
        let mut failure = Failure::Unavailable { retry_after: self.retry_after };
        for server in self.in_order() {
            match server.lease().await {
                Ok(lease) => return Ok(lease),
                Err(failed) => failure = failed,
            }
        }
        Err(failure)
    }

    /// Returns the healthy upstreams: those that were reached last before the others, and those with more free places first.
    fn in_order(&self) -> Vec<Arc<Upstream>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.servers.len();
        let turn = (0..count).filter_map(|at| first.wrapping_add(at).checked_rem(count));
        let servers = turn.filter_map(|at| self.servers.get(at));
        let mut healthy: Vec<_> = servers.filter(|server| server.is_healthy()).cloned().collect();
        if healthy.len() > 1 {
            healthy.sort_by_key(|server| {
                (server.is_avoided(), std::cmp::Reverse(server.free_places()))
            });
        }
        healthy
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        for check in &self.checks {
            check.abort();
        }
    }
}

async fn keep_checking(server: Arc<Upstream>, check: HealthCheck) {
    let interval = check.interval.get();
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let is_healthy = timeout(interval, is_well(&server, &check)).await.unwrap_or(false);
        if server.set_healthy(is_healthy) != is_healthy {
            let upstream = server.address();
            match is_healthy {
                true => tracing::info!(%upstream, "an upstream is healthy again"),
                false => {
                    tracing::warn!(%upstream, "an upstream fails its health check, and gets no new requests")
                }
            }
        }
        let gauge = metrics::gauge!("countersign_upstream_healthy", "upstream" => server.address().to_string());
        gauge.set(if is_healthy { 1.0 } else { 0.0 });
    }
}

/// Whether an upstream responds to its health check with success or a redirection.
async fn is_well(server: &Arc<Upstream>, check: &HealthCheck) -> bool {
    let request = Request::get(check.path.as_str())
        .version(Version::HTTP_11)
        .header(header::HOST, server.address().authority())
        .header(header::CONNECTION, "close")
        .body(SentBody::empty());
    let (Ok(request), Ok(mut lease)) = (request, server.lease_new().await) else { return false };
    match lease.send(request, &Arc::new(Progress::ended())).await {
        Ok(response) => response.status().is_success() || response.status().is_redirection(),
        Err(_) => false,
    }
}
